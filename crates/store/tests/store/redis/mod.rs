//! The store in Redis, on real servers.

mod contract;
mod support;
