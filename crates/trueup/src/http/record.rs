//! `"record": true`: rows are answered and recorded in one step, so that two payments of one card
//! at one instant see each other in one order.
//!
//! ```text
//!   rows ─▶ early copies ─▶ store: read, then append, by key ─▶ answer
//!     └─ then ─▶ log (push) ─ until the deadline ─▶ "recorded": log | state | no
//! ```
//!
//! The log comes after the state, or its worker could be there first, and two rows would each count
//! the other. The way into it is not given up at the deadline.

use super::Live;
use super::problem::Problem;
use crate::cause;
use crate::ingest::{EarlyCopies, PushError, Pushed};
use crate::serve::{Answered, Request};
use axum::http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use trueup_sql::View;

/// Where a row's event is, as far as is known at the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// In the log: it counts, whatever becomes of the state.
    Log,
    /// In the state, for those who ask next, and not or not yet in the log.
    State,
    /// In neither.
    No,
}

impl Recorded {
    pub(super) const ALL: [Recorded; 3] = [Recorded::Log, Recorded::State, Recorded::No];

    pub(super) fn name(self) -> &'static str {
        match self {
            Recorded::Log => "log",
            Recorded::State => "state",
            Recorded::No => "no",
        }
    }
}

/// What became of a row.
#[derive(Clone, Debug)]
pub(super) struct RowRecord {
    pub(super) recorded: Recorded,
    /// Why it is no event of the stream, if it is none.
    pub(super) refused: Option<String>,
}

/// What became of all rows.
#[derive(Debug)]
pub(super) struct Records {
    /// One for each row.
    pub(super) rows: Vec<RowRecord>,
    /// How long the log was waited for when the answer was there.
    pub(super) log: Duration,
}

impl Records {
    /// The rows by where they are, for one who gets no answer.
    pub(super) fn sentence(&self) -> String {
        let count = |what: Recorded| self.rows.iter().filter(|row| row.recorded == what).count();
        let [log, state, no] = Recorded::ALL.map(count);
        format!(
            "the rows were recorded all the same: {log} in the log, {state} in the state alone, \
             {no} not at all"
        )
    }
}

/// Rows that are to be recorded, checked.
pub(super) struct Recording<'a> {
    live: &'a Arc<Live>,
    stream: usize,
    /// As they came.
    rows: &'a [&'a [u8]],
}

