//! For tests of any crate: the naive oracle, and generators of groups and events from a seed.

mod generate;
pub mod oracle;

pub use generate::{Dice, any_group, events_for};
