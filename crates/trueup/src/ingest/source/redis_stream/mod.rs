//! Streams of a Redis server as a source: one stream for each partition, read by its entries' IDs.
//!
//! ```text
//!   lease ─▶ Owned ─▶ seek: look, find the entry before ─▶ read after it ─▶ records …
//!     ▲                                  ▲                    │      │
//!     └── each second                    └── begin again ◀────┘      └─▶ nothing: XREAD BLOCK
//!                                            the entry before is gone
//! ```
//!
//! Consumer groups of Redis are not used: they hand out single entries and hand them out again out
//! of order, where a state's checkpoint wants a partition whole and in order.
//!
//! - An event is the field `event` of an entry, as JSON; an entry without it comes with an empty
//!   payload, which decoding refuses. Times are those in the IDs: the server's.
//! - Every read asks for the last entry that was read too. As long as that is there, nothing
//!   between it and what follows was trimmed; if it is gone, reading begins again with a look at
//!   the checkpoints, which finds the gap if there is one. So trim such that the newest applied
//!   entry stays (`XTRIM STREAM MINID` with its ID, or by a length that is never reached), and do
//!   not delete entries from the middle (`XDEL`): that is not seen, and meant to be so.
//! - All streams of a log are on one server, together with the leases and with what is written
//!   down about the log. What that server loses in a failover without its having been read is lost
//!   to everybody; what it loses after that is a gap.

mod error;
mod id;
mod lease;
mod link;
mod look;
mod producer;
mod settings;

pub use producer::RedisStreamProducer;
pub use settings::RedisStreamSettings;

use super::{Bounds, PartitionInfo, Polled, Source, SourceError, SourceRecord};
use error::{AGAIN, GAP, refused};
use id::Id;
use lease::Lease;
use link::{Link, Script};
use look::{Look, disown, look, unfit};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The field of an entry that is the event.
const FIELD: &str = "event";

/// The entry at an offset, as the server names it.
pub fn entry_id(offset: u64) -> String {
    Id(offset).to_string()
}

/// A log of streams, as one reader of its group reads it.
pub struct RedisStreamSource {
    link: Link,
    streams: Vec<String>,
    lease: Lease,
    /// The log's number, as last seen.
    number: u32,
    /// Whether it was another one before, and nobody has been told.
    is_anew: bool,
    /// Where each partition that was sought goes on.
    reading: BTreeMap<u32, Start>,
    /// The partition that the next read begins with, so that none waits for the others.
    turn: u32,
}

/// Where reading goes on, and what shows that nothing is missing before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// After this entry, which must be there.
    After(Id),
    /// At this entry, which must be there.
    At(Id),
    /// At the first entry from here on: a look must find that nothing was deleted.
    Whole(Id),
}

impl RedisStreamSource {
    /// Connects and looks at the streams, which need not be there yet.
    ///
    /// # Errors
    /// What the server says.
    pub fn open(settings: RedisStreamSettings) -> Result<RedisStreamSource, SourceError> {
        let mut link = Link::new(settings)?;
        let Look { number, .. } = look(&mut link)?;
        let streams = link.settings.streams();
        Ok(RedisStreamSource {
            link,
            streams,
            lease: Lease::new(),
            number,
            is_anew: false,
            reading: BTreeMap::new(),
            turn: 0,
        })
    }

    fn look(&mut self) -> Result<Look, SourceError> {
        let found = look(&mut self.link)?;
        if found.number != self.number {
            self.number = found.number;
            self.is_anew = true;
            self.reading.clear();
        }
        Ok(found)
    }

    fn check(&self, partition: u32) -> Result<usize, SourceError> {
        let known = usize::try_from(partition).ok().filter(|&nth| nth < self.streams.len());
        known.ok_or_else(|| {
            let detail = format!("there is no partition {partition}");
            refused(&self.link.settings, detail, false, "Give the URL the right partitions=N")
        })
    }

