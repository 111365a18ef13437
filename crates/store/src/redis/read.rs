//! Reads: one `MGET` a bucket sees stand, summaries and values at one moment.
//!
//! Names hold the epoch, so a read guesses it from the last one seen and reads again when the reply
//! has another. A bucket without a stand was never written, or was flushed: nothing is known of it,
//! and the reply says so with an epoch of 0 and no marker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use redis::{Value as Wire, cmd};

use super::Inner;
use super::exchange::{Order, Plan};
use super::memo::MemoKey;
use super::name::bucket_of;
use super::node::Lane;
use super::script::Script;
use super::value;
use super::words::{self, BUCKETS, Record};
use crate::StoreError;
use crate::store::{At, Detail, Meta, Read, Space, Stand};

/// Names may be those of an older epoch once: the reply tells the present one.
const GUESSES: usize = 3;

/// The keys of one bucket that are read.
struct Question {
    bucket: usize,
    epoch: u64,
    spaces: Vec<Space>,
    /// Numbers of the keys asked for.
    keys: Vec<usize>,
}

/// What a bucket answered.
struct View {
    record: Option<Record>,
    metas: Vec<Meta>,
    values: Vec<Option<crate::store::Value>>,
}

impl Inner {
    pub(super) async fn read(
        &self,
        keys: &[At<'_>],
        detail: Detail,
    ) -> Result<Vec<Read>, StoreError> {
        let mut reads: Vec<Option<Read>> = keys.iter().map(|_| None).collect();
        let mut questions = questions(keys);
        for _ in 0..GUESSES {
            for question in &mut questions {
                question.epoch = self.epoch(question.bucket);
            }
            let views = self.ask(&questions, keys, detail).await?;
            let mut again = Vec::new();
            for (question, view) in questions.into_iter().zip(views) {
                let epoch = view.record.as_ref().map_or(0, |record| record.epoch);
                // Without a stand nothing under any name counts.
                if epoch != question.epoch && epoch != 0 {
                    self.know_epoch(question.bucket, epoch);
                    again.push(question);
                } else {
                    fill(&mut reads, keys, &question, view);
                }
            }
            questions = again;
            if questions.is_empty() {
                return Ok(reads.into_iter().flatten().collect());
            }
        }
        let detail = format!("bucket {} is begun anew all the time", questions[0].bucket);
        Err(StoreError::Unavailable { detail })
    }

    /// Asks; once more when a connection broke, since a read changes nothing.
    async fn ask(
        &self,
        questions: &[Question],
        keys: &[At<'_>],
        detail: Detail,
    ) -> Result<Vec<View>, StoreError> {
        let orders =
            || questions.iter().map(|question| self.order(question, keys, detail)).collect();
        let within = self.options().read_timeout;
        let until = Instant::now() + within;
        let plan = Plan { lane: Lane::Reads, within, until, follow: true, gate: None };
        let replies = match self.router.exchange(orders(), &plan).await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < until => {
                self.router.exchange(orders(), &plan).await?
            }
            replies => replies?,
        };
        let views = questions.iter().zip(replies).map(|(question, reply)| {
            let mut view = self.view(question, reply.value, detail)?;
            if self.router.evicts(question.bucket) {
                // What is missing may have been taken away.
                view.metas.iter_mut().for_each(|meta| meta.complete_since_us = None);
            }
            if detail == Detail::Positions {
                self.learn(question, keys, &view);
            }
            Ok(view)
        });
        views.collect()
    }

    fn order(&self, question: &Question, keys: &[At<'_>], detail: Detail) -> Order {
        let (bucket, epoch) = (question.bucket, self.name_epoch(question.epoch));
        let summaries = question.spaces.iter().map(|&space| {
            (self.names.summary(bucket, epoch, space), self.names.marks(bucket, epoch, space))
        });
        let values = question.keys.iter().map(|&nth| self.names.value(bucket, epoch, keys[nth]));
        match detail {
            Detail::Summary => {
                let mut call = cmd("MGET");
                call.arg(self.names.stand(bucket));
                summaries.for_each(|(summary, _)| {
                    call.arg(summary);
                });
                values.for_each(|value| {
                    call.arg(value);
                });
                Order::new(bucket, call)
            }
            Detail::Positions => {
                let spaces = question.spaces.len();
                let mut call = Script::Read.call(1 + 2 * spaces + question.keys.len());
                call.arg(self.names.stand(bucket));
                summaries.for_each(|(summary, marks)| {
                    call.arg(summary).arg(marks);
                });
                values.for_each(|value| {
                    call.arg(value);
                });
                call.arg(spaces);
                Order::script(bucket, Script::Read, call)
            }
        }
    }

    fn view(&self, question: &Question, reply: Wire, detail: Detail) -> Result<View, StoreError> {
        let bucket = question.bucket;
        let Wire::Array(parts) = reply else { return Err(garbled(bucket)) };
        let marks = usize::from(detail == Detail::Positions);
        if parts.len() != 1 + (1 + marks) * question.spaces.len() + question.keys.len() {
            return Err(garbled(bucket));
        }
        let mut parts = parts.into_iter();
        let record = match parts.next() {
            Some(Wire::BulkString(text)) => {
                Some(Record::parse(&text).ok_or_else(|| self.foreign(bucket))?)
            }
            _ => None,
        };
        let mut metas = Vec::with_capacity(question.spaces.len());
        for _ in &question.spaces {
            let summary = parts.next().and_then(bytes).unwrap_or_default();
            let marks = if marks == 1 { parts.next() } else { None };
            metas.push(meta(record.as_ref(), &summary, marks));
        }
        let values = parts.map(|part| bytes(part).map(|bytes| value::parse(&bytes))).collect();
        Ok(View { record, metas, values })
    }

    /// Remembers how long bases are, for those who compact.
    fn learn(&self, question: &Question, keys: &[At<'_>], view: &View) {
        let (epoch, mut memo) = (self.name_epoch(question.epoch), self.memo.open());
        for (&nth, value) in question.keys.iter().zip(&view.values) {
            if let Some(value) = value {
                let head_len = u32::try_from(value::head_len(value.base())).unwrap_or(0);
                memo.learn(MemoKey::of(keys[nth], epoch), |known| known.head_len = head_len);
            }
        }
    }

    /// What every bucket knows of spaces; the buckets stand as recorded, and one without a stand
    /// knows nothing.
    pub(super) async fn view_spaces(
        &self,
        records: &[Option<Record>],
        spaces: &[Space],
    ) -> Result<Vec<Vec<Meta>>, StoreError> {
        let question = |(bucket, record): (usize, &Option<Record>)| {
            let epoch = record.as_ref()?.epoch;
            Some(Question { bucket, epoch, spaces: spaces.to_vec(), keys: Vec::new() })
        };
        let questions: Vec<Question> = records.iter().enumerate().filter_map(question).collect();
        let orders: Vec<Order> =
            questions.iter().map(|question| self.order(question, &[], Detail::Positions)).collect();
        let replies = self.router.exchange(orders, &self.writes(None, true)).await?;
        let mut views = vec![vec![Meta::default(); spaces.len()]; BUCKETS];
        for (question, reply) in questions.iter().zip(replies) {
            let view = self.view(question, reply.value, Detail::Positions)?;
            views[question.bucket] = match view.record {
                Some(record) if record.epoch == question.epoch => view.metas,
                _ => {
                    let detail = format!("bucket {} was begun anew meanwhile", question.bucket);
                    return Err(StoreError::Unavailable { detail });
                }
            };
        }
        Ok(views)
    }
}

/// Keys by bucket, and the spaces in each.
fn questions(keys: &[At<'_>]) -> Vec<Question> {
    let mut buckets: BTreeMap<usize, Question> = BTreeMap::new();
    for (nth, at) in keys.iter().enumerate() {
        let bucket = bucket_of(*at);
        let new = || Question { bucket, epoch: 0, spaces: Vec::new(), keys: Vec::new() };
        let question = buckets.entry(bucket).or_insert_with(new);
        question.keys.push(nth);
        if !question.spaces.contains(&at.space) {
            question.spaces.push(at.space);
        }
    }
    buckets.into_values().collect()
}

fn fill(reads: &mut [Option<Read>], keys: &[At<'_>], question: &Question, view: View) {
    let stand = match &view.record {
        Some(record) => record.stand(),
        None => Stand { epoch: 0, incarnation: 0 },
    };
    let metas: Vec<Arc<Meta>> = view.metas.into_iter().map(Arc::new).collect();
    for (&nth, value) in question.keys.iter().zip(view.values) {
        let space = question.spaces.iter().position(|space| *space == keys[nth].space);
        let meta = space.map_or_else(Arc::default, |space| Arc::clone(&metas[space]));
        let value = view.record.as_ref().and(value);
        reads[nth] = Some(Read { value, stand, meta });
    }
}

fn meta(record: Option<&Record>, summary: &[u8], marks: Option<Wire>) -> Meta {
    let Some(record) = record else { return Meta::default() };
    let (complete_since_us, fresh_us) = words::summary(summary);
    let meta = Meta {
        complete_since_us,
        fresh_us,
        began_us: Some(record.began_us),
        checkpoints: Vec::new(),
    };
    let Some(Wire::Array(marks)) = marks else { return meta };
    let mut checkpoints: Vec<_> = marks
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [Wire::BulkString(field), Wire::BulkString(held)] => words::checkpoint(field, held),
            _ => None,
        })
        .collect();
    checkpoints.sort_by_key(|checkpoint| (checkpoint.source, checkpoint.partition));
    meta.with_checkpoints(checkpoints)
}

fn bytes(part: Wire) -> Option<Vec<u8>> {
    match part {
        Wire::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn garbled(bucket: usize) -> StoreError {
    StoreError::Unavailable { detail: format!("the answer for bucket {bucket} has another form") }
}
