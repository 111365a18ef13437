//! What a read answers for one aggregate: a value, or why there is none to be trusted.

use crate::value::{Micros, Value};

/// The answer of one aggregate at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value that SQL gives, or why it cannot be known.
    pub value: Result<Value, Unknown>,
    /// Whether the frame holds no stored event (the request's own not counted).
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
    /// The event of this request is older than the ids that the state still knows, so it cannot be
    /// told whether it has been counted.
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
                write!(f, "the event is too old to tell whether it has been counted already")
            }
            Unknown::Overflow => write!(f, "the exact result does not fit its type"),
        }
    }
}
