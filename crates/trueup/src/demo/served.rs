//! What was served: the features of every reply, by the transaction that was asked for.

use crate::client::Reply;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A reply's part that is looked at.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    rows: [Row<'a>; 1],
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    features: &'a RawValue,
    status: &'a str,
}

/// The features that were served for one transaction, and how often these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The JSON object as it came.
    pub(super) features: Box<str>,
    /// Replies with exactly this.
    pub(super) times: u64,
}

/// All rows that one way has served. Equal answers for one transaction are kept once and counted,
/// so that memory is bounded by the transactions, not by the replies.
#[derive(Debug)]
pub(super) struct Served(Mutex<Vec<Vec<Answer>>>);

impl Served {
    /// Nothing yet, for so many transactions.
    pub(super) fn new(transactions: usize) -> Served {
        Served(Mutex::new(vec![Vec::new(); transactions]))
    }

    /// Keeps the reply to a request for the transaction in `row`; `false` if it holds no row of
    /// features, or one that the server does not vouch for.
    pub(super) fn keep(&self, row: usize, reply: &Reply) -> bool {
        let Ok(body) = serde_json::from_slice::<Body<'_>>(&reply.body) else { return false };
        let [Row { features, status }] = body.rows;
        if status == "UNKNOWN" {
            return false;
        }
        let features = features.get();
        let answers = &mut self.answers()[row];
        match answers.iter_mut().find(|answer| *answer.features == *features) {
            Some(answer) => answer.times += 1,
            None => answers.push(Answer { features: features.into(), times: 1 }),
        }
        true
    }

    /// What was served, by row.
    pub(super) fn answers(&self) -> MutexGuard<'_, Vec<Vec<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
