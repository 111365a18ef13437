//! What can go wrong in a store: what, where, whose fault, whether to try again, and the remedy.

use std::fmt;

use crate::store::Stand;

/// Why a verb of a store or of the log did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another handle of this one, has the data directory open.
    InUse {
        /// The database file.
        path: String,
        /// The process that holds it, where it left its id.
        pid: Option<u32>,
    },
    /// The file could not be made or opened.
    Open {
        /// The database file.
        path: String,
        /// What the operating system said.
        detail: String,
    },
    /// The disk, or a server's memory, is full. Nothing of this write is acknowledged; reads go
    /// on; writes go on when there is room.
    Full {
        /// The database file, or the server.
        path: String,
        /// What the operating system said, or what is full.
        detail: String,
    },
    /// The disk failed under a write, a read or a sync. What reached it is unknown, so nothing more
    /// is done with it.
    Broken {
        /// The database file.
        path: String,
        /// What the operating system said.
        detail: String,
    },
    /// The bytes on disk are not those that were written.
    Corrupt {
        /// The file, and where in it, as far as known.
        place: String,
        /// What did not fit.
        detail: String,
    },
    /// The file was written by another version of the format.
    Format {
        /// The database file.
        path: String,
        /// The version found.
        found: u64,
        /// The version that this program writes.
        known: u64,
    },
    /// The store is not the one, or not in the life, under which the caller's earlier appends were
    /// acknowledged: some of these may be gone. [`crate::Store::look`] says where to begin again.
    Rewound {
        /// What the caller knew.
        known: Stand,
        /// What is there.
        found: Stand,
    },
    /// The log does not hold the wanted offset: it was trimmed, or the log was made anew.
    Gap {
        /// The stream's name.
        stream: String,
        /// The offset asked for.
        wanted: u64,
        /// The first offset that is left.
        first: u64,
        /// One past the last offset.
        end: u64,
    },
    /// More is waiting to be written than the queue may hold. Nothing was taken.
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A key, a record or a value is above its bound. Nothing was written.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A record begins with the byte that marks a base. Nothing was written.
    Marked,
    /// A server, or what it was set up as, will not do. Nothing was written.
    Unfit {
        /// The server, setting or file.
        place: String,
        /// What will not do.
        detail: String,
        /// What to change, as one sentence.
        remedy: &'static str,
    },
    /// The store did not answer. A write may or may not have been applied.
    Unavailable {
        /// What failed.
        detail: String,
    },
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The code or the request that called.
    Caller,
    /// The person who runs the process.
    Operator,
    /// The disk, the network or the server of the store.
    Machine,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Who can mend it.
    pub fault: Fault,
    /// Whether the same call may succeed later without anybody doing anything to the caller.
    pub retry: bool,
    /// The remedy, as one sentence.
    pub remedy: &'static str,
}

impl StoreError {
    /// Whose fault it is, whether to try again, and the remedy.
    pub fn advice(&self) -> Advice {
        let (fault, retry, remedy) = match self {
            Self::InUse { .. } => {
                (Fault::Operator, false, "Stop the other process, or name another data directory.")
            }
            Self::Open { .. } => {
                (Fault::Operator, false, "Check that the directory exists and may be written.")
            }
            Self::Full { .. } => {
                (Fault::Operator, true, "Make room there; writing resumes by itself.")
            }
            Self::Broken { .. } => (
                Fault::Machine,
                false,
                "Check the disk, then restart: the log is replayed from the last good commit.",
            ),
            Self::Corrupt { .. } => (
                Fault::Machine,
                false,
                "Check the disk, remove the state file and rebuild it from the log or a backfill.",
            ),
            Self::Format { .. } => {
                (Fault::Operator, false, "Use the version of the program that wrote the file.")
            }
            Self::Rewound { .. } => {
                (Fault::Machine, false, "Look again and send everything behind the checkpoints.")
            }
            Self::Gap { .. } => {
                (Fault::Operator, false, "Backfill from history, or declare a new beginning.")
            }
            Self::Busy { .. } => (Fault::Machine, true, "Wait a little and send again."),
            Self::TooLarge { .. } => (Fault::Caller, false, "Send less in one piece."),
            Self::Marked => (Fault::Caller, false, "Give records a length that is not 0 first."),
            Self::Unfit { remedy, .. } => (Fault::Operator, false, *remedy),
            Self::Unavailable { .. } => {
                (Fault::Machine, true, "Send again: what was applied already counts once.")
            }
        };
        Advice { fault, retry, remedy }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, pid: Some(pid) } => {
                write!(f, "{path} is in use by process {pid}.")?;
            }
            Self::InUse { path, pid: None } => write!(f, "{path} is in use by another process.")?,
            Self::Open { path, detail } => write!(f, "{path} cannot be opened: {detail}.")?,
            Self::Full { path, detail } => write!(f, "{path} cannot take more: {detail}.")?,
            Self::Broken { path, detail } => write!(f, "The disk of {path} failed: {detail}.")?,
            Self::Corrupt { place, detail } => write!(f, "{place} is damaged: {detail}.")?,
            Self::Format { path, found, known } => {
                write!(f, "{path} has format {found}; this program knows {known}.")?;
            }
            Self::Rewound { known, found } => {
                write!(f, "The store lost acknowledged writes: knew {known}, found {found}.")?;
            }
            Self::Gap { stream, wanted, first, end } => {
                write!(f, "The log of {stream} holds offsets {first} to {end}, not {wanted}.")?;
            }
            Self::Busy { queued, limit } => {
                write!(f, "{queued} bytes wait to be written; the bound is {limit}.")?;
            }
            Self::TooLarge { what, len, limit } => {
                write!(f, "A {what} of {len} bytes is above the bound of {limit}.")?;
            }
            Self::Marked => write!(f, "A record begins with byte 0, which marks a base.")?,
            Self::Unfit { place, detail, .. } => write!(f, "{place}: {detail}.")?,
            Self::Unavailable { detail } => write!(f, "The store did not answer: {detail}.")?,
        }
        write!(f, " {}", self.advice().remedy)
    }
}

impl std::error::Error for StoreError {}
