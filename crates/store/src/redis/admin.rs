//! For operators: what spaces and keys there are, and the end of a space. These walk all keys with
//! `SCAN`, so they are right rather than quick, and a walk is not one moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::{Cmd, Pipeline, Value, cmd, from_redis_value};

use super::Inner;
use super::exchange::{Order, Reply};
use super::link::down;
use super::name::{digest, parse_digest};
use super::node::{Lane, Node};
use super::words::{BUCKETS, Record};
use crate::StoreError;
use crate::store::{Space, Stats};

/// Keys that a server looks at in one step of a walk: well below a millisecond of its time.
const SCAN_COUNT: usize = 1000;

impl Inner {
    /// The stands of all buckets, without making any.
    pub(super) async fn records(&self) -> Result<Vec<Option<Record>>, StoreError> {
        let stand = |bucket| {
            let mut get = cmd("GET");
            get.arg(self.names.stand(bucket));
            Order::new(bucket, get)
        };
        let replies = self.all((0..BUCKETS).map(stand).collect()).await?;
        let records = replies.into_iter().enumerate().map(|(bucket, reply)| match reply.value {
            Value::BulkString(text) => {
                Record::parse(&text).map(Some).ok_or_else(|| self.foreign(bucket))
            }
            _ => Ok(None),
        });
        records.collect()
    }

    async fn all(&self, orders: Vec<Order>) -> Result<Vec<Reply>, StoreError> {
        self.router.exchange(orders, &self.writes(None, true)).await
    }

    pub(super) async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        let records = self.records().await?;
        let members = records.iter().enumerate().filter_map(|(bucket, record)| {
            let epoch = self.name_epoch(record.as_ref()?.epoch);
            let mut members = cmd("SMEMBERS");
            members.arg(self.names.spaces(bucket, epoch));
            Some(Order::new(bucket, members))
        });
        let mut spaces = BTreeSet::new();
        for reply in self.all(members.collect()).await? {
            let members: Vec<Vec<u8>> = from_redis_value(reply.value).unwrap_or_default();
            spaces.extend(members.iter().filter_map(|member| parse_digest(member)));
        }
        Ok(spaces.into_iter().collect())
    }

    pub(super) async fn keys(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let records = self.records().await?;
        let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
        self.walk(Some(space), |name| {
            let Some((bucket, epoch, key)) = self.names.parse(name) else { return };
            if self.is_present(&records, bucket, epoch) && after.is_none_or(|after| key > after) {
                keys.insert(key.to_vec());
                if keys.len() > limit {
                    keys.pop_last();
                }
            }
        })
        .await?;
        Ok(keys.into_iter().collect())
    }

    pub(super) async fn stats(&self) -> Result<Stats, StoreError> {
        let records = self.records().await?;
        let mut keys = 0;
        self.walk(None, |name| {
            let place = self.names.parse(name);
            keys += u64::from(
                place.is_some_and(|(bucket, epoch, _)| self.is_present(&records, bucket, epoch)),
            );
        })
        .await?;
        Ok(Stats { keys, disk_bytes: 0 })
    }

    fn is_present(&self, records: &[Option<Record>], bucket: usize, epoch: u64) -> bool {
        let record = records.get(bucket).and_then(Option::as_ref);
        record.is_some_and(|record| self.name_epoch(record.epoch) == epoch)
    }

    /// The summaries go first, so that nobody takes a missing key for an empty one, and the marks
    /// last: who finds them knows that the end of this space has begun.
    pub(super) async fn drop_space(&self, space: Space) -> Result<(), StoreError> {
        let records = self.records().await?;
        let there = records
            .iter()
            .enumerate()
            .filter_map(|(bucket, record)| Some((bucket, self.name_epoch(record.as_ref()?.epoch))));
        let there: Vec<(usize, u64)> = there.collect();
        let hide = there.iter().map(|&(bucket, epoch)| {
            let mut hide = cmd("DEL");
            hide.arg(self.names.summary(bucket, epoch, space));
            Order::new(bucket, hide)
        });
        self.all(hide.collect()).await?;
        let mut names = Vec::new();
        self.walk(Some(space), |name| names.push(name.to_vec())).await?;
        for names in names.chunks(SCAN_COUNT) {
            let unlink = |name: &Vec<u8>| {
                let (bucket, ..) = self.names.parse(name)?;
                let mut unlink = cmd("UNLINK");
                unlink.arg(name);
                (bucket < BUCKETS).then(|| Order::new(bucket, unlink))
            };
            self.all(names.iter().filter_map(unlink).collect()).await?;
        }
        let forget = there.iter().flat_map(|&(bucket, epoch)| {
            let mut forget = cmd("DEL");
            forget.arg(self.names.marks(bucket, epoch, space));
            let mut strike = cmd("SREM");
            strike.arg(self.names.spaces(bucket, epoch)).arg(digest(space));
            [forget, strike].map(|command| Order::new(bucket, command))
        });
        self.all(forget.collect()).await?;
        self.forget_spaces(|known| known.2 == space);
        self.memo.clear();
        Ok(())
    }

    /// Shows every value's name on every primary; one that moves meanwhile may come twice.
    async fn walk(
        &self,
        space: Option<Space>,
        mut show: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        // Whoever owns a bucket is found by this, if nobody was yet.
        self.router.link(0, Lane::Writes).await?;
        for node in self.router.primaries() {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(self.names.pattern(space));
                scan.arg("COUNT").arg(SCAN_COUNT);
                let value = self.on(&node, scan).await?;
                let (next, names): (String, Vec<Vec<u8>>) =
                    from_redis_value(value).map_err(|error| down(&node.place, error))?;
                names.iter().for_each(|name| show(name));
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// One command to one node.
    pub(super) async fn on(&self, node: &Arc<Node>, command: Cmd) -> Result<Value, StoreError> {
        let link = node.link(Lane::Writes, &self.router.dial).await?;
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let within = self.options().write_timeout;
        let mut values = link.send(&pipeline, within, self.counts()).await?;
        match values.pop() {
            Some(Value::ServerError(error)) => {
                Err(down(&node.place, format!("it answers {}", error.code())))
            }
            value => Ok(value.unwrap_or(Value::Nil)),
        }
    }
}
