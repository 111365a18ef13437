//! The store in Redis, on real servers.

mod cluster;
mod contract;
mod early;
mod expiry;
mod failover;
mod faults;
mod fitness;
mod network;
mod plant;
mod rules;
mod support;
mod survey;
