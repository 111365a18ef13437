//! Appends.
//!
//! The records of one value in a batch are one `APPEND`. Its time to live is set with it when this
//! process does not remember having done so lately, or when the value turns out to be new: nearly
//! all appends are one command.
//! Checkpoints follow when every append of the batch is acknowledged (`checkpoint.rs`).

use std::io::Write;
use std::time::{Duration, Instant};

use redis::{Cmd, RedisWrite, Value, cmd};

use super::Inner;
use super::exchange::{Order, Reply};
use super::futures::join_all;
use super::gather::{Gathered, Touched};
use super::look::Vetted;
use super::memo::MemoKey;
use super::name::digest;
use super::value::HEADER_BYTES;
use super::words::BUCKETS;
use crate::StoreError;
use crate::store::{Batch, Grown, Space, check_appends};

/// A time to live is set again when this part of it may have passed: 7/8 are surely left.
const REFRESH_PART: u32 = 8;

/// Values whose commands are made in one go.
const PIECE: usize = 512;

/// The commands of a piece of a batch.
struct Commands {
    orders: Vec<Order>,
    /// For each command, the value of the piece that it appends to, if it does.
    appends_to: Vec<Option<usize>>,
    /// Values whose time to live is not set in this batch, though they have one.
    unrefreshed: Vec<(usize, Duration)>,
}

impl Commands {
    fn push(&mut self, order: Order, appends_to: Option<usize>) {
        self.orders.push(order);
        self.appends_to.push(appends_to);
    }
}

/// What the values of one space in one bucket have in common.
struct Shelf {
    bucket: usize,
    /// What their names begin with.
    prefix: Vec<u8>,
    expiry: Option<Duration>,
}

/// The shelves that a batch touches.
struct Shelves {
    spaces: Vec<Space>,
    /// By space, and in it by bucket.
    all: Vec<Option<Shelf>>,
}

impl Shelves {
    fn new() -> Self {
        Self { spaces: Vec::new(), all: Vec::new() }
    }

    /// The place of a shelf; a batch is of a few spaces.
    fn place(&mut self, value: &Touched<'_>) -> usize {
        let space = self.spaces.iter().position(|space| *space == value.at.space);
        let space = space.unwrap_or_else(|| {
            self.spaces.push(value.at.space);
            self.all.resize_with(self.spaces.len() * BUCKETS, || None);
            self.spaces.len() - 1
        });
        space * BUCKETS + value.placed.bucket
    }
}

impl Inner {
    pub(super) async fn append(&self, batch: &Batch<'_>) -> Result<Vec<Grown>, StoreError> {
        check_appends(batch.appends)?;
        let gathered = Gathered::of(batch.appends);
        let speaks = !batch.checkpoints.is_empty() || !batch.markers.is_empty();
        let mut touched = [speaks; BUCKETS];
        gathered.values.iter().for_each(|value| touched[value.placed.bucket] = true);
        let touched: Vec<usize> = (0..BUCKETS).filter(|&bucket| touched[bucket]).collect();
        self.vet(&touched, batch.under).await?;

        let epochs: Vec<u64> =
            batch.under.as_slice().iter().map(|stand| self.name_epoch(stand.epoch)).collect();
        let lengths = match self.apply(batch, &gathered, &epochs).await {
            Ok(lengths) => lengths,
            Err(error) => {
                // What was to be set may not have been.
                self.memo.clear();
                self.forget_spaces(|_| true);
                return Err(error);
            }
        };
        self.counts().appends.add(batch.appends.len() as u64);
        if speaks {
            self.checkpoint(batch).await?;
        }
        Ok(self.grown(&gathered, &epochs, &lengths))
    }

    /// Sends the appends, and what their replies call for. Gives the length of each value.
    ///
    /// The commands of many values are made in pieces, so that the server works on the first while
    /// the next are being made. All of a value are in one piece, and so in their order.
    async fn apply(
        &self,
        batch: &Batch<'_>,
        gathered: &Gathered<'_>,
        epochs: &[u64],
    ) -> Result<Vec<usize>, StoreError> {
        let pieces = gathered.values.chunks(PIECE);
        let pieces: Vec<_> =
            pieces.map(|values| self.apply_piece(batch, (gathered, values), epochs)).collect();
        let lengths: Result<Vec<Vec<usize>>, _> = join_all(pieces).await.into_iter().collect();
        Ok(lengths?.concat())
    }

