//! What Trueup is measured against: the features of view `fraud` by the aggregate query that a
//! person would write, straight on a database of transactions.
//!
//! This is the one place of the project where a database aggregates. Nothing else may use it: it is
//! the path whose price the demo shows. It is kept honest: the query asks for what the view asks
//! for, its answers are compared with the training rows, connections are kept, read only, with the
//! statement prepared and the file mapped into memory, and the indexes hold every column that the
//! query reads.

mod load;
mod pool;
mod query;
mod serve;

pub(super) use load::{index, load};
pub(super) use serve::{Baseline, router};