    /// Where reading begins for a place that the log has.
    fn begin(&mut self, partition: u32, offset: u64, look: &Look) -> Result<Start, SourceError> {
        let nth = self.check(partition)?;
        let edges = look.edges[nth];
        if offset < edges.first || offset > edges.end {
            let (first, end, id) = (edges.first, edges.end, Id(offset));
            let detail =
                format!("partition {partition} has {first} to {end}, not {offset} (entry {id})");
            return Err(refused(&self.link.settings, detail, false, GAP));
        }
        let before = Id(offset.saturating_sub(1));
        let (has_before, has_it) = self.has(nth, before, Id(offset))?;
        match (has_before, has_it) {
            (true, _) => Ok(Start::After(before)),
            (false, true) => Ok(Start::At(Id(offset))),
            (false, false) if offset == edges.first || offset == edges.end => {
                Ok(Start::Whole(Id(offset)))
            }
            // A place that was read to is after an entry. The server has lost that one, and has
            // taken others since.
            (false, false) => {
                disown(&mut self.link)?;
                let detail = format!(
                    "entry {before} of {} was read and is not there, nor was it trimmed",
                    self.streams[nth]
                );
                Err(refused(&self.link.settings, detail, true, AGAIN))
            }
        }
    }

    /// Whether a stream has each of two entries.
    fn has(&mut self, nth: usize, one: Id, other: Id) -> Result<(bool, bool), SourceError> {
        const WHAT: &str = "the entry to begin at could not be asked for";
        let mut asked = redis::pipe();
        for id in [one, other] {
            let id = id.to_string();
            asked.cmd("XRANGE").arg(&self.streams[nth]).arg(&id).arg(&id);
        }
        let (one, other): (Vec<redis::Value>, Vec<redis::Value>) = self.link.all(WHAT, &asked)?;
        Ok((!one.is_empty(), !other.is_empty()))
    }

    /// What there is now.
    fn read(&mut self, bounds: &Bounds) -> Result<Vec<SourceRecord>, SourceError> {
        let later = self.reading.range(self.turn..);
        let order = later.chain(self.reading.range(..self.turn));
        let order: Vec<(u32, Start)> = order.map(|(&partition, &from)| (partition, from)).collect();
        if order.is_empty() || bounds.records == 0 {
            return Ok(Vec::new());
        }
        let keys: Vec<String> =
            order.iter().map(|&(p, _)| self.streams[p as usize].clone()).collect();
        let mut arguments =
            vec![bounds.records.to_string(), bounds.bytes.to_string(), FIELD.to_owned()];
        for (_, from) in &order {
            let (start, anchor) = match from {
                Start::After(id) => (format!("({id}"), id.to_string()),
                Start::At(id) | Start::Whole(id) => (id.to_string(), String::new()),
            };
            arguments.extend([start, anchor]);
        }
        let told: Vec<redis::Value> =
            self.link.run("reading failed", Script::Read, &keys, &arguments)?;
        let mut records = Vec::new();
        let mut unproven = Vec::new();
        let mut next = Vec::with_capacity(order.len());
        for ((partition, from), told) in order.into_iter().zip(told) {
            let came = self.entries(partition, from, told)?;
            let Some(last) = came.last() else { continue };
            if let Start::Whole(id) = from {
                unproven.push((partition, id));
            }
            next.push((partition, Start::After(Id(last.offset))));
            records.extend(came);
        }
        self.prove(&unproven)?;
        self.turn = next.last().map_or(0, |(partition, _)| partition + 1);
        self.reading.extend(next);
        Ok(records)
    }

    /// The entries that a read brought of one partition.
    fn entries(
        &self,
        partition: u32,
        from: Start,
        told: redis::Value,
    ) -> Result<Vec<SourceRecord>, SourceError> {
        let (Start::After(id) | Start::At(id) | Start::Whole(id)) = from;
        // The answer for an entry that must be there and is not.
        if told == redis::Value::Int(0) {
            return Err(self.lost(partition, id));
        }
        let strange = |_| {
            let detail = "the server's answer to a read is not understood".to_owned();
            refused(&self.link.settings, detail, false, AGAIN)
        };
        let told: Vec<(String, Vec<u8>)> = redis::from_redis_value(told).map_err(strange)?;
        let mut records = Vec::with_capacity(told.len());
        for (text, payload) in told {
            let at = Id::parse(&text).map_err(|reason| unfit(&self.link.settings, reason))?;
            let (offset, time_us) = (at.0, at.time_us());
            records.push(SourceRecord { partition, offset, time_us, payload });
        }
        let first = records.first().map(|record| record.offset);
        if matches!(from, Start::At(_)) && first.is_some_and(|first| first != id.0) {
            return Err(self.lost(partition, id));
        }
        Ok(records)
    }

