//! The stores and the log, tried from outside: the contract, and each harm that a disk can do.

mod child;
mod contract;
mod crash;
mod fixtures;
mod flips;
mod full;
mod log;
mod model;
mod opening;
mod processes;
mod redis;
mod support;
