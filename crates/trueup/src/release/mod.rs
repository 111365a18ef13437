//! Which definitions are served, which were before, and which are on their way: a note in the
//! store that every process follows.
//!
//! ```text
//!   new files ─▶ candidate ──(hydrated: flip)──▶ current ──(next flip)──▶ previous ─▶ dropped
//!                                                   ▲──────rollback────────┘
//! ```
//!
//! - Each change is one compare-and-swap of the note ([`Note`]), so everybody sees it whole.
//! - Workers keep the groups of all three up to date, each group once, and never take one away from
//!   definitions that the note names.
//! - The candidate becomes the current one when its groups vouch for as much as those in service
//!   ([`waits`] is empty). Nothing else moves definitions forward, and only a person moves them
//!   back.
//! - A store that lost the note, or its latest word, gets it back from whoever saw it.
//! - What a history is being read into is not dropped, whoever retired it.
//!
//! What is *not* here: workers and servers, which are put together by `node`; and any decision that
//! needs more than the note and what the store says of its groups.

mod hydration;
mod judge;
mod note;
mod retired;
mod stored;
mod told;

pub use hydration::{Hydration, Place};
pub use judge::{Goal, Metas, Wait, Why, goal, look, waits};
pub use note::{Kept, Note, Release};
pub use retired::{drop_retired, free};
pub(crate) use stored::restore;
pub use stored::{Changed, Seen, change, forget, promote, read, register, roll_back};
pub use told::{CandidateTold, GroupTold, Told};

use std::fmt;
use trueup_store::StoreError;

/// Why the definitions in service cannot be read or changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The store.
    Store(StoreError),
    /// The note is not one that this program reads.
    Unreadable(String),
    /// What was asked is not to be done, and why.
    Refused(String),
    /// Others changed the note each time.
    Contended,
}

impl From<StoreError> for ReleaseError {
    fn from(error: StoreError) -> ReleaseError {
        ReleaseError::Store(error)
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseError::Store(error) => error.fmt(f),
            ReleaseError::Unreadable(why) => write!(
                f,
                "the store's note of the definitions in service cannot be read: {why}; use the \
                 version of the program that wrote it"
            ),
            ReleaseError::Refused(why) => f.write_str(why),
            ReleaseError::Contended => f.write_str(
                "other processes changed the definitions in service meanwhile; try it again",
            ),
        }
    }
}

impl std::error::Error for ReleaseError {}
