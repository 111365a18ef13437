//! The library behind the `trueup` command: the only place that sees all the crates.

pub mod cli;
pub mod client;
pub mod load;
pub mod simulate;
