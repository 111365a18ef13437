//! Histories and rows to training sets, with the arithmetic that serves. Cannot see a store.
//!
//! A training set's row is what a server would have answered for that transaction: the same groups,
//! the same windows (`trueup_core::slide`), the same row expressions, over the events that were
//! known to it. Events of one key are ordered once and every aggregate's window moves over them
//! once, so the cost is that of a sort.
//!
//! ```no_run
//! use trueup_offline::{Format, History, Options, UNWATCHED, train, write};
//! # fn f(definitions: &trueup_sql::Definitions) -> Result<(), Box<dyn std::error::Error>> {
//! let stream = definitions.stream("transactions").ok_or("no such stream")?;
//! let history = History::read(stream, "transactions/".as_ref(), UNWATCHED)?;
//! let set = train(definitions, "fraud", &[history], &Options::default())?;
//! let written = write("fraud.parquet".as_ref(), Format::Parquet, &set)?;
//! println!("{} rows, {} dead letters", set.counts().rows, set.counts().dead_letters.total());
//! println!("{:#}", written.manifest.json());
//! # Ok(()) }
//! ```
#![deny(missing_docs)]

mod asking;
mod column;
mod csv;
mod dead;
mod error;
mod feature;
mod history;
mod keyed;
mod lookup;
mod manifest;
mod output;
mod parallel;
mod past;
mod progress;
mod request;
mod set;
mod source;
mod stats;
mod train;

pub use dead::{DeadLetter, DeadLetters, FUTURE, KEPT_DEAD_LETTERS, NO_VALUE, Place, at_place};
pub use error::OfflineError;
pub use history::{History, Source};
pub use manifest::Manifest;
pub use output::{Format, Written, write};
pub use progress::{Phase, Progress, UNWATCHED, Watch};
pub use request::{AS_OF, RequestRows};
pub use set::{BATCH_ROWS, Batch, Reason, TrainingSet, UnknownCell};
pub use source::{ENDINGS, EventFile, MANIFEST_ENDING, Rows};
pub use train::{Counts, Options, train};
