//! From what was found to what is told. Pure.

use super::{
    BucketsStatus, DefinitionsStatus, GroupStatus, Offsets, PartitionStatus, Role, ServerStatus,
    Status, StoreStatus, StreamStatus,
};
use crate::catalog::Catalog;
use crate::ingest::backfill::is_under_way;
use crate::ingest::gap;
use crate::ingest::source::{FIRST_LOG, LogEdges, PartitionInfo};
use crate::release::{CandidateTold, Kept};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trueup_sql::decode::print::Timestamp;
use trueup_store::{BucketState, Meta, NEVER_US, Space, Survey};

/// One set of definitions, as it was found.
pub(super) struct Set {
    pub(super) role: Role,
    pub(super) digest: String,
    pub(super) since_us: Option<i64>,
    pub(super) groups: Vec<Kept>,
    pub(super) catalog: Result<Arc<Catalog>, String>,
    /// Of a candidate.
    pub(super) told: Option<CandidateTold>,
}

/// What was found.
pub(super) struct Found {
    pub(super) now_us: i64,
    pub(super) url: String,
    max_staleness: Duration,
    pub(super) sets: Vec<Set>,
    pub(super) retired: Vec<Kept>,
    /// What the survey is of, in its order.
    pub(super) spaces: Vec<Space>,
    pub(super) survey: Option<Survey>,
    /// In the order in which they are told.
    streams: Vec<Stream>,
    /// By stream.
    pub(super) edges: BTreeMap<String, Result<LogEdges, String>>,
    pub(super) remarks: Vec<String>,
}

struct Stream {
    name: String,
    source: String,
    offsets: Offsets,
    dead_letters: Option<u64>,
}

