//! What a producer to a log that is not ours says when it does not take a record.

use super::SourceError;
use std::fmt;

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProduceError {
    /// More is waiting for the log's servers than may.
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// The bound, in bytes.
        limit: usize,
    },
    /// It was refused, or nobody acknowledged it; in the latter case it may still be found in the
    /// log later.
    Refused(SourceError),
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProduceError::Busy { queued, limit } => write!(
                f,
                "{queued} bytes wait for the log's servers; the bound is {limit}. Wait a little \
                 and send again."
            ),
            ProduceError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProduceError {}