impl<'a> Recording<'a> {
    /// For rows of the stream that a view is over.
    ///
    /// # Errors
    /// The stream's log is none that this process writes, though it should.
    pub(super) fn new(
        live: &'a Arc<Live>,
        view: &View,
        rows: &'a [&'a [u8]],
    ) -> Result<Recording<'a>, Problem> {
        let stream = view.stream;
        if live.pusher.record_to_log {
            live.pusher.takes(stream).map_err(|error| {
                let publish = "or set record_to_log = false and publish what you record yourself";
                Problem::from(error).at("body, record").also(publish)
            })?;
        }
        Ok(Recording { live, stream, rows })
    }

    /// Refuses rows without a time of their own: a repeat would be another event with the same id.
    pub(super) fn timed(&self, asked: &Request) -> Result<(), Problem> {
        let Some(row) = asked.clocked.iter().position(|clocked| *clocked) else { return Ok(()) };
        let stream = &self.live.catalog().streams()[self.stream].stream;
        let column = &stream.columns[stream.event_time].name;
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(Problem::new(status, "bad-row", "A row does not fit the stream")
            .detail("a row that is recorded has a time of its own, the same when it is repeated")
            .at(format!("body, rows[{row}].{column}"))
            .remedy("give it, or ask without record"))
    }

    /// Files rows that are no events, as push does; none of the request is recorded then.
    pub(super) async fn bury(&self, problem: Problem, deadline: Instant) -> Problem {
        let nothing = problem.also("no row of this request is recorded");
        if !self.live.pusher.record_to_log {
            return nothing;
        }
        match pushed(self.to_log(true), deadline).await {
            Some(buried) if !buried.rejected.is_empty() => {
                nothing.also("those that are no events are filed as dead letters")
            }
            _ => nothing,
        }
    }

    /// Answers the rows and records them.
    pub(super) async fn answer(
        &self,
        view: &View,
        outputs: Vec<usize>,
        asked: &Request,
        deadline: Instant,
    ) -> (Answered, Records) {
        let Live { serving, pusher } = &**self.live;
        let catalog = self.live.catalog();
        let part = &catalog.streams()[self.stream];
        let copies = EarlyCopies::of(catalog, part, &asked.rows, pusher.clock.now().0);
        let appends = copies.appends(catalog);
        // Not `then_some`: what is made and not wanted would be sent when it is dropped.
        let owed = pusher.record_to_log.then(|| Owed(Some(self)));
        let answering = serving.answer_recording(view, outputs, asked, &appends, deadline);
        let (answered, appended) = answering.await;
        let held = copies.held(&appended, asked.at.len());
        // Not before: the worker would be quicker at times, and two rows would each count the
        // other.
        let pushing = owed.and_then(Owed::send);
        let began = Instant::now();
        let pushed = match pushing {
            Some(pushing) => pushed(pushing, deadline).await,
            None => None,
        };
        let rows = held.into_iter().enumerate();
        let rows = rows.map(|(row, held)| record(row, held, &copies, pushed.as_ref())).collect();
        (answered, Records { rows, log: began.elapsed() })
    }

    /// Sends the rows on their way into the log, or, to `bury` them, those that are no events into
    /// the dead letters.
    fn to_log(&self, bury: bool) -> JoinHandle<Result<Pushed, PushError>> {
        let (live, stream) = (Arc::clone(self.live), self.stream);
        let rows: Vec<Vec<u8>> = self.rows.iter().map(|row| row.to_vec()).collect();
        tokio::spawn(cause::carried(async move {
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            match bury {
                true => live.pusher.bury(stream, &rows).await,
                false => live.pusher.push(stream, &rows).await,
            }
        }))
    }
}

/// Rows whose copies may be in the state, so that the log must have them. Where the caller goes
/// away in between, its handler is dropped with this, and they are sent all the same: else copies
/// would count that the log never brings.
struct Owed<'a>(Option<&'a Recording<'a>>);

impl Owed<'_> {
    fn send(mut self) -> Option<JoinHandle<Result<Pushed, PushError>>> {
        self.0.take().map(|recording| recording.to_log(false))
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        // Without a runtime the process ends, and with it all that is under way.
        if let (Some(recording), Ok(_)) = (self.0.take(), Handle::try_current()) {
            drop(recording.to_log(false));
        }
    }
}

/// What the log said before the deadline.
async fn pushed(
    pushing: JoinHandle<Result<Pushed, PushError>>,
    deadline: Instant,
) -> Option<Pushed> {
    match tokio::time::timeout_at(deadline.into(), pushing).await {
        Ok(Ok(Ok(pushed))) => Some(pushed),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "rows that were to be recorded are not in the log");
            None
        }
        // It goes on, or the process ends.
        Ok(Err(_)) | Err(_) => None,
    }
}

fn record(row: usize, held: bool, copies: &EarlyCopies, pushed: Option<&Pushed>) -> RowRecord {
    let rejected = pushed.and_then(|it| it.rejected.iter().find(|rejected| rejected.index == row));
    let recorded = match (pushed.is_some() && rejected.is_none(), held) {
        (true, _) => Recorded::Log,
        (false, true) => Recorded::State,
        (false, false) => Recorded::No,
    };
    let refused = copies.refused.iter().find(|(refused, _)| *refused == row);
    let refused = refused.map(|(_, why)| why.clone());
    let refused = refused.or_else(|| rejected.map(|rejected| rejected.reason.clone()));
    RowRecord { recorded, refused }
}
