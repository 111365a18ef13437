//! What a person runs, on real parts: a server on a free loopback port, the command itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod bounds;
#[cfg(feature = "kafka")]
mod broker;
mod changing;
mod child;
mod commands;
mod contract;
mod demo;
mod kill;
mod parity;
mod pay;
#[cfg(feature = "kafka")]
mod pipeline;
mod release;
mod repeats;
mod serving;
mod source;
mod support;
mod tour;
mod training;
#[cfg(feature = "kafka")]
mod watch;
