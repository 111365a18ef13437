//! Reads: one `MGET` a bucket sees stand, summaries and values at one moment.
//!
//! Names hold the epoch, so a read guesses it from the last one seen and reads again when the reply
//! has another. A bucket without a stand was never written, or was flushed: nothing is known of it,
//! and the reply says so with an epoch of 0 and no marker.
//!
//! Where early copies are to be put behind values, a script does that in the same moment
//! (`record.rs`).

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
use crate::store::{Append, At, Detail, Early, Meta, Read, Recorded, Space, Stand, check_appends};

/// Names may be those of an older epoch once: the reply tells the present one.
const GUESSES: usize = 3;

/// The keys of one bucket that are read, and its early copies.
pub(super) struct Question {
    pub(super) bucket: usize,
    pub(super) epoch: u64,
    pub(super) spaces: Vec<Space>,
    /// Numbers of the keys asked for.
    pub(super) keys: Vec<usize>,
    /// Numbers of the early copies.
    pub(super) copies: Vec<usize>,
}

/// What a bucket answered.
struct View {
    record: Option<Record>,
    metas: Vec<Meta>,
    values: Vec<Option<crate::store::Value>>,
    /// For each early copy, whether it is there.
    appended: Vec<bool>,
}

impl Inner {
    pub(super) async fn read(
        &self,
        keys: &[At<'_>],
        detail: Detail,
    ) -> Result<Vec<Read>, StoreError> {
        Ok(self.record_early(keys, &Early::NONE, detail).await?.reads)
    }

    pub(super) async fn record_early(
        &self,
        keys: &[At<'_>],
        early: &Early<'_>,
        detail: Detail,
    ) -> Result<Recorded, StoreError> {
        check_appends(early.appends)?;
        let mut reads: Vec<Option<Read>> = keys.iter().map(|_| None).collect();
        let mut appended = vec![false; early.appends.len()];
        let mut questions = questions(keys, early.appends);
        for _ in 0..GUESSES {
            for question in &mut questions {
                question.epoch = self.epoch(question.bucket);
            }
            let views = self.ask(&questions, keys, early, detail).await?;
            let mut again = Vec::new();
            for (question, view) in questions.into_iter().zip(views) {
                let epoch = view.record.as_ref().map_or(0, |record| record.epoch);
                // Without a stand nothing under any name counts.
                if epoch != question.epoch && epoch != 0 {
                    self.know_epoch(question.bucket, epoch);
                    again.push(question);
                } else {
                    for (&nth, done) in question.copies.iter().zip(&view.appended) {
                        appended[nth] = *done;
                    }
                    fill(&mut reads, keys, &question, view);
                }
            }
            questions = again;
            if questions.is_empty() {
                self.counts().early.add(appended.iter().filter(|done| **done).count() as u64);
                return Ok(Recorded { reads: reads.into_iter().flatten().collect(), appended });
            }
        }
        let detail = format!("bucket {} is begun anew all the time", questions[0].bucket);
        Err(StoreError::Unavailable { detail })
    }

    /// Asks; once more when a connection broke, since a read changes nothing, and a copy that is
    /// there twice counts once.
    async fn ask(
        &self,
        questions: &[Question],
        keys: &[At<'_>],
        early: &Early<'_>,
        detail: Detail,
    ) -> Result<Vec<View>, StoreError> {
        let order = |question: &Question| match question.copies.is_empty() {
            true => self.order(question, keys, detail),
            false => self.record_order(question, keys, early, detail),
        };
        let orders = || questions.iter().map(order).collect();
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
        let names = &self.names;
        let spaces = question.spaces.iter();
        let values = question.keys.iter().map(|&nth| names.value(bucket, epoch, keys[nth]));
        match detail {
            Detail::Summary => {
                let mut call = cmd("MGET");
                call.arg(names.stand(bucket));
                spaces.for_each(|&space| {
                    call.arg(names.summary(bucket, epoch, space));
                });
                values.for_each(|value| {
                    call.arg(value);
                });
                Order::new(bucket, call)
            }
            Detail::Positions => {
                let mut call = Script::Read.call(1 + 2 * spaces.len() + question.keys.len());
                call.arg(names.stand(bucket));
                spaces.for_each(|&space| {
                    call.arg(names.summary(bucket, epoch, space));
                    call.arg(names.marks(bucket, epoch, space));
                });
                values.for_each(|value| {
                    call.arg(value);
                });
                call.arg(question.spaces.len());
                Order::script(bucket, Script::Read, call)
            }
        }
    }

    fn view(&self, question: &Question, reply: Wire, detail: Detail) -> Result<View, StoreError> {
        let bucket = question.bucket;
        let Wire::Array(parts) = reply else { return Err(garbled(bucket)) };
        let marks = usize::from(detail == Detail::Positions);
        let asked = question.keys.len() + question.copies.len();
        if parts.len() != 1 + (1 + marks) * question.spaces.len() + asked {
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
        let values = parts.by_ref().take(question.keys.len());
        let values = values.map(|part| bytes(part).map(value::parse)).collect();
        let appended = parts.map(|part| part == Wire::Int(1)).collect();
        Ok(View { record, metas, values, appended })
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
            let spaces = spaces.to_vec();
            Some(Question { bucket, epoch, spaces, keys: Vec::new(), copies: Vec::new() })
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

/// Keys and early copies by bucket, and the spaces in each.
fn questions(keys: &[At<'_>], copies: &[Append<'_>]) -> Vec<Question> {
    let mut buckets: BTreeMap<usize, Question> = BTreeMap::new();
    let mut put = |at: &At<'_>, put: &dyn Fn(&mut Question)| {
        let bucket = bucket_of(*at);
        let (spaces, keys, copies) = Default::default();
        let new = || Question { bucket, epoch: 0, spaces, keys, copies };
        let question = buckets.entry(bucket).or_insert_with(new);
        put(question);
        if !question.spaces.contains(&at.space) {
            question.spaces.push(at.space);
        }
    };
    for (nth, at) in keys.iter().enumerate() {
        put(at, &|question| question.keys.push(nth));
    }
    for (nth, copy) in copies.iter().enumerate() {
        put(&copy.at, &|question| question.copies.push(nth));
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
