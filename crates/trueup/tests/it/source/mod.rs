//! The logs that events come from, each held to one contract.

mod contract;
mod log;
