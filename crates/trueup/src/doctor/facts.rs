//! What is so of one environment, as it is told and compared.

use super::probe::Probe;
use crate::outgrown::Outgrown;
use crate::status::BucketsStatus;
use serde::Serialize;
use std::collections::BTreeMap;

/// One environment. What is not known is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Its name.
    pub environment: String,
    /// Why its settings are not taken: no process starts by them.
    pub refused: Option<String>,
    /// Whether that is for want of an online store.
    pub without_store: bool,
    /// What is served, and what the files hold.
    pub definitions: DefinitionsFacts,
    /// The online store; none where settings name none.
    pub store: Option<StoreFacts>,
    /// What could not be asked, and why.
    pub troubles: Vec<String>,
    /// As of how long ago the state of all groups is whole, seconds; none before it was.
    pub fresh_seconds: Option<f64>,
    /// The streams of the definitions.
    pub streams: Vec<StreamFacts>,
    /// The database that is asked for what the store does not vouch for, if settings name one.
    pub database: Option<DatabaseFacts>,
    /// How far behind the pipeline may be before values are STALE, seconds.
    pub max_staleness_seconds: f64,
    /// Where its servers listen.
    pub listen: String,
    /// Whether callers need a token.
    pub token: bool,
    /// Whether it may listen to the world without one.
    pub insecure: bool,
}

/// Which definitions an environment has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DefinitionsFacts {
    /// Of the settings' files, 64 hex digits.
    pub files: Option<String>,
    /// Why these cannot be used.
    pub trouble: Option<String>,
    /// Of those by which answers are given.
    pub served: Option<String>,
    /// Why this program cannot use those.
    pub served_trouble: Option<String>,
    /// Views and their digests: of those that are served, else of the files.
    pub views: BTreeMap<String, String>,
}

impl DefinitionsFacts {
    /// By which it answers, or would.
    pub fn in_effect(&self) -> Option<&str> {
        self.served.as_deref().or(self.files.as_deref())
    }
}

/// An online store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoreFacts {
    /// Where, without secrets.
    pub place: String,
    /// `memory`, `embedded` or `redis`.
    pub kind: String,
    /// How its servers belong together; none while it was not asked.
    pub shape: Option<String>,
    /// What runs there, each once.
    pub software: Vec<String>,
    /// How its buckets stand.
    pub buckets: BucketsStatus,
    /// How its servers are set up.
    pub servers: Vec<ServerFacts>,
    /// What is this one store and no other.
    pub identity: Vec<String>,
    /// What it did not vouch for, if anything.
    pub lack: Option<Lack>,
    /// How long it takes to answer.
    pub retrieval: Option<Probe>,
    /// Keys at their bound, by group the worst first.
    pub outgrown: Vec<Outgrown>,
}

/// What a store does not vouch for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lack {
    /// How much: look-ups, or groups.
    pub of: String,
    /// Why.
    pub reason: String,
}

/// A server of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerFacts {
    /// Its address.
    pub place: String,
    /// Names its present life.
    pub life: String,
    /// What it does when its memory is full.
    pub eviction: String,
    /// What outlasts a restart.
    pub persistence: Option<String>,
    /// Replicas that follow it.
    pub replicas: Option<u64>,
    /// Replicas without which it refuses writes.
    pub min_replicas: Option<u64>,
    /// How far its clock is before this machine's, milliseconds.
    pub clock_ms: Option<f64>,
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamFacts {
    /// Its name.
    pub stream: String,
    /// Where its log is, without secrets.
    pub source: String,
    /// Whether that is a log of others, which processes share out.
    pub shared: bool,
    /// Events that are not applied.
    pub lag_events: Option<u64>,
    /// Groups whose next records the log does not hold.
    pub gaps: Vec<String>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DatabaseFacts {
    /// Where, without secrets.
    pub place: String,
    /// Why it cannot be asked.
    pub trouble: Option<String>,
    /// Keys that no index begins with.
    pub missing_indexes: Vec<IndexFacts>,
    /// How much it is asked at most.
    pub bounds: String,
    /// How long a miss takes: what every feature would take without a store.
    pub miss: Option<Probe>,
}

/// An index that is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexFacts {
    /// Table and key.
    pub key: String,
    /// What makes it.
    pub statement: String,
}

impl Facts {
    /// What is known of an environment whose settings are not taken, nor any part of them.
    pub fn refused(environment: String, error: String, without_store: bool) -> Facts {
        let refused = Some(error);
        Facts { environment, refused, without_store, ..Facts::default() }
    }
}
