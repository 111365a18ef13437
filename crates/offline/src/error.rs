//! What can go wrong with a training set.

use crate::dead::Place;
use std::fmt;
use std::path::Path;

/// Why a training set was not built. Each says what, where, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum OfflineError {
    /// A file could not be read or written.
    File {
        /// Its path.
        path: String,
        /// What the system or the format said, with the remedy.
        reason: String,
    },
    /// A history or a table of request rows does not fit the stream that it is for.
    Mismatch {
        /// The stream.
        stream: String,
        /// What does not fit, and the remedy.
        reason: String,
    },
    /// A request row that cannot be answered. Events of a history never stop it; a row that was
    /// asked for and would be missing does.
    BadRow {
        /// The file.
        source: String,
        /// Where in it.
        place: Place,
        /// What is wrong, with the remedy.
        reason: String,
    },
    /// The view that was asked for is not defined.
    NoView(
        /// Its name.
        String,
    ),
    /// An expression of the view cannot be evaluated.
    Expression(
        /// The expression and the reason.
        String,
    ),
}

impl OfflineError {
    pub(crate) fn file(path: &Path, reason: impl fmt::Display) -> OfflineError {
        OfflineError::File { path: path.display().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn mismatch(stream: &str, reason: impl Into<String>) -> OfflineError {
        OfflineError::Mismatch { stream: stream.to_string(), reason: reason.into() }
    }

    pub(crate) fn expression(reason: impl fmt::Display) -> OfflineError {
        OfflineError::Expression(reason.to_string())
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::File { path, reason } => write!(f, "{path}: {reason}"),
            OfflineError::Mismatch { stream, reason } => {
                write!(f, "stream {stream}: {reason}")
            }
            OfflineError::BadRow { source, place, reason } => {
                write!(f, "{source}, {place}: {reason}")
            }
            OfflineError::NoView(name) => {
                write!(f, "there is no view {name}; `trueup check` lists those that there are")
            }
            OfflineError::Expression(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OfflineError {}