    /// Looks, after entries were read from a place that no entry stands before, whether the
    /// streams are whole from there.
    fn prove(&mut self, places: &[(u32, Id)]) -> Result<(), SourceError> {
        if places.is_empty() {
            return Ok(());
        }
        let look = self.look()?;
        for &(partition, id) in places {
            if self.is_anew || look.edges[partition as usize].first > id.0 {
                return Err(self.lost(partition, id));
            }
        }
        Ok(())
    }

    fn lost(&self, partition: u32, id: Id) -> SourceError {
        let stream = &self.streams[partition as usize];
        let detail = format!("entries of {stream} at {id} or behind it are gone");
        refused(&self.link.settings, detail, true, AGAIN)
    }

    /// Waits until something comes to what is read here.
    fn wait(&mut self, wait: Duration) -> Result<(), SourceError> {
        if self.reading.is_empty() {
            std::thread::sleep(wait);
            return Ok(());
        }
        let millis = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let mut call = redis::cmd("XREAD");
        // 0 would be for ever.
        call.arg("COUNT").arg(1).arg("BLOCK").arg(millis.max(1)).arg("STREAMS");
        for &partition in self.reading.keys() {
            call.arg(&self.streams[partition as usize]);
        }
        for from in self.reading.values() {
            let after = match *from {
                Start::After(id) => id,
                Start::At(id) | Start::Whole(id) => Id(id.0.saturating_sub(1)),
            };
            call.arg(after.to_string());
        }
        self.link.wait("waiting for entries failed", &call, wait)
    }
}

impl Source for RedisStreamSource {
    /// Made up when the log is first looked at, and again when it was made anew.
    fn number(&self) -> u32 {
        self.number
    }

    fn roster(&mut self) -> Result<Vec<PartitionInfo>, SourceError> {
        let look = self.look()?;
        // Whoever asks for the roster asks for the number too.
        self.is_anew = false;
        let info = |(partition, edges): (u32, &look::Edges)| PartitionInfo {
            partition,
            first: edges.first,
            end: edges.end,
        };
        Ok((0..).zip(&look.edges).map(info).collect())
    }

    fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        // Should anything fail, nothing comes from where they were.
        self.reading.retain(|partition, _| places.iter().all(|(sought, _)| sought != partition));
        let foreign = places.iter().find(|(partition, _)| !self.lease.has(*partition));
        if let Some((partition, _)) = foreign {
            let detail = format!("partition {partition} is not read here");
            return Err(refused(&self.link.settings, detail, true, AGAIN));
        }
        let look = self.look()?;
        for &(partition, offset) in places {
            let from = self.begin(partition, offset, &look)?;
            self.reading.insert(partition, from);
        }
        Ok(())
    }

    fn poll(&mut self, bounds: &Bounds) -> Result<Polled, SourceError> {
        let began = Instant::now();
        loop {
            if let Some(owned) = self.lease.renew(&mut self.link)? {
                self.reading.clear();
                return Ok(Polled::Owned(owned));
            }
            if std::mem::take(&mut self.is_anew) {
                let detail = "the log was made anew".to_owned();
                return Err(refused(&self.link.settings, detail, true, AGAIN));
            }
            let records = self.read(bounds)?;
            let left = bounds.wait.saturating_sub(began.elapsed());
            if !records.is_empty() || left.is_zero() {
                return Ok(Polled::Records(records));
            }
            self.wait(left.min(self.lease.due_in()))?;
        }
    }

    fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        let look = self.look()?;
        let end = |&partition: &u32| Ok(look.edges[self.check(partition)?].end);
        partitions.iter().map(end).collect()
    }

    fn first_time_us(&mut self, partition: u32) -> Result<Option<i64>, SourceError> {
        let nth = self.check(partition)?;
        Ok(self.look()?.edges[nth].left.map(Id::time_us))
    }

    /// Nothing: what shows a stream's lag goes by consumer groups, and there is none.
    fn applied(&mut self, _places: &[(u32, u64)]) {}
}

impl Drop for RedisStreamSource {
    fn drop(&mut self) {
        self.lease.leave(&mut self.link);
    }
}

impl fmt::Debug for RedisStreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisStreamSource");
        let settings = &self.link.settings;
        shown.field("settings", settings).field("lease", &self.lease);
        shown.field("reading", &self.reading).finish_non_exhaustive()
    }
}
