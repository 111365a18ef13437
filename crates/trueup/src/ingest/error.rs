//! Why a worker does not begin or go on: each reason with the place and the remedy. Whether it is
//! tried again is decided here too, and when is not.

use super::source::SourceError;
use std::fmt;
use trueup_sql::decode::{BadSchema, DecodeError};
use trueup_store::StoreError;

/// Why a worker cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestError {
    /// The store or the dead letters failed.
    Store(StoreError),
    /// The log failed.
    Source(SourceError),
    /// The log does not hold what comes after a checkpoint.
    Gap {
        /// The stream.
        stream: String,
        /// The group whose checkpoint it is.
        group: String,
        /// What is missing.
        why: String,
    },
    /// So many records cannot be used that something else must be wrong.
    Flood {
        /// The stream.
        stream: String,
        /// Bad records among the last ones.
        bad: usize,
        /// How many those are.
        of: usize,
        /// The one at which it was too much, with what is wrong with it.
        last: String,
    },
    /// A group is being built from a history, or was left so.
    UnderWay {
        /// The stream.
        stream: String,
        /// The group.
        group: String,
    },
    /// A group that is being built from a history is written to by somebody else.
    TakenOver {
        /// The stream.
        stream: String,
    },
    /// No record of an Avro schema could be an event of the stream.
    Schema {
        /// The stream.
        stream: String,
        /// What is wrong.
        why: BadSchema,
    },
    /// The log's records could not be made a batch.
    Decode(DecodeError),
    /// The worker's thread could not be started.
    Thread(std::io::Error),
    /// The worker panicked, and not over one record, which would be a dead letter.
    Panicked(String),
}

impl IngestError {
    /// Whether trying again, from the checkpoints, may mend it.
    pub(super) fn mends_itself(&self) -> bool {
        match self {
            IngestError::Store(StoreError::Rewound { .. }) => true,
            IngestError::Store(error) => error.advice().retry,
            IngestError::Source(error) => error.retry,
            _ => false,
        }
    }
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> IngestError {
        IngestError::Store(error)
    }
}

impl From<SourceError> for IngestError {
    fn from(error: SourceError) -> IngestError {
        IngestError::Source(error)
    }
}

impl From<DecodeError> for IngestError {
    fn from(error: DecodeError) -> IngestError {
        IngestError::Decode(error)
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IngestError::Store(error) => error.fmt(f),
            IngestError::Source(error) => error.fmt(f),
            IngestError::Gap { stream, group, why } => write!(
                f,
                "events of stream {stream} are missing for group {group}: {why}; put the log back, \
                 or start once with --new-beginning, which drops that state and begins with what \
                 the log has"
            ),
            IngestError::Flood { stream, bad, of, last } => write!(
                f,
                "{bad} of the last {of} records of stream {stream} cannot be used, and it is \
                 stopped before the rest of them are passed over; {last}. Mend the producer or the \
                 definitions and start again, or start with --accept-bad, which files them as dead \
                 letters and goes on"
            ),
            IngestError::UnderWay { stream, group } => write!(
                f,
                "group {group} of stream {stream} is being built from history, or was left so \
                 half way; let `trueup backfill` come to its end, give the same command again if \
                 it was broken off, or drop what it built with `trueup backfill --abandon`"
            ),
            IngestError::TakenOver { stream } => write!(
                f,
                "the groups of stream {stream} are no longer this backfill's: a worker or another \
                 backfill has taken them; stop it, and begin with --again"
            ),
            IngestError::Schema { stream, why } => write!(f, "[avro.{stream}]: {why}"),
            IngestError::Decode(error) => error.fmt(f),
            IngestError::Thread(error) => write!(f, "a thread could not be started: {error}"),
            IngestError::Panicked(said) => write!(
                f,
                "the worker panicked: {said}; start it again, which is safe, and report it if it \
                 does so again"
            ),
        }
    }
}

impl std::error::Error for IngestError {}
