//! For tests of any crate: the naive oracle, generators of groups and events from a seed, and bytes
//! that only look right.

mod forge;
mod generate;
pub mod oracle;

pub use forge::{seal_again, seal_record};
pub use generate::{Dice, any_group, events_for};