impl Found {
    pub(super) fn new(url: String, max_staleness: Duration) -> Found {
        Found {
            now_us: 0,
            url,
            max_staleness,
            sets: Vec::new(),
            retired: Vec::new(),
            spaces: Vec::new(),
            survey: None,
            streams: Vec::new(),
            edges: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    pub(super) fn log(
        &mut self,
        name: &str,
        source: String,
        offsets: Offsets,
        dead_letters: Option<u64>,
    ) {
        self.streams.push(Stream { name: name.to_owned(), source, offsets, dead_letters });
    }

    /// What all buckets have of a space.
    fn common(&self, space: Space) -> Option<Meta> {
        let nth = self.spaces.binary_search(&space).ok()?;
        self.survey.as_ref().map(|survey| survey.common(nth))
    }

    /// What each bucket has of a space; nothing while the store cannot be reached.
    fn each(&self, space: Space) -> Option<Vec<&Meta>> {
        let nth = self.spaces.binary_search(&space).ok()?;
        let survey = self.survey.as_ref()?;
        Some(survey.buckets.iter().filter_map(|bucket| bucket.metas.get(nth)).collect())
    }

    /// How long ago an instant was.
    fn age_s(&self, instant_us: i64) -> f64 {
        self.now_us.saturating_sub(instant_us).max(0) as f64 / 1e6
    }

    /// The groups of a stream that are served, each with what all buckets have of it.
    fn served(&self, stream: &str) -> Option<Vec<(&str, Meta)>> {
        let served =
            self.sets.iter().find(|set| matches!(set.role, Role::Current | Role::Files))?;
        let catalog = served.catalog.as_ref().ok()?;
        let groups = catalog.stream(stream).map_or(&[][..], |part| &part.groups[..]);
        let meta = |&group: &usize| {
            Some((catalog.group(group).name.as_str(), self.common(catalog.space(group))?))
        };
        groups.iter().map(meta).collect()
    }
}

/// All of it.
pub(super) fn tell(found: &Found) -> Status {
    let mut troubles = Vec::new();
    let mut streams = Vec::with_capacity(found.streams.len());
    for stream in &found.streams {
        let (edges, trouble) = match found.edges.get(&stream.name) {
            Some(Ok(edges)) => (Some(edges), None),
            Some(Err(why)) => (None, Some(why.clone())),
            None => (None, None),
        };
        troubles.extend(trouble);
        streams.push(self::stream(found, stream, edges));
    }
    Status {
        at: Timestamp(found.now_us).to_string(),
        asked: None,
        store: store(found),
        definitions: found.sets.iter().map(|set| definitions(found, set)).collect(),
        retired: found.retired.iter().map(|group| group.name.clone()).collect(),
        streams,
        troubles,
        remarks: found.remarks.clone(),
    }
}

fn store(found: &Found) -> StoreStatus {
    let url = found.url.clone();
    let Some(survey) = &found.survey else {
        return StoreStatus { url, ..StoreStatus::default() };
    };
    let count = |state| survey.buckets.iter().filter(|bucket| bucket.state == state).count();
    let server = |(number, server): (usize, &trueup_store::Server)| ServerStatus {
        place: server.place.clone(),
        software: server.software.clone(),
        buckets: survey.buckets.iter().filter(|bucket| bucket.server == number).count(),
        used_bytes: server.used_bytes,
        limit_bytes: server.limit_bytes,
    };
    StoreStatus {
        url,
        shape: Some(survey.shape.to_owned()),
        servers: survey.servers.iter().enumerate().map(server).collect(),
        buckets: BucketsStatus {
            total: survey.buckets.len(),
            sound: count(BucketState::Sound),
            empty: count(BucketState::Empty),
            unseen: count(BucketState::Unseen),
            moving: count(BucketState::Moving),
        },
    }
}

fn definitions(found: &Found, set: &Set) -> DefinitionsStatus {
    let told = set.told.as_ref();
    let percent = |name: &str| {
        let group = told?.groups.iter().find(|group| group.name == name)?;
        group.percent
    };
    let group = |kept: &Kept| GroupStatus { percent: percent(&kept.name), ..group(found, kept) };
    DefinitionsStatus {
        role: set.role,
        digest: set.digest.clone(),
        since: set.since_us.map(|us| Timestamp(us).to_string()),
        trouble: set.catalog.as_ref().err().cloned(),
        waits: told.map(|told| told.waits.clone()).unwrap_or_default(),
        stuck: told.map(|told| told.stuck.clone()).unwrap_or_default(),
        groups: set.groups.iter().map(group).collect(),
    }
}

fn group(found: &Found, kept: &Kept) -> GroupStatus {
    let (group, digest) = (kept.name.clone(), kept.digest.clone());
    let told = GroupStatus { group, digest, ..GroupStatus::default() };
    let Some(space) = kept.space() else { return told };
    let (Some(common), Some(each)) = (found.common(space), found.each(space)) else { return told };
    let vouched = each.iter().filter(|meta| meta.complete_since_us.is_some()).count();
    let since_us = common.complete_since_us;
    let fresh_us = common.fresh_us.filter(|us| ![NEVER_US, i64::MAX].contains(us));
    GroupStatus {
        vouched: Some(vouched),
        behind: Some(behind(&each)),
        complete: since_us.is_some(),
        complete_since: since_us.filter(|&us| us != i64::MIN).map(|us| Timestamp(us).to_string()),
        fresh_at: fresh_us.map(|us| Timestamp(us).to_string()),
        fresh_seconds: fresh_us.map(|us| found.age_s(us)),
        backfill: each.iter().any(|meta| is_under_way(meta)),
        ..told
    }
}

/// How many buckets lack something of a log that another bucket has.
fn behind(each: &[&Meta]) -> usize {
    let mut furthest: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let all = each.iter().flat_map(|meta| &meta.checkpoints);
    for checkpoint in all.filter(|checkpoint| checkpoint.source >= FIRST_LOG) {
        let offset = furthest.entry((checkpoint.source, checkpoint.partition)).or_default();
        *offset = (*offset).max(checkpoint.offset);
    }
    let lacks = |meta: &&&Meta| {
        let has = |(&(source, partition), &offset): (&(u32, u32), &u64)| {
            meta.offset(source, partition).is_some_and(|own| own >= offset)
        };
        !furthest.iter().all(has)
    };
    each.iter().filter(lacks).count()
}

fn stream(found: &Found, stream: &Stream, edges: Option<&LogEdges>) -> StreamStatus {
    let served = found.served(&stream.name);
    let mut partitions = Vec::new();
    let mut gaps = Vec::new();
    if let Some((number, roster)) = edges {
        let metas = served.as_deref();
        let one = |info: &PartitionInfo| partition(found, (stream.offsets, *number), info, metas);
        partitions = roster.iter().map(one).collect();
        let begun = served.iter().flatten().filter(|(_, meta)| !is_under_way(meta));
        gaps = begun
            .filter_map(|(group, meta)| Some((group, gap(meta, *number, roster)?)))
            .map(|(group, why)| format!("group {group}: {why}"))
            .collect();
    }
    let known = served.as_ref().is_some_and(|served| !served.is_empty());
    let slowest = partitions
        .iter()
        .map(|it| it.lag_seconds)
        .try_fold(0.0, |most, lag| lag.map(|lag: f64| lag.max(most)));
    let lag_seconds = slowest.filter(|_| !partitions.is_empty());
    let late = lag_seconds.is_none_or(|lag| lag > found.max_staleness.as_secs_f64());
    StreamStatus {
        stream: stream.name.clone(),
        source: stream.source.clone(),
        offsets: stream.offsets,
        lag_events: edges.and_then(|_| lag_events(&partitions)),
        lag_seconds,
        stale: known && !partitions.is_empty() && late,
        came_per_second: None,
        applied_per_second: None,
        dead_letters: stream.dead_letters,
        gaps,
        partitions,
    }
}

/// Over all partitions; `None` if one does not say.
fn lag_events(partitions: &[PartitionStatus]) -> Option<u64> {
    let each: Option<Vec<u64>> = partitions.iter().map(|it| it.lag_events).collect();
    each.map(|each| each.into_iter().fold(0, u64::saturating_add))
}

fn partition(
    found: &Found,
    (offsets, source): (Offsets, u32),
    info: &PartitionInfo,
    served: Option<&[(&str, Meta)]>,
) -> PartitionStatus {
    let PartitionInfo { partition, first, end } = *info;
    let told = PartitionStatus { partition, first, end, ..PartitionStatus::default() };
    let Some(served) = served.filter(|served| !served.is_empty()) else { return told };
    // One that has heard nothing of a partition begins with what is left of it.
    let offset = |(_, meta): &(&str, Meta)| meta.offset(source, partition).unwrap_or(first);
    let applied = served.iter().map(offset).min().unwrap_or(first);
    let fresh_us = served.iter().map(|(_, meta)| {
        let own = |it: &&trueup_store::Checkpoint| (it.source, it.partition) == (source, partition);
        meta.checkpoints.iter().find(own).map(|it| it.fresh_us)
    });
    let watermark_us = fresh_us.min().flatten().filter(|us| ![NEVER_US, i64::MAX].contains(us));
    let lag = end.saturating_sub(applied);
    PartitionStatus {
        applied: Some(applied),
        lag_events: (offsets != Offsets::Times || lag == 0).then_some(lag),
        lag_seconds: watermark_us.map(|us| found.age_s(us)),
        watermark: watermark_us.map(|us| Timestamp(us).to_string()),
        ..told
    }
}
