//! Which partitions are read here: leases in the server that has the streams.
//!
//! ```text
//!   poll ─▶ once a second: I live, and keep what I have ─▶ the server shares out: Owned
//!     silent for longer than a lease: whatever is given next is said anew, from the checkpoints
//! ```
//!
//! Every reader says that it lives; each has a right to an equal share, and takes what is free of
//! it. A share that shrinks is given up at once, by its owner. A reader that has lost its lease and
//! does not know it yet goes on for a moment: it appends records that others append too, which
//! changes nothing in a state that is a function of their set.

use super::link::{Link, Script};
use super::look::random;
use crate::ingest::source::SourceError;
use std::time::{Duration, Instant};

/// How long a reader counts as alive after it was last heard: what a crash costs in freshness, and
/// more than a batch takes.
const ALIVE: Duration = Duration::from_secs(6);

/// How often it says so; some words may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// What this reader has.
#[derive(Debug)]
pub(super) struct Lease {
    /// Tells this reader from all others.
    token: String,
    /// What it was last told to read; nothing was said before the first renewal.
    owned: Option<Vec<u32>>,
    /// When the renewal that was granted last was asked for.
    renewed: Option<Instant>,
}

impl Lease {
    /// One that owns nothing yet.
    pub(super) fn new() -> Lease {
        let token = format!("{:016x}{:016x}", random(), random());
        Lease { token, owned: None, renewed: None }
    }

    /// Whether a partition is read here, as far as was said.
    pub(super) fn has(&self, partition: u32) -> bool {
        self.owned.as_ref().is_some_and(|owned| owned.contains(&partition))
    }

    /// How long until it is to be renewed.
    pub(super) fn due_in(&self) -> Duration {
        self.renewed.map_or(Duration::ZERO, |at| RENEW_EVERY.saturating_sub(at.elapsed()))
    }

    /// Renews it if that is due; the partitions to read, if they have changed or others may have
    /// read them meanwhile.
    pub(super) fn renew(&mut self, link: &mut Link) -> Result<Option<Vec<u32>>, SourceError> {
        if !self.due_in().is_zero() {
            return Ok(None);
        }
        let asked = Instant::now();
        let is_lost = self.renewed.is_some_and(|at| at.elapsed() >= ALIVE);
        let arguments = [self.token.clone(), ALIVE.as_millis().to_string()];
        let keys = keys(link);
        match link.run::<Vec<u32>>(
            "its leases could not be renewed",
            Script::Lease,
            &keys,
            &arguments,
        ) {
            Ok(mut owned) => {
                owned.sort_unstable();
                self.renewed = Some(asked);
                let is_same = self.owned.as_ref() == Some(&owned);
                self.owned = Some(owned.clone());
                Ok((is_lost || !is_same).then_some(owned))
            }
            Err(_) if is_lost && self.owned.as_ref().is_some_and(|owned| !owned.is_empty()) => {
                self.owned = Some(Vec::new());
                Ok(Some(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives everything up, if the server is in reach; else its time runs out.
    pub(super) fn leave(&self, link: &mut Link) {
        if !link.is_open() || self.owned.is_none() {
            return;
        }
        let (keys, arguments) = (keys(link), [self.token.clone()]);
        let left =
            link.run::<u64>("its leases were not given up", Script::Leave, &keys, &arguments);
        if let Err(error) = left {
            tracing::debug!(%error, "leases run out by themselves");
        }
    }
}

fn keys(link: &Link) -> Vec<String> {
    let mut keys = vec![link.settings.readers_key()];
    keys.extend(link.settings.lease_keys());
    keys
}
