//! What a read answers for one aggregate: a value, or why there is none to be trusted.

use crate::value::{Micros, Value};

/// The answer of one aggregate at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value that SQL gives, or why it cannot be known.
    pub value: Result<Value, Unknown>,
    /// Whether the frame holds no event but perhaps the request's own, delivered already or not.
    pub empty: bool,
}

/// Why a value cannot be known. An answer may be missing; it is never short and never holds the
/// future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unknown {
    /// The frame starts before the time from which this key's state is whole.
    NotWhole {
        /// The state is whole from here on.
        from: Micros,
    },
    /// The instant lies inside a sealed bin, or before the end of a lifetime partial, that holds
    /// later events.
    HoldsLater {
        /// The newest event time in it.
        newest: Micros,
    },
    /// The state of a binned or lifetime group cannot tell how it has counted the request's own
    /// event: it is older than the ids that are still known, or was delivered with another time.
    OwnUnsure,
    /// The exact result does not fit its type.
    Overflow,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unknown::NotWhole { from } => {
                write!(f, "the frame starts before this key's state is whole ({} us)", from.0)
            }
            Unknown::HoldsLater { newest } => {
                write!(
                    f,
                    "the instant lies before events already in its bin (newest {} us)",
                    newest.0
                )
            }
            Unknown::OwnUnsure => {
                write!(
                    f,
                    "how the request's own event was counted cannot be told: it is older than the \
                     ids that are still known, or was delivered with another time"
                )
            }
            Unknown::Overflow => write!(f, "the exact result does not fit its type"),
        }
    }
}
