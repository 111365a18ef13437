//! Checkpoints: what is written into every bucket when the appends that it speaks of are
//! acknowledged, one call a bucket.

use std::collections::BTreeMap;

use redis::Value;

use super::Inner;
use super::exchange::Order;
use super::look::marker_word;
use super::name::digest;
use super::script::Script;
use super::words::{BUCKETS, hex, mark};
use crate::StoreError;
use crate::store::{Batch, Space, Stand};

impl Inner {
    /// Writes down, in every bucket, how far it has everything.
    pub(super) async fn checkpoint(&self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let said = said(batch);
        let on_its_way = |bucket: &usize| self.router.moving(*bucket).is_some();
        let (held_back, buckets): (Vec<usize>, Vec<usize>) = (0..BUCKETS).partition(on_its_way);
        self.counts().withheld.add(held_back.len() as u64);
        let orders: Vec<Order> = buckets
            .iter()
            .map(|&bucket| self.checkpoint_order(bucket, batch.under.as_slice()[bucket], &said))
            .collect();
        let replies = self.router.exchange(orders, &self.writes(None, false)).await?;
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
