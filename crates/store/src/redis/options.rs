//! What a Redis store is told beside its URL. Every bound has a default with a reason.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for a connection with its greeting. A server on the same network answers in a
/// millisecond; half a second covers a lost packet and its retransmission.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for the answer to a read. A payment cannot wait longer; callers' deadlines are
/// shorter still.
const READ_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest wait for the answer to a write: a large batch behind a server that forks to save.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often checkpoints are worth their cost: one call a bucket, so 640 calls a second.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// Settings of a Redis store. `Debug` prints no password.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// What every key begins with: letters, digits, `.`, `_` and `-`. One store a prefix.
    pub prefix: String,
    /// ACL user; goes before the URL's.
    pub user: Option<String>,
    /// Password; goes before the URL's.
    pub password: Option<String>,
    /// ACL user of the sentinels, which do not share the servers'.
    pub sentinel_user: Option<String>,
    /// Password of the sentinels.
    pub sentinel_password: Option<String>,
    /// Certificates in PEM that vouch for the server, instead of the system's. Read anew for each
    /// connection, so that they can be exchanged while running.
    pub ca_file: Option<PathBuf>,
    /// Bound on opening a connection; 500 ms by default.
    pub connect_timeout: Duration,
    /// Bound on one round trip of a read; 250 ms by default, and on all that one answer
    /// takes.
    pub read_timeout: Duration,
    /// Bound on one round trip of a write; 2 s by default.
    pub write_timeout: Duration,
    /// See [`crate::Store::checkpoint_every`]; 100 ms by default.
    pub checkpoint_every: Duration,
    /// Accept a server that evicts. Then no space counts as complete, so that an evicted key is a
    /// miss and never an empty history.
    pub allow_eviction: bool,
    pub(crate) rules: Rules,
}

/// The rules of writing, each of which a test may switch off to show what it prevents. All hold by
/// default, and only tests can say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A new connection, or a bucket on another node, is looked at before an append.
    pub who: bool,
    /// A checkpoint is refused under another incarnation.
    pub inc: bool,
    /// Checkpoints and swaps are refused under another epoch; names of values hold the epoch.
    pub epoch: bool,
    /// A swap is refused unless the tail is the one that was folded.
    pub bytes: bool,
    /// A moved bucket is adopted only if its new node was on record.
    pub seen: bool,
    /// Servers are looked at every second. Not a rule of its own: it makes the others bite sooner.
    pub watch: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self =
        Self { who: true, inc: true, epoch: true, bytes: true, seen: true, watch: true };
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "trueup".to_owned(),
            user: None,
            password: None,
            sentinel_user: None,
            sentinel_password: None,
            ca_file: None,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            checkpoint_every: CHECKPOINT_EVERY,
            allow_eviction: false,
            rules: Rules::ALL,
        }
    }
}

impl RedisOptions {
    /// With some of the rules off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("user", &self.user)
            .field("ca_file", &self.ca_file)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("allow_eviction", &self.allow_eviction)
            .finish_non_exhaustive()
    }
}
