//! The workers of one process: for each set of definitions a lane, which keeps the groups that no
//! older one has.
//!
//! ```text
//!   a (oldest)   users, cards              reads the streams under the settings' own group name
//!   b            merchants                 reads them again, under a name of its own
//! ```
//!
//! Each lane decodes by its own definitions and has its own place in the log, so a group that is
//! being hydrated never holds up those in service. That costs one more reading of the log for as
//! long as there are definitions with groups of their own. When the oldest go, the next become the
//! first lane and take their groups over from the checkpoints. Two processes may think differently
//! for a while: a group that two lanes keep is kept twice, which the store cannot tell from once.

use super::channels::Channels;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ingest::{IngestError, NewBeginning, Progress, Worker, WorkerOptions};
use crate::release::{Note, Release};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use trueup_store::{Log, Space, Store};

/// How long a lane that failed, and that nobody is served from, rests.
const REST: Duration = Duration::from_secs(10);

/// Hex digits of a digest in the name of a lane's readers.
const NAME_HEX: usize = 8;

/// Usable definitions, by digest.
pub(super) type Catalogs = BTreeMap<String, Arc<Catalog>>;

/// What a lane is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// Of the release.
    pub(super) serial: u64,
    pub(super) digest: String,
    /// Whether it is the oldest: then it reads all streams of its definitions, under the settings'
    /// own name.
    first: bool,
    groups: BTreeSet<Space>,
}

/// What lanes there are to be.
pub(super) fn layout(note: &Note, catalogs: &Catalogs) -> Vec<Spec> {
    let mut releases: Vec<&Release> =
        note.releases().filter(|release| catalogs.contains_key(&release.digest)).collect();
    releases.sort_by_key(|release| release.serial);
    let mut kept: BTreeSet<Space> = BTreeSet::new();
    let mut specs = Vec::with_capacity(releases.len());
    for release in releases {
        let free = release.groups.iter().filter(|group| !note.is_retired(&group.digest));
        let groups: BTreeSet<Space> =
            free.filter_map(|group| group.space()).filter(|space| !kept.contains(space)).collect();
        kept.extend(&groups);
        let (serial, digest) = (release.serial, release.digest.clone());
        specs.push(Spec { serial, digest, first: specs.is_empty(), groups });
    }
    specs
}

/// What lanes work with.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Arc<Log>,
    /// The share of bad records, in percent, at which a worker ends.
    pub(super) max_bad_percent: Option<u8>,
    /// Where workers may write down which records are in hand.
    pub(super) data: Option<PathBuf>,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
}

/// A worker and whose it is.
#[derive(Debug)]
struct Working {
    stream: String,
    progress: Arc<Progress>,
    worker: Worker,
}

/// A lane at work.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: Spec,
    workers: Vec<Working>,
    /// Since when it rests, after a failure.
    rests: Option<Instant>,
    /// Why it could not be started.
    refused: Option<String>,
}

impl Lane {
    /// Starts the workers; blocks until each stands where it begins.
    pub(super) fn start(
        spec: &Spec,
        catalog: &Arc<Catalog>,
        channels: &mut Channels,
        ground: &Ground,
        policy: NewBeginning,
    ) -> Result<Lane, IngestError> {
        let all = catalog.all_spaces().all(|space| spec.groups.contains(&space));
        let catalog = match all {
            true => Arc::clone(catalog),
            false => {
                let feeds = |space: Space| spec.groups.contains(&space);
                let mut fed = Catalog::feeding(catalog.definitions().clone(), feeds);
                fed.limits = catalog.limits;
                Arc::new(fed)
            }
        };
        let name = spec.digest.get(..NAME_HEX).filter(|_| !spec.first);
        let (spec_here, workers) = (spec.clone(), Vec::new());
        let mut lane = Lane { spec: spec_here, workers, rests: None, refused: None };
        for (stream, part) in catalog.streams().iter().enumerate() {
            let number = |group: &trueup_sql::GroupDef| group.stream == stream;
            let kept_elsewhere = catalog.definitions().groups.iter().any(number);
            if !spec.first && part.groups.is_empty() && kept_elsewhere {
                continue;
            }
            let stream_name = &part.stream.name;
            let avro = channels.avro(stream_name);
            if let Some(Err(why)) = avro.as_ref().map(|avro| avro.fit(&part.decoder)) {
                return Err(IngestError::Schema { stream: stream_name.clone(), why });
            }
            let channel = channels.of(stream_name)?;
            let options = WorkerOptions {
                catalog: Arc::clone(&catalog),
                stream,
                avro,
                letters: Arc::clone(&ground.log),
                letterbox: channels.letterbox.clone(),
                max_bad_percent: ground.max_bad_percent,
                store: Arc::clone(&ground.store),
                clock: ground.clock.clone(),
                progress: Arc::clone(&channel.progress),
                lane: spec.serial,
                wake: channel.wake,
                policy,
                data: ground.data.clone(),
            };
            let source = channels.source(stream_name, name, &ground.log)?;
            let worker = Worker::start(options, source, &ground.runtime)?;
            let (stream, progress) = (stream_name.clone(), channel.progress);
            lane.workers.push(Working { stream, progress, worker });
        }
        Ok(lane)
    }

    /// A lane that could not be started.
    pub(super) fn resting(spec: &Spec, why: &IngestError) -> Lane {
        let (rests, refused) = (Some(Instant::now()), Some(why.to_string()));
        Lane { spec: spec.clone(), workers: Vec::new(), rests, refused }
    }

    /// Whether answers by these definitions come from here.
    pub(super) fn serves(&self, catalog: &Catalog, digest: &str) -> bool {
        let keeps = |space: Space| self.spec.groups.contains(&space);
        self.spec.digest == digest || catalog.all_spaces().any(keeps)
    }

    /// Whether it could not be started.
    pub(super) fn is_idle(&self) -> bool {
        self.workers.is_empty()
    }

    /// Each worker's stream, and why it goes on no more; none while it does.
    pub(super) fn workers(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        let trouble = |it: &Working| match it.worker.is_running() {
            true => None,
            false => {
                let said = it.progress.ended(self.spec.serial);
                Some(said.unwrap_or_else(|| "it has ended".into()))
            }
        };
        self.workers.iter().map(move |it| (it.stream.as_str(), trouble(it)))
    }

    /// What keeps it from going on.
    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        let ended = self.workers().filter_map(|(_, trouble)| trouble);
        self.refused.clone().into_iter().chain(ended)
    }

    /// Whether it failed, and has rested enough to be tried again.
    pub(super) fn is_rested(&mut self) -> bool {
        if self.rests.is_none() && self.workers().any(|(_, trouble)| trouble.is_some()) {
            self.rests = Some(Instant::now());
        }
        self.rests.is_some_and(|since| since.elapsed() >= REST)
    }

    /// Lets the workers finish their batch and waits for them.
    pub(super) fn stop(self) -> Result<(), IngestError> {
        let stops: Vec<_> = self.workers.into_iter().map(|it| it.worker.stop()).collect();
        stops.into_iter().collect()
    }
}
