//! Appends, and the checkpoints that speak of them.
//!
//! A record is one `APPEND`. Its time to live is set with it when this process does not remember
//! having done so lately, or when the value turns out to be new: nearly all appends are one
//! command.
//! Checkpoints follow when every append of the batch is acknowledged, one call a bucket.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use super::Inner;
use super::exchange::{Order, Reply};
use super::look::{Vetted, marker_word};
use super::name::{bucket_of, digest};
use super::script::Script;
use super::words::{BUCKETS, hex, mark};
use crate::StoreError;
use crate::store::{Batch, Grown, Space, Stand, check_batch};

/// A time to live is set again when this part of it may have passed: 7/8 are surely left.
const REFRESH_PART: u32 = 8;

/// What a command of a batch is for.
#[derive(Clone, Copy)]
enum Purpose {
    Record(usize),
    Other,
}

/// The commands of a batch.
struct Commands {
    orders: Vec<Order>,
    purposes: Vec<Purpose>,
    /// One a record.
    names: Vec<Vec<u8>>,
    /// Records whose value's time to live is not set in this batch, though it has one.
    unrefreshed: Vec<(usize, Duration)>,
}

impl Inner {
    pub(super) async fn append(&self, batch: &Batch<'_>) -> Result<Vec<Grown>, StoreError> {
        check_batch(batch)?;
        let buckets: Vec<usize> = batch.appends.iter().map(|append| bucket_of(append.at)).collect();
        let speaks = !batch.checkpoints.is_empty() || !batch.markers.is_empty();
        let touched: BTreeSet<usize> =
            if speaks { (0..BUCKETS).collect() } else { buckets.iter().copied().collect() };
        let touched: Vec<usize> = touched.into_iter().collect();
        self.vet(&touched, batch.under).await?;

        let commands = self.commands(batch, &buckets);
        let lengths = match self.apply(batch, &buckets, &commands).await {
            Ok(lengths) => lengths,
            Err(error) => {
                // What was to be set may not have been.
                self.memo.clear();
                return Err(error);
            }
        };
        self.counts().appends.add(lengths.len() as u64);
        if speaks {
            self.checkpoint(batch).await?;
        }
        Ok(self.grown(&commands.names, &lengths))
    }

    fn commands(&self, batch: &Batch<'_>, buckets: &[usize]) -> Commands {
        let now = Instant::now();
        let stands = batch.under.as_slice();
        let epochs: Vec<u64> = stands.iter().map(|stand| self.name_epoch(stand.epoch)).collect();
        let mut commands = Commands {
            orders: self.registrations(batch, buckets, &epochs),
            purposes: Vec::new(),
            names: Vec::with_capacity(batch.appends.len()),
            unrefreshed: Vec::new(),
        };
        commands.purposes = vec![Purpose::Other; commands.orders.len()];
        for (nth, (append, &bucket)) in batch.appends.iter().zip(buckets).enumerate() {
            let name = self.names.value(bucket, epochs[bucket], append.at);
            let mut command = cmd("APPEND");
            command.arg(&name).arg(append.record);
            commands.orders.push(Order::new(bucket, command));
            commands.purposes.push(Purpose::Record(nth));
            if let Some(expiry) = expiry_of(batch, append.at.space) {
                let refreshed = self.memo.known(&name).refreshed;
                if refreshed.is_some_and(|then| now.duration_since(then) < expiry / REFRESH_PART) {
                    commands.unrefreshed.push((nth, expiry));
                } else {
                    self.memo.learn(&name, |known| known.refreshed = Some(now));
                    commands.orders.push(refresh(bucket, &name, expiry));
                    commands.purposes.push(Purpose::Other);
                    self.counts().refreshes.add(1);
                }
            }
            commands.names.push(name);
        }
        commands
    }

    /// Entries in the sets of spaces, where this process has not made them yet.
    fn registrations(&self, batch: &Batch<'_>, buckets: &[usize], epochs: &[u64]) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut last = None;
        for (append, &bucket) in batch.appends.iter().zip(buckets) {
            let known = (bucket, epochs[bucket], append.at.space);
            // Neighbours are mostly of one space.
            if last != Some(known) && self.know_space(known) {
                let mut entry = cmd("SADD");
                entry.arg(self.names.spaces(bucket, epochs[bucket])).arg(digest(append.at.space));
                orders.push(Order::new(bucket, entry));
            }
            last = Some(known);
        }
        orders
    }

    /// Sends the appends, and what their replies call for. Gives the length of each value.
    async fn apply(
        &self,
        batch: &Batch<'_>,
        buckets: &[usize],
        commands: &Commands,
    ) -> Result<Vec<usize>, StoreError> {
        let vetted = Vetted { inner: self, under: batch.under };
        let sent = self.router.exchange(&commands.orders, &self.writes(Some(&vetted), true)).await;
        let replies = match sent {
            Ok(replies) => replies,
            Err(error) => {
                self.forget_spaces(|_| true);
                return Err(error);
            }
        };
        let mut lengths = vec![0; batch.appends.len()];
        for (purpose, reply) in commands.purposes.iter().zip(&replies) {
            if let Purpose::Record(nth) = purpose {
                lengths[*nth] = length(reply)?;
            }
        }
        // A value that is as long as its record has just been made: somebody removed the old one.
        let new = commands
            .unrefreshed
            .iter()
            .filter(|(nth, _)| lengths[*nth] == batch.appends[*nth].record.len());
        let refreshes: Vec<Order> =
            new.map(|&(nth, expiry)| refresh(buckets[nth], &commands.names[nth], expiry)).collect();
        self.counts().refreshes.add(refreshes.len() as u64);
        self.router.exchange(&refreshes, &self.writes(Some(&vetted), true)).await?;
        Ok(lengths)
    }

