//! The way of an event: from a push or a file into the stream's log, from the log into the store.
//!
//! ```text
//! push, file ─▶ decode, admit ─▶ log (durable: acknowledged) ─▶ worker: records ─▶ store
//!                  └─▶ dead letters ◀── what the definitions cannot evaluate ─┘
//!                                  ◀── what panics, or ends the process: quarantine
//!             too many of them: the stream stops (flood)
//! ```
//!
//! The log is the only way in: what the store holds can be made again by reading it. A worker reads
//! one stream in order and appends each event's record to the value of each of its keys; how far it
//! got stands in the store, in the same transaction. It serves nobody: reading is `serve`'s.

mod admit;
mod apply;
pub mod backfill;
mod compact;
pub mod dead_letters;
mod early;
mod error;
mod feed;
mod file;
mod flood;
mod letterbox;
mod past;
mod prepare;
mod progress;
mod push;
mod quarantine;
pub mod source;
mod standing;
mod worker;
mod writes;

pub use early::EarlyCopies;
pub use error::IngestError;
pub use file::{FileError, FileKind, Loaded, load};
pub use flood::DEFAULT_MAX_BAD_PERCENT;
pub use letterbox::Letterbox;
pub(crate) use past::Past;
pub use prepare::{Prepared, prepare};
pub use progress::{Applied, Bell, Counts, Progress};
pub use push::{PushError, Pushed, Pusher, RejectedEvent, Sink};
pub use standing::NewBeginning;
pub(crate) use standing::gap;
pub use worker::{Worker, WorkerOptions};
pub use writes::{Write, Writes};