    async fn apply_piece(
        &self,
        batch: &Batch<'_>,
        (gathered, values): (&Gathered<'_>, &[Touched<'_>]),
        epochs: &[u64],
    ) -> Result<Vec<usize>, StoreError> {
        let Commands { orders, appends_to, unrefreshed } =
            self.commands(batch, (gathered, values), epochs);
        let vetted = Vetted { inner: self, under: batch.under };
        let replies = self.router.exchange(orders, &self.writes(Some(&vetted), true)).await?;
        let mut lengths = vec![0; values.len()];
        for (appends_to, reply) in appends_to.iter().zip(&replies) {
            // The last of a value stands.
            if let Some(nth) = appends_to {
                lengths[*nth] = length(reply)?;
            }
        }
        // A value that is as long as its records has just been made: somebody removed the old one.
        let new = unrefreshed.iter().filter(|(nth, _)| lengths[*nth] == values[*nth].bytes);
        let refreshes: Vec<Order> = new
            .map(|&(nth, expiry)| {
                let Touched { at, placed, .. } = values[nth];
                let prefix = self.names.values(placed.bucket, epochs[placed.bucket], at.space);
                refresh(placed.bucket, &prefix, at.key, expiry)
            })
            .collect();
        self.counts().refreshes.add(refreshes.len() as u64);
        self.router.exchange(refreshes, &self.writes(Some(&vetted), true)).await?;
        Ok(lengths)
    }

    fn commands(
        &self,
        batch: &Batch<'_>,
        (gathered, values): (&Gathered<'_>, &[Touched<'_>]),
        epochs: &[u64],
    ) -> Commands {
        let now = Instant::now();
        let mut shelves = Shelves::new();
        let mut commands = Commands {
            orders: Vec::with_capacity(values.len()),
            appends_to: Vec::with_capacity(values.len()),
            unrefreshed: Vec::new(),
        };
        let mut memo = self.memo.open();
        for (nth, value) in values.iter().enumerate() {
            let (bucket, key) = (value.placed.bucket, value.at.key);
            let epoch = epochs[bucket];
            let place = shelves.place(value);
            let shelf = match &mut shelves.all[place] {
                Some(shelf) => shelf,
                none => {
                    let space = value.at.space;
                    if let Some(entry) = self.registration(bucket, epoch, space) {
                        commands.push(entry, None);
                    }
                    let prefix = self.names.values(bucket, epoch, space);
                    none.insert(Shelf { bucket, prefix, expiry: expiry_of(batch.expiry, space) })
                }
            };
            for records in gathered.commands(value) {
                commands.push(append(shelf, key, records), Some(nth));
            }
            let Some(expiry) = shelf.expiry else { continue };
            let name = MemoKey::placed(value.placed, epoch);
            let refreshed = memo.known(name).refreshed;
            if refreshed.is_some_and(|then| now.duration_since(then) < expiry / REFRESH_PART) {
                commands.unrefreshed.push((nth, expiry));
            } else {
                memo.learn(name, |known| known.refreshed = Some(now));
                commands.push(refresh(bucket, &shelf.prefix, key, expiry), None);
                self.counts().refreshes.add(1);
            }
        }
        commands
    }

    /// The entry in the set of spaces, where this process has not made it yet.
    fn registration(&self, bucket: usize, epoch: u64, space: Space) -> Option<Order> {
        self.know_space((bucket, epoch, space)).then(|| {
            let mut entry = cmd("SADD");
            entry.arg(self.names.spaces(bucket, epoch)).arg(digest(space));
            Order::new(bucket, entry)
        })
    }

    /// The lengths after the whole batch, by record.
    fn grown(&self, gathered: &Gathered<'_>, epochs: &[u64], lengths: &[usize]) -> Vec<Grown> {
        let memo = self.memo.open();
        let of_value = |(value, &len): (&Touched<'_>, &usize)| {
            let name = MemoKey::placed(value.placed, epochs[value.placed.bucket]);
            let head_len = memo.known(name).head_len as usize;
            // Another base, or none, is there than is remembered.
            let head_len = if head_len > len { 0 } else { head_len };
            let base_len = head_len.saturating_sub(HEADER_BYTES);
            Grown { base_len, tail_len: len - head_len }
        };
        let grown: Vec<Grown> = gathered.values.iter().zip(lengths).map(of_value).collect();
        gathered.by_record(&grown)
    }
}

fn append(shelf: &Shelf, key: &[u8], records: &[&[u8]]) -> Order {
    const VERB: &str = "APPEND";
    let bytes: usize = records.iter().map(|record| record.len()).sum();
    let mut command = Cmd::with_capacity(3, VERB.len() + shelf.prefix.len() + key.len() + bytes);
    command.arg(VERB);
    joined(&mut command, &[&shelf.prefix, key]);
    joined(&mut command, records);
    Order::new(shelf.bucket, command)
}

fn refresh(bucket: usize, prefix: &[u8], key: &[u8], expiry: Duration) -> Order {
    let mut command = cmd("PEXPIRE");
    joined(&mut command, &[prefix, key]);
    command.arg(millis(expiry));
    Order::new(bucket, command)
}

/// One argument from its parts.
fn joined(command: &mut Cmd, parts: &[&[u8]]) {
    let mut argument = command.writer_for_next_arg();
    for part in parts {
        // A command grows in memory, which does not fail.
        drop(argument.write_all(part));
    }
}

pub(super) fn expiry_of(expiry: &[(Space, Duration)], space: Space) -> Option<Duration> {
    expiry.iter().rev().find(|(of, _)| *of == space).map(|(_, expiry)| *expiry)
}

/// A time to live as the server takes it: 0 would end it at once.
pub(super) fn millis(expiry: Duration) -> u64 {
    u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX >> 1).max(1)
}

fn length(reply: &Reply) -> Result<usize, StoreError> {
    match &reply.value {
        Value::Int(len) => Ok(usize::try_from(*len).unwrap_or(0)),
        _ => Err(StoreError::Unavailable { detail: "an append was not answered".to_owned() }),
    }
}
