//! What the store cannot vouch for, answered from a database that holds the events too: the same
//! values, within bounds, and nothing else held up by it.

mod chaos;
mod guards;
#[cfg(feature = "mysql")]
mod mysql;
mod scene;
mod skew;
mod tls;
mod values;
mod write_back;
