//! What can go wrong with a training set.

use std::fmt;

/// Why a training set was not built. Each says what, where, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum OfflineError {
    /// A file could not be read or written.
    File {
        /// Its path.
        path: String,
        /// What the system or the format said.
        reason: String,
    },
    /// A history does not fit the stream that it is for.
    Mismatch {
        /// The stream.
        stream: String,
        /// What does not fit, and the remedy.
        reason: String,
    },
    /// An event that the decoding table refuses.
    BadEvent {
        /// The stream.
        stream: String,
        /// The row in the history, from 0.
        row: usize,
        /// Why.
        reason: String,
    },
    /// The view that was asked for is not defined.
    NoView(
        /// Its name.
        String,
    ),
    /// An expression of the view has no value for a row.
    Expression(
        /// The expression and the reason.
        String,
    ),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::File { path, reason } => write!(f, "{path}: {reason}"),
            OfflineError::Mismatch { stream, reason } => {
                write!(f, "the history does not fit stream {stream}: {reason}")
            }
            OfflineError::BadEvent { stream, row, reason } => {
                write!(f, "row {row} of stream {stream} is no event: {reason}")
            }
            OfflineError::NoView(name) => {
                write!(f, "there is no view {name}; `trueup check` lists those that there are")
            }
            OfflineError::Expression(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OfflineError {}
