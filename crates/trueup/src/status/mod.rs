//! How an installation is, for the one who is paged: what store, sources and the note of the
//! definitions say, put side by side. It reads and never writes into the state; a worker need not
//! run, and what cannot be asked is named while the rest is told.
//!
//! ```text
//!   store ─ survey: stands and checkpoints, bucket by bucket ─┐
//!   store ─ notes: definitions, hydration ────────────────────┼─▶ tell ─▶ Status: text, JSON
//!   logs  ─ where each partition begins and ends ─────────────┘
//! ```
//!
//! What is *not* here: counters of processes, which are in their `/metrics`; and any judgement that
//! workers or servers go by.

mod looker;
mod tell;

pub(crate) use looker::why;
pub use looker::{Looker, OpenLog};

use serde::{Deserialize, Serialize};

/// An installation at one time. Instants are RFC 3339 in UTC, seconds are those up to `at`. The
/// names of the fields are the interface: `docs/operations.md` has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was looked at.
    pub at: String,
    /// The server that looked; none if this process did itself.
    pub asked: Option<String>,
    /// Where the state is.
    pub store: StoreStatus,
    /// In service, on their way, and the previous ones.
    pub definitions: Vec<DefinitionsStatus>,
    /// Groups that no definitions need, whose state is still to be dropped.
    pub retired: Vec<String>,
    /// The streams of all of these definitions.
    pub streams: Vec<StreamStatus>,
    /// What could not be asked, and why: with any, the rest is not the whole.
    pub troubles: Vec<String>,
    /// What is worth a word beside.
    pub remarks: Vec<String>,
}

/// A store, its servers and buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Without secrets.
    pub url: String,
    /// How its servers belong together; none while it cannot be reached.
    pub shape: Option<String>,
    /// Those that hold buckets.
    pub servers: Vec<ServerStatus>,
    /// How many buckets there are, by how they stand.
    pub buckets: BucketsStatus,
}

/// A server of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its address.
    pub place: String,
    /// What runs there.
    pub software: String,
    /// How many buckets it has.
    pub buckets: usize,
    /// Bytes of its memory, or of the file.
    pub used_bytes: Option<u64>,
    /// The most that it may use.
    pub limit_bytes: Option<u64>,
}

/// Numbers of buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketsStatus {
    /// All.
    pub total: usize,
    /// Those that stand where their writers were acknowledged.
    pub sound: usize,
    /// Those in which nothing was ever written, or of which all is gone.
    pub empty: usize,
    /// Those whose server began another life that no worker has looked at.
    pub unseen: usize,
    /// Those on their way to another server.
    pub moving: usize,
}

/// Where definitions stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Every answer is by these.
    Current,
    /// They are being hydrated, and served next.
    Candidate,
    /// One step leads back to these.
    Previous,
    /// The settings' files hold them, and no worker has entered them.
    Files,
}

/// One set of definitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinitionsStatus {
    /// Where it stands.
    pub role: Role,
    /// 64 hex digits.
    pub digest: String,
    /// Since when it stands there; none where nobody noted it.
    pub since: Option<String>,
    /// Why this program cannot use it.
    pub trouble: Option<String>,
    /// What a candidate lacks to be served, and the log brings.
    pub waits: Vec<String>,
    /// What a candidate lacks, and the log does not bring.
    pub stuck: Vec<String>,
    /// What its views need.
    pub groups: Vec<GroupStatus>,
}

/// The state of one group, over all buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub group: String,
    /// Names its state; 64 hex digits.
    pub digest: String,
    /// Buckets that have its marker; none while the store cannot be reached.
    pub vouched: Option<usize>,
    /// Buckets that are behind the furthest one of some partition.
    pub behind: Option<usize>,
    /// Whether every bucket has the marker.
    pub complete: bool,
    /// Event time since which it is complete; none for ever.
    pub complete_since: Option<String>,
    /// As of when it has everything: that of the slowest partition and bucket.
    pub fresh_at: Option<String>,
    /// How long ago that was.
    pub fresh_seconds: Option<f64>,
    /// How much of the log is applied to a group that is being hydrated.
    pub percent: Option<u64>,
    /// Whether a history is being read into it, or was left so half way.
    pub backfill: bool,
}

/// What the offsets of a log count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offsets {
    /// The partition's records.
    Records,
    /// Messages of all subjects of the stream: a lag counts others too.
    Messages,
    /// Time: a lag is not told in events.
    Times,
}

/// A stream and its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Its name.
    pub stream: String,
    /// Where its log is, without secrets.
    pub source: String,
    /// What its offsets count.
    pub offsets: Offsets,
    /// Events in the log that the definitions in service have not, over all partitions.
    pub lag_events: Option<u64>,
    /// How long ago the slowest partition was applied to its end.
    pub lag_seconds: Option<f64>,
    /// Whether that is longer than `max_staleness`, so that values are STALE.
    pub stale: bool,
    /// Events that came a second since the last look, where there was one.
    pub came_per_second: Option<f64>,
    /// Events that were applied a second since the last look.
    pub applied_per_second: Option<f64>,
    /// Dead letters that wait in this process's log; none where it could not be asked.
    pub dead_letters: Option<u64>,
    /// Groups whose next records the log does not hold, and why.
    pub gaps: Vec<String>,
    /// By number; none while the log cannot be reached.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition of a log, and how far the definitions in service are with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// The first offset that is left.
    pub first: u64,
    /// One past the last offset.
    pub end: u64,
    /// All below is in every bucket of every group in service; none while the store cannot be
    /// reached, or where no group needs the stream.
    pub applied: Option<u64>,
    /// Events between the two, where offsets count them.
    pub lag_events: Option<u64>,
    /// How long ago the watermark was.
    pub lag_seconds: Option<f64>,
    /// Log time up to which everything is applied, or when a worker last stood at the end; none
    /// before it began.
    pub watermark: Option<String>,
}

impl Status {
    /// With what happened since an earlier look.
    #[must_use]
    pub fn since(mut self, before: &Status, seconds: f64) -> Status {
        for stream in &mut self.streams {
            let earlier = before.streams.iter().find(|it| it.stream == stream.stream);
            let Some(earlier) = earlier.filter(|_| stream.offsets == Offsets::Records) else {
                continue;
            };
            let came = |stream: &StreamStatus| total(stream, |it| Some(it.end));
            let applied = |stream: &StreamStatus| total(stream, |it| it.applied);
            let rate = |now: Option<u64>, then: Option<u64>| {
                // What went back, a log that was made anew or a state, has no rate.
                Some(now?.checked_sub(then?)? as f64 / seconds.max(1e-3))
            };
            stream.came_per_second = rate(came(stream), came(earlier));
            stream.applied_per_second = rate(applied(stream), applied(earlier));
        }
        self
    }
}

/// Of all partitions together; `None` if one does not say.
fn total(stream: &StreamStatus, of: impl Fn(&PartitionStatus) -> Option<u64>) -> Option<u64> {
    let each: Option<Vec<u64>> = stream.partitions.iter().map(of).collect();
    each.filter(|each| !each.is_empty()).map(|each| each.into_iter().fold(0, u64::saturating_add))
}
