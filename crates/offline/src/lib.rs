//! History and rows to training sets, with the arithmetic that serves. Cannot see a store.
//!
//! A training set's row is what a server would have answered for that transaction: the same groups, the same windows
//! (`trueup_core::slide`), the same row expressions. Events of one key are ordered once and every aggregate's window
//! moves over them once, so the cost is that of a sort.
#![deny(missing_docs)]

mod error;
mod history;
mod keyed;
mod output;
mod train;

pub use error::OfflineError;
pub use history::{History, read_parquet};
pub use output::{Format, Manifest, write};
pub use train::{Options, Trained, train};
