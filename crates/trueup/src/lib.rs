//! The library behind the `trueup` command: the only place that sees all the crates.

pub mod cli;
