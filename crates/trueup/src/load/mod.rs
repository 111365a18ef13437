//! Load on a server, and what its callers feel: latency at a constant rate, and the rate that it
//! sustains.
//!
//! [`open_loop`] sends requests at planned instants, whether or not earlier ones were answered, as
//! callers do who do not know of each other; latency counts from the planned instant. So a server
//! that stalls is charged for everyone who had to wait ("coordinated omission" is what G. Tene
//! called leaving them out). [`find_capacity`] is the closed loop that tells which rate to plan.
//! Neither knows what it asks for: requests come from the caller as bytes.

mod capacity;
mod measure;
mod pace;

#[cfg(test)]
mod tests;

pub use capacity::{Capacity, find_capacity};
pub use measure::{Curve, LoadReport, Percentiles, server_timing};
pub use pace::{MAX_RATE, OpenLoop, open_loop};

use crate::client::{Client, ClientError, Reply};
use bytes::Bytes;
use hyper::Method;
use std::sync::Arc;

/// Makes the body of the request with this number. Called at the time of sending, so it must be
/// quick.
pub type MakeBody = dyn Fn(u64) -> Bytes + Send + Sync;

/// Judges the reply to the request with this number: `false` counts it as an error. It runs after
/// the time was taken.
pub type JudgeReply = dyn Fn(u64, &Reply) -> bool + Send + Sync;

/// What is sent again and again. Requests are numbered from 0; no number is used twice in one run.
#[derive(Clone)]
pub struct Load {
    /// The server; its connections and its timeout bound the load.
    pub client: Client,
    /// The method of every request.
    pub method: Method,
    /// The path of every request.
    pub path: String,
    /// The content type of every request.
    pub content_type: Option<String>,
    /// The bodies.
    pub body: Arc<MakeBody>,
    /// What becomes of each reply whose status is a success; the others are errors anyway.
    pub judge: Arc<JudgeReply>,
}

impl Load {
    async fn send(&self, number: u64) -> Result<Reply, ClientError> {
        let body = (self.body)(number);
        let content_type = self.content_type.as_deref();
        self.client.request(self.method.clone(), &self.path, content_type, body).await
    }

    /// The reply if it is good, else why it is not.
    fn check(&self, number: u64, sent: Result<Reply, ClientError>) -> Result<Reply, String> {
        let reply = sent.map_err(|error| error.to_string())?;
        if !reply.status.is_success() {
            let start = &reply.body[..reply.body.len().min(SHOWN_BYTES)];
            return Err(format!("status {}: {}", reply.status, String::from_utf8_lossy(start)));
        }
        if !(self.judge)(number, &reply) {
            return Err("the reply was not what the caller expected".into());
        }
        Ok(reply)
    }
}

/// Bytes of an error reply's body that a report repeats.
const SHOWN_BYTES: usize = 300;

/// Why a run gives no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// An option is out of its range.
    Option {
        /// Its name.
        option: &'static str,
        /// What it may be.
        range: String,
    },
    /// The server cannot be reached at all.
    Client(ClientError),
    /// No request had a good reply, so there is nothing to measure.
    NothingAnswered {
        /// Why the first one failed, if any was sent.
        first: String,
    },
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Option { option, range } => {
                write!(f, "the load's option `{option}` is out of range; give {range}")
            }
            LoadError::Client(error) => write!(f, "cannot put load on the server: {error}"),
            LoadError::NothingAnswered { first } => write!(
                f,
                "no request of the load had a good reply; the first one: {first}; try that \
                 request alone"
            ),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Client(error) => Some(error),
            _ => None,
        }
    }
}
