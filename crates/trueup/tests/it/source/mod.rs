//! The logs that events come from, each held to one contract.

mod contract;
#[cfg(feature = "kafka")]
mod kafka;
mod log;
#[cfg(feature = "nats")]
mod nats;
mod redis_stream;
