//! Which partitions are read here: one table in the key-value bucket, which readers change by
//! comparing and swapping it.
//!
//! ```text
//!   poll ─▶ once a second: I live (my count goes up), and share out what nobody has ─▶ Owned
//!     a count that stood still for as long as a lease: that reader is taken out of the table
//! ```
//!
//! Every reader has a right to an equal share, and takes what is free of it. A share that shrinks
//! is given up at once, by its owner. No clock is compared with another: each reader sees for
//! itself for how long the others' counts have stood still. A reader that has lost its lease and
//! does not know it yet goes on for a moment: it appends records that others append too, which
//! changes nothing in a state that is a function of their set.

use super::link::Link;
use crate::ingest::source::SourceError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// How long a reader counts as alive after its count last went up: what a crash costs in
/// freshness, and more than a batch takes.
const ALIVE: Duration = Duration::from_secs(6);

/// How often it goes up; some of it may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How often a change is tried again because others changed the table meanwhile.
const TRIES: usize = 8;

/// Who lives, and who reads what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    /// By reader: how often it has said that it lives.
    readers: BTreeMap<String, u64>,
    /// By partition: the reader that has it.
    owners: BTreeMap<u32, String>,
}

/// What this reader has.
#[derive(Debug)]
pub(super) struct Lease {
    /// Tells this reader from all others.
    token: String,
    partitions: u32,
    /// How often it has said that it lives. It never starts again, or one that was taken out of
    /// the table would come back as somebody who stands still.
    said: u64,
    /// The others' counts, and when each was first seen.
    heard: BTreeMap<String, (u64, Instant)>,
    /// What it was last told to read; nothing was said before the first renewal.
    owned: Option<Vec<u32>>,
    /// When the renewal that was granted last was asked for.
    renewed: Option<Instant>,
}

impl Lease {
    /// One that owns nothing yet.
    pub(super) fn new(partitions: u32) -> Lease {
        let (token, heard) = (token(), BTreeMap::new());
        Lease { token, partitions, said: 0, heard, owned: None, renewed: None }
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
    pub(super) async fn renew(&mut self, link: &mut Link) -> Result<Option<Vec<u32>>, SourceError> {
        if !self.due_in().is_zero() {
            return Ok(None);
        }
        let asked = Instant::now();
        let is_lost = self.renewed.is_some_and(|at| at.elapsed() >= ALIVE);
        match self.take(link).await {
            Ok(owned) => {
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

    async fn take(&mut self, link: &mut Link) -> Result<Vec<u32>, SourceError> {
        let key = link.settings.readers_key();
        for _ in 0..TRIES {
            let (mut table, revision) = read(link, &key).await?;
            self.bury(&mut table, Instant::now());
            self.said += 1;
            table.readers.insert(self.token.clone(), self.said);
            let owned = table.share_out(&self.token, self.partitions);
            if link.write(&key, text(link, &table)?, revision).await? {
                return Ok(owned);
            }
        }
        Err(link.changed("other readers change the leases all the time".into()))
    }

    /// Takes readers out whose counts have stood still for too long.
    fn bury(&mut self, table: &mut Table, now: Instant) {
        self.heard.retain(|reader, _| table.readers.contains_key(reader));
        table.readers.retain(|reader, &mut count| {
            let (known, since) = self.heard.entry(reader.clone()).or_insert((count, now));
            if *known != count {
                (*known, *since) = (count, now);
            }
            *reader == self.token || now.duration_since(*since) < ALIVE
        });
    }

    /// Gives everything up, if the servers are in reach; else its time runs out.
    pub(super) async fn leave(&self, link: &mut Link) {
        let left = async {
            let key = link.settings.readers_key();
            for _ in 0..TRIES {
                let (mut table, revision) = read(link, &key).await?;
                table.readers.remove(&self.token);
                table.owners.retain(|_, owner| *owner != self.token);
                if link.write(&key, text(link, &table)?, revision).await? {
                    break;
                }
            }
            Ok::<(), SourceError>(())
        };
        if let Err(error) = left.await {
            tracing::debug!(%error, "leases run out by themselves");
        }
    }
}

impl Table {
    /// Takes from a reader what is above its share, and gives it what nobody has up to that; what
    /// it has then.
    fn share_out(&mut self, reader: &str, partitions: u32) -> Vec<u32> {
        let alive: BTreeSet<&String> = self.readers.keys().collect();
        self.owners.retain(|partition, owner| *partition < partitions && alive.contains(owner));
        let (count, readers) = (partitions as usize, self.readers.len());
        let nth = self.readers.keys().position(|it| it == reader).unwrap_or(readers);
        let share = count / readers.max(1) + usize::from(nth < count % readers.max(1));
        let mut owned = Vec::new();
        self.owners.retain(|&partition, owner| {
            let is_mine = owner == reader;
            if is_mine && owned.len() < share {
                owned.push(partition);
                return true;
            }
            !is_mine
        });
        for partition in 0..partitions {
            if owned.len() < share && !self.owners.contains_key(&partition) {
                // What was given up just now goes to others: the share is full then.
                self.owners.insert(partition, reader.to_owned());
                owned.push(partition);
            }
        }
        owned.sort_unstable();
        owned
    }
}

async fn read(link: &mut Link, key: &str) -> Result<(Table, u64), SourceError> {
    let written = link.written(key).await?;
    // What cannot be read is of nobody that lives.
    let table = |(text, revision): (Vec<u8>, u64)| {
        (serde_json::from_slice(&text).unwrap_or_default(), revision)
    };
    Ok(written.map(table).unwrap_or_default())
}

fn text(link: &Link, table: &Table) -> Result<Vec<u8>, SourceError> {
    serde_json::to_vec(table).map_err(|error| link.failed("no table of leases", &error))
}

/// A name that nobody else has, on any machine.
pub(super) fn token() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shared_out_evenly_and_given_up_by_their_owner() {
        let mut table = Table::default();
        table.readers.insert("b".into(), 1);
        assert_eq!(table.share_out("b", 5), [0, 1, 2, 3, 4]);
        table.readers.insert("a".into(), 1);
        assert_eq!(table.share_out("a", 5), [0; 0], "nothing is free yet");
        assert_eq!(table.share_out("b", 5), [0, 1], "a sorts before it and has the larger share");
        assert_eq!(table.share_out("a", 5), [2, 3, 4]);
        assert_eq!(table.share_out("b", 5), [0, 1]);
        table.readers.remove("a");
        assert_eq!(table.share_out("b", 5), [0, 1, 2, 3, 4]);
        assert_eq!(table.share_out("b", 3), [0, 1, 2], "a log of fewer partitions");
    }

    #[test]
    fn a_reader_whose_count_stands_still_is_buried_and_one_that_goes_on_is_not() {
        let (mut lease, began) = (Lease::new(2), Instant::now());
        let mut table = Table::default();
        table.readers.extend([("dead".into(), 1), ("alive".into(), 1)]);
        lease.bury(&mut table, began);
        assert_eq!(table.readers.len(), 2, "it cannot be told yet");
        table.readers.insert("alive".into(), 2);
        lease.bury(&mut table, began + ALIVE - Duration::from_millis(1));
        assert_eq!(table.readers.len(), 2);
        lease.bury(&mut table, began + ALIVE);
        assert_eq!(table.readers.keys().collect::<Vec<_>>(), ["alive"]);
        // It slept and is back, before anybody saw the table without it.
        table.readers.insert("dead".into(), 2);
        lease.bury(&mut table, began + ALIVE);
        assert_eq!(table.readers.len(), 2);
    }
}