    /// The lengths after the whole batch: those that the last append of each value reported.
    fn grown(&self, names: &[Vec<u8>], lengths: &[usize]) -> Vec<Grown> {
        let last: HashMap<&[u8], usize> =
            names.iter().map(Vec::as_slice).zip(lengths.iter().copied()).collect();
        let grown = names.iter().map(|name| {
            let (len, head_len) = (last[name.as_slice()], self.memo.known(name).head_len as usize);
            let head_len = if head_len > len { 0 } else { head_len };
            let base_len = head_len.saturating_sub(super::value::HEADER_BYTES);
            Grown { base_len, tail_len: len - head_len }
        });
        grown.collect()
    }

    /// Writes down, in every bucket, how far it has everything.
    async fn checkpoint(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let said = said(batch);
        let on_its_way = |bucket: &usize| self.router.moving(*bucket).is_some();
        let (held_back, buckets): (Vec<usize>, Vec<usize>) = (0..BUCKETS).partition(on_its_way);
        self.counts().withheld.add(held_back.len() as u64);
        let orders: Vec<Order> = buckets
            .iter()
            .map(|&bucket| self.checkpoint_order(bucket, batch.under.as_slice()[bucket], &said))
            .collect();
        let replies = self.router.exchange(&orders, &self.writes(None, false)).await?;
        let mut refused = Vec::new();
        for (&bucket, reply) in buckets.iter().zip(&replies) {
            match (&reply.value, reply.asked) {
                (_, true) => self.counts().withheld.add(1),
                (Value::Array(parts), _) if parts.first() == Some(&Value::Int(1)) => {
                    self.counts().checkpoints.add(1);
                }
                _ => refused.push(bucket),
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        self.counts().refused.add(refused.len() as u64);
        self.look_at(&refused, false).await?;
        self.vet(&refused, batch.under).await?;
        let detail = format!("bucket {} refused a checkpoint", refused[0]);
        Err(StoreError::Unavailable { detail })
    }

    fn checkpoint_order(&self, bucket: usize, under: Stand, said: &Said) -> Order {
        let epoch = self.name_epoch(under.epoch);
        let mut call = Script::Checkpoint.call(2 + 2 * said.spaces.len());
        call.arg(self.names.stand(bucket)).arg(self.names.spaces(bucket, epoch));
        for &space in &said.spaces {
            call.arg(self.names.summary(bucket, epoch, space));
            call.arg(self.names.marks(bucket, epoch, space));
        }
        // The stand that was looked at has the incarnation and the turn apart.
        let record = self.record(bucket);
        let turn = record.map_or(0, |record| record.turn);
        call.arg(hex(under.epoch)).arg(hex(under.incarnation ^ turn)).arg(hex(turn));
        let incarnations = self.router.incarnations();
        call.arg(if incarnations.is_empty() { "-".to_owned() } else { incarnations });
        let rules = self.options().rules;
        call.arg(format!(
            "{}{}",
            if rules.epoch { "e" } else { "" },
            if rules.inc { "i" } else { "" }
        ));
        for word in &said.words {
            call.arg(word);
        }
        Order::script(bucket, Script::Checkpoint, call)
    }
}

/// What a batch says of spaces, as the script reads it; the same for every bucket.
struct Said {
    spaces: Vec<Space>,
    words: Vec<String>,
}

fn said(batch: &Batch<'_>) -> Said {
    let mut by_space: BTreeMap<Space, (Vec<String>, Vec<[String; 3]>)> = BTreeMap::new();
    for (space, marker) in batch.markers {
        by_space.entry(*space).or_default().0.push(marker_word(*marker));
    }
    for (space, checkpoint) in batch.checkpoints {
        by_space.entry(*space).or_default().1.push(mark(checkpoint));
    }
    let mut said = Said { spaces: Vec::new(), words: Vec::new() };
    for (space, (markers, marks)) in by_space {
        said.spaces.push(space);
        said.words.push(digest(space));
        said.words.push(markers.len().to_string());
        said.words.extend(markers);
        said.words.push(marks.len().to_string());
        said.words.extend(marks.into_iter().flatten());
    }
    said
}

fn expiry_of(batch: &Batch<'_>, space: Space) -> Option<Duration> {
    batch.expiry.iter().rev().find(|(of, _)| *of == space).map(|(_, expiry)| *expiry)
}

fn refresh(bucket: usize, name: &[u8], expiry: Duration) -> Order {
    let mut command = cmd("PEXPIRE");
    command.arg(name).arg(u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX >> 1).max(1));
    Order::new(bucket, command)
}

fn length(reply: &Reply) -> Result<usize, StoreError> {
    match &reply.value {
        Value::Int(len) => Ok(usize::try_from(*len).unwrap_or(0)),
        _ => Err(StoreError::Unavailable { detail: "an append was not answered".to_owned() }),
    }
}
