//! Whether environments are fit to serve, and alike where a model's numbers and their latency hang
//! on it: for the one who is about to send payments to production.
//!
//! ```text
//!   settings, status, store ─▶ examine: look, ask for keys, time it ─▶ Facts of an environment
//!   Facts of all ─▶ findings (pure) ─▶ each with its consequence and its remedy
//! ```
//!
//! The mistake that it exists for: production without an online store, so that every feature is a
//! query on the database, and nobody says so.
//!
//! What is *not* here: how an installation is told of (`status`, whose word this takes), and what
//! settings refuse by themselves. It writes nothing, anywhere.

mod examine;
mod facts;
mod findings;
mod probe;

pub use examine::{Examined, examine};
pub use facts::{
    DatabaseFacts, DefinitionsFacts, Facts, IndexFacts, Lack, ServerFacts, StoreFacts, StreamFacts,
};
pub use findings::{Finding, Severity, findings};
pub use probe::Probe;
