//! What a person runs, on real parts: a server on a free loopback port, the command itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod bounds;
mod child;
mod commands;
mod contract;
mod demo;
mod kill;
mod parity;
mod pay;
mod repeats;
mod serving;
mod support;
mod tour;
mod training;
