//! Where buckets stand: what a writer names, and the look that comes before an append on a new
//! connection or at a bucket that moved.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use super::Inner;
use super::exchange::{Gate, Order, Plan};
use super::link::Link;
use super::node::Lane;
use super::script::Script;
use super::words::{BUCKETS, Record, head, hex};
use crate::StoreError;
use crate::store::{Answer, Look, Marker, Meta, Space, Stand, Stands, random_u64};
use crate::survey::common;

/// After this long without a sign of its move, a bucket that did not arrive elsewhere is taken to
/// stay; every writer then looks again, since appends went to the other node meanwhile.
const MOVE_LIMIT: Duration = Duration::from_secs(5);

/// What this process knows of a bucket.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The connection on which it was looked at; 0 for none.
    generation: u64,
    record: Option<Record>,
}

pub(super) fn lock(standing: &Mutex<Standing>) -> MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Where a bucket stands, as far as looked.
    pub(super) fn record(&self, bucket: usize) -> Option<Record> {
        lock(&self.standings[bucket]).record.clone()
    }

    fn stand(&self, bucket: usize) -> Stand {
        let nowhere = Stand { epoch: 0, incarnation: 0 };
        self.record(bucket).map_or(nowhere, |record| record.stand())
    }

    /// The epoch in the names of keys.
    pub(super) fn name_epoch(&self, epoch: u64) -> u64 {
        if self.options().rules.epoch { epoch } else { 0 }
    }

    /// A plan for writes, with its own bound on all rounds.
    pub(super) fn writes<'a>(&self, gate: Option<&'a dyn Gate>, follow: bool) -> Plan<'a> {
        let within = self.options().write_timeout;
        Plan { lane: Lane::Writes, within, until: Instant::now() + 2 * within, follow, gate }
    }

    /// Looks at buckets: each gets a stand if it has none, and is adopted or begun anew if its
    /// server is another one. With `turn`, one that is the same gets another turn.
    pub(super) async fn look_at(
        &self,
        buckets: &[usize],
        turn: bool,
    ) -> Result<Vec<Record>, StoreError> {
        let orders: Vec<Order> =
            buckets.iter().map(|&bucket| self.look_order(bucket, turn)).collect();
        let replies = self.router.exchange(orders, &self.writes(None, false)).await?;
        let mut records = Vec::with_capacity(buckets.len());
        for (&bucket, reply) in buckets.iter().zip(replies) {
            if reply.asked {
                let detail = format!("bucket {bucket} is on its way to another node");
                return Err(StoreError::Unavailable { detail });
            }
            records.push(self.looked(bucket, reply.generation, &reply.value)?);
        }
        Ok(records)
    }

    fn look_order(&self, bucket: usize, turn: bool) -> Order {
        let mut look = Script::Look.call(1);
        look.arg(self.names.stand(bucket)).arg(head());
        look.arg(u8::from(self.router.is_cluster()));
        // 0 means none.
        look.arg(hex(random_u64().max(1)));
        look.arg(if turn { hex(random_u64()) } else { String::new() });
        look.arg(self.router.incarnations()).arg(u8::from(self.options().rules.seen));
        Order::script(bucket, Script::Look, look)
    }

    /// Takes note of what a look found.
    fn looked(&self, bucket: usize, generation: u64, value: &Value) -> Result<Record, StoreError> {
        let (what, text) = match value {
            Value::Array(parts) => match parts.as_slice() {
                [Value::BulkString(what), Value::BulkString(text)] => (what.as_slice(), text),
                _ => return Err(self.foreign(bucket)),
            },
            _ => return Err(self.foreign(bucket)),
        };
        let record = Record::parse(text).ok_or_else(|| self.foreign(bucket))?;
        match what {
            b"adopted" => self.counts().adopted.add(1),
            b"new" => self.counts().begun.add(1),
            _ => {}
        }
        let mut standing = lock(&self.standings[bucket]);
        let before = standing.record.replace(record.clone());
        standing.generation = generation;
        drop(standing);
        self.know_epoch(bucket, record.epoch);
        if before.is_some_and(|before| before.stand() != record.stand()) {
            // Times to live may have gone with what was lost, and the move is over.
            self.memo.clear();
            self.forget_spaces(|known| known.0 == bucket);
            self.router.arrived(bucket);
        }
        Ok(record)
    }

    /// The error of a bucket that this program did not write.
    pub(super) fn foreign(&self, bucket: usize) -> StoreError {
        StoreError::Unfit {
            place: self.names.stand(bucket),
            detail: format!("it is not of a store with {BUCKETS} buckets and this format"),
            remedy: "Name another prefix, or use the version of the program that wrote it.",
        }
    }

    /// Refuses unless each bucket stands where the writer says, looking where that is not sure.
    pub(super) async fn vet(&self, buckets: &[usize], under: &Stands) -> Result<(), StoreError> {
        if self.options().rules.who {
            let mut unsure = Vec::new();
            for &bucket in buckets {
                let link = self.router.link(bucket, Lane::Writes).await?;
                if lock(&self.standings[bucket]).generation != link.generation {
                    unsure.push(bucket);
                }
            }
            if !unsure.is_empty() {
                self.look_at(&unsure, false).await?;
            }
            self.end_moves(buckets).await?;
        }
        for &bucket in buckets {
            self.compare(bucket, under)?;
        }
        Ok(())
    }

    /// Buckets whose move is not heard of any more, and that are still where they were.
    async fn end_moves(&self, buckets: &[usize]) -> Result<(), StoreError> {
        let over = |bucket: &usize| {
            self.router.moving(*bucket).is_some_and(|seen| seen.elapsed() > MOVE_LIMIT)
        };
        let over: Vec<usize> = buckets.iter().copied().filter(over).collect();
        if !over.is_empty() {
            self.look_at(&over, true).await?;
        }
        Ok(())
    }

    fn compare(&self, bucket: usize, under: &Stands) -> Result<(), StoreError> {
        let found = self.stand(bucket);
        match under.as_slice().get(bucket) {
            Some(known) if *known == found => Ok(()),
            Some(known) => Err(StoreError::Rewound { known: *known, found }),
            None => under.check(&[found; BUCKETS]),
        }
    }

    /// Gives every bucket another turn, so that all other writers look again.
    pub(super) async fn fence(&self) -> Result<(), StoreError> {
        let all: Vec<usize> = (0..BUCKETS).collect();
        self.look_at(&all, true).await.map(drop)
    }

    /// Where a writer begins.
    pub(super) async fn look(&self, spaces: &[Space]) -> Result<Look, StoreError> {
        let all: Vec<usize> = (0..BUCKETS).collect();
        let records = self.look_at(&all, false).await?;
        let mut metas: Vec<Option<Meta>> = vec![None; spaces.len()];
        if !spaces.is_empty() {
            let there: Vec<Option<Record>> = records.iter().cloned().map(Some).collect();
            for view in self.view_spaces(&there, spaces).await? {
                for (all, one) in metas.iter_mut().zip(view) {
                    *all = Some(match all.take() {
                        None => one,
                        Some(all) => common(&all, &one),
                    });
                }
            }
        }
        let stands = Stands::new(records.iter().map(Record::stand).collect());
        Ok(Look { stands, metas: metas.into_iter().flatten().collect() })
    }
}

/// The rule `who` at the moment of sending, for buckets that moved meanwhile.
pub(super) struct Vetted<'a> {
    pub(super) inner: &'a Inner,
    pub(super) under: &'a Stands,
}

impl Gate for Vetted<'_> {
    fn pass<'a>(&'a self, bucket: usize, link: &'a Link) -> Answer<'a, ()> {
        Box::pin(async move {
            if !self.inner.options().rules.who {
                return Ok(());
            }
            let looked = |inner: &Inner| lock(&inner.standings[bucket]).generation;
            if looked(self.inner) != link.generation {
                self.inner.look_at(&[bucket], false).await?;
            }
            self.inner.compare(bucket, self.under)?;
            if looked(self.inner) == link.generation {
                return Ok(());
            }
            let detail = format!("bucket {bucket} has moved again");
            Err(StoreError::Unavailable { detail })
        })
    }
}

/// A marker as the script reads it.
pub(super) fn marker_word(marker: Marker) -> String {
    match marker {
        Marker::Begin(since_us) => format!("b{}", super::words::hex_us(since_us)),
        Marker::Set(since_us) => format!("s{}", super::words::hex_us(since_us)),
        Marker::Withdraw => "w".to_owned(),
    }
}
