//! What a value is worth, and where it came from.

use std::fmt;

/// What a feature's value is worth, from best to worst. The words are those of Feast where it has
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The value is SQL's, over events up to the stated position.
    Present,
    /// So is this one, and it is NULL.
    NullValue,
    /// The frames hold no event but perhaps the request's own: the value is SQL's over an empty
    /// frame (count 0, sum NULL).
    NotFound,
    /// The value is right as of a moment that lies further back than the view allows.
    Stale,
    /// It cannot be vouched for; the value is NULL and the reason says why.
    Unknown,
    /// The view's WHERE leaves the row out; all values are NULL.
    NotInView,
}

impl Status {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Status::Present => "PRESENT",
            Status::NullValue => "NULL_VALUE",
            Status::NotFound => "NOT_FOUND",
            Status::Stale => "STALE",
            Status::Unknown => "UNKNOWN",
            Status::NotInView => "NOT_IN_VIEW",
        }
    }

    /// All statuses.
    pub const ALL: [Status; 6] = [
        Status::Present,
        Status::NullValue,
        Status::NotFound,
        Status::Stale,
        Status::Unknown,
        Status::NotInView,
    ];
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a key's state came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Nothing was looked up: the request itself settles the answer.
    Request,
    /// The online store.
    Store,
    /// The database that holds the events too, for what the store could not vouch for.
    Database,
}

impl Source {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Source::Request => "request",
            Source::Store => "store",
            Source::Database => "database",
        }
    }
}
