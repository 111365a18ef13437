//! Follows the note of the definitions in service: keeps the lanes that it calls for, serves what
//! it says, and moves it on when the candidate is hydrated.

use super::channels::{Channels, views_fit};
use super::lanes::{Catalogs, Ground, Lane, layout};
use super::{NodeError, NodeOptions, by_name, fallback, letterbox, models, open};
use crate::catalog::Catalog;
use crate::http::{App, Health, Metrics, WorkerHealth};
use crate::ingest::{IngestError, NewBeginning};
use crate::place::SourcePlace;
use crate::release::{self, Goal, Hydration, Note, Place, Release, ReleaseError, Seen, Told, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use trueup_store::{Log, Store};

/// A candidate is as far as what is served if it reaches, within this time, what that had at its
/// beginning: so much behind may the first answers by it be, at most.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How long nobody drops what was retired: longer than any process takes to hear of it.
const RETIRE_AFTER_US: i64 = 10_000_000;

/// How often the log says how far a candidate is.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// A process between the note and its own parts.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) app: Arc<App>,
    store: Arc<dyn Store>,
    runtime: Handle,
    options: NodeOptions,
    /// Of the definitions that this process was started with.
    own: String,
    channels: Channels,
    catalogs: Catalogs,
    seen: Option<Seen>,
    /// `None` in a process that only answers.
    ground: Option<Ground>,
    lanes: Vec<Lane>,
    goal: Option<(Instant, Goal)>,
    /// Where each partition stood when this process began the candidate.
    from: BTreeMap<(String, u32), u64>,
    said: Option<Instant>,
}

impl Follower {
    /// Opens everything, enters this process's definitions where they are new, and starts the
    /// workers. Blocks.
    pub(super) fn begin(options: NodeOptions, runtime: &Handle) -> Result<Follower, NodeError> {
        let models = models::open(&options)?;
        let (store, log) = runtime.block_on(open(&options.place, options.ingest))?;
        let release = Release::of(options.catalog.definitions(), options.clock.now().0);
        let seen = runtime.block_on(async {
            match options.ingest {
                true => release::register(&*store, &release, options.clock.now().0).await,
                false => release::read(&*store).await,
            }
        })?;
        let own = release.digest;
        let mut catalogs = Catalogs::from([(own.clone(), Arc::clone(&options.catalog))]);
        if let Some(seen) = &seen {
            compile(&seen.note, &mut catalogs);
            explain(&seen.note, &own, options.ingest);
        }
        let sources = by_name(&options, seen.as_ref().map(|seen| &seen.note), &catalogs)?;
        let mut channels = channels(&options, log.clone(), sources, runtime)?;
        let ground = log.filter(|_| options.ingest).map(|log| Ground {
            store: Arc::clone(&store),
            log,
            max_bad_percent: options.bad.max_percent,
            data: options.place.data().map(Path::to_path_buf),
            clock: options.clock.clone(),
            runtime: runtime.clone(),
        });
        let served = served(seen.as_ref(), &catalogs, &own);
        let catalog = Arc::clone(catalogs.get(&served).unwrap_or(&options.catalog));
        let mut lanes = Vec::new();
        if let (Some(seen), Some(ground)) = (&seen, &ground) {
            for spec in layout(&seen.note, &catalogs) {
                let of = &catalogs[&spec.digest];
                match Lane::start(&spec, of, &mut channels, ground, options.policy) {
                    Ok(lane) => lanes.push(lane),
                    Err(error) => {
                        let lane = Lane::resting(&spec, &error);
                        if lane.serves(&catalog, &served) {
                            return Err(error.into());
                        }
                        complain(&spec.digest, &error);
                        lanes.push(lane);
                    }
                }
            }
        }
        let max_staleness_us = i64::try_from(options.max_staleness.as_micros()).unwrap_or(i64::MAX);
        let live = channels.live(&catalog, &store, &options.clock, max_staleness_us)?;
        let metrics = Metrics::new().map_err(|error| NodeError::Metrics(error.to_string()))?;
        let (health, token) = (Health::default(), options.token.clone());
        let app = App::new(live.serving, live.pusher, health, metrics, token);
        let app = app.looked_at_by(options.looker(), options.place.to_string());
        let app = Arc::new(app.scoring_by(models));
        let mut follower = Follower {
            app,
            store,
            runtime: runtime.clone(),
            options,
            own,
            channels,
            catalogs,
            seen,
            ground,
            lanes,
            goal: None,
            from: BTreeMap::new(),
            said: None,
        };
        follower.count_lanes();
        follower.watch();
        follower.advance().map_err(NodeError::Release)?;
        Ok(follower)
    }

    /// Looks at the note, and does what follows.
    pub(super) fn follow(&mut self) -> Result<(), ReleaseError> {
        let found = self.runtime.block_on(release::read(&*self.store))?;
        if let Some(seen) = &self.seen
            && found.as_ref().is_none_or(|found| found.note.revision < seen.note.revision)
        {
            let restored = release::restore(&*self.store, found.as_ref(), seen);
            if self.runtime.block_on(restored)? {
                let definitions = seen.note.current.short();
                tracing::warn!(definitions, "the store had lost which definitions are served");
            }
            return Ok(());
        }
        if let Some(found) = found.filter(|found| self.seen.as_ref() != Some(found)) {
            self.adopt(found);
        }
        self.retry();
        self.advance()
    }

    /// Serves what the note says, and has the lanes that it calls for.
    fn adopt(&mut self, found: Seen) {
        let before = self.seen.replace(found);
        let Some(Seen { note, .. }) = self.seen.clone() else { return };
        compile(&note, &mut self.catalogs);
        let candidate = |note: &Note| note.candidate.as_ref().map(|it| it.digest.clone());
        if before.is_none_or(|before| candidate(&before.note) != candidate(&note)) {
            (self.goal, self.said) = (None, None);
            self.from.clear();
        }
        self.go_live();
        self.relay(&note);
        let own = &self.own;
        self.catalogs.retain(|digest, _| digest == own || note.find(digest).is_some());
        self.count_lanes();
        self.watch();
    }

    fn go_live(&mut self) {
        let digest = served(self.seen.as_ref(), &self.catalogs, &self.app.told().served);
        let Some(catalog) = self.catalogs.get(&digest) else { return };
        if digest == self.app.told().served {
            return;
        }
        let clock = &self.options.clock;
        match self.channels.live(catalog, &self.store, clock, self.app.max_staleness_us) {
            Ok(live) => {
                self.app.go_live(live);
                let before = self.app.told().served.clone();
                self.app.tell(Told { served: digest.clone(), ..(*self.app.told()).clone() });
                tracing::warn!(from = short(&before), to = short(&digest), "definitions changed");
            }
            Err(error) => complain(&digest, &error),
        }
    }

    /// Stops the lanes that are not called for any more, and starts those that are.
    fn relay(&mut self, note: &Note) {
        let Some(ground) = self.ground.clone() else { return };
        let wanted = layout(note, &self.catalogs);
        let (stay, go): (Vec<Lane>, Vec<Lane>) =
            std::mem::take(&mut self.lanes).into_iter().partition(|it| wanted.contains(&it.spec));
        self.lanes = stay;
        for lane in go {
            let digest = lane.spec.digest.clone();
            if let Err(error) = lane.stop() {
                complain(&digest, &error);
            }
        }
        for spec in wanted {
            if self.lanes.iter().any(|lane| lane.spec == spec) {
                continue;
            }
            let of = &self.catalogs[&spec.digest];
            let refuse = NewBeginning::Refuse;
            let started = Lane::start(&spec, of, &mut self.channels, &ground, refuse);
            self.lanes.push(started.unwrap_or_else(|error| {
                complain(&spec.digest, &error);
                Lane::resting(&spec, &error)
            }));
        }
    }

    /// Tries lanes again that failed a while ago.
    fn retry(&mut self) {
        let Some(note) = self.seen.as_ref().map(|seen| seen.note.clone()) else { return };
        let before = self.lanes.len();
        let lanes = std::mem::take(&mut self.lanes).into_iter();
        // A worker that answers come from, and that has ended, is for a person to look at.
        let may = |lane: &Lane| lane.is_idle() || !self.serves(lane);
        let lanes = lanes.filter_map(|mut lane| (!may(&lane) || !lane.is_rested()).then_some(lane));
        self.lanes = lanes.collect();
        if self.lanes.len() < before {
            self.relay(&note);
            self.count_lanes();
        }
    }

    /// Whether answers come from a lane.
    fn serves(&self, lane: &Lane) -> bool {
        lane.serves(self.app.live().catalog(), &self.app.told().served)
    }

    /// Says to those who wait for events which lanes the answers come from.
    fn count_lanes(&self) {
        let served = self.lanes.iter().filter(|lane| self.serves(lane));
        let served: BTreeSet<u64> = served.map(|lane| lane.spec.serial).collect();
        let there: BTreeSet<u64> = self.lanes.iter().map(|lane| lane.spec.serial).collect();
        self.channels.all().for_each(|channel| channel.progress.serve(&served, &there));
    }

    /// Looks whether the workers go on.
    pub(super) fn watch(&self) {
        let lanes = self.lanes.iter().filter(|lane| self.serves(lane));
        let workers = lanes.flat_map(Lane::workers);
        let health =
            workers.map(|(stream, trouble)| WorkerHealth { stream: stream.into(), trouble });
        self.app.health.tell(health.collect());
    }

    /// Moves the note on: drops what was retired, and serves the candidate if it is hydrated. A
    /// process that only answers learns how far it is.
    fn advance(&mut self) -> Result<(), ReleaseError> {
        let hydration = match (&self.seen, &self.ground) {
            (Some(seen), Some(_)) => {
                let note = seen.note.clone();
                self.drop_retired(&note)?;
                self.hydrate(&note)?
            }
            (Some(seen), None) if seen.note.candidate.is_some() => {
                self.runtime.block_on(Hydration::read(&*self.store))?
            }
            _ => None,
        };
        let note = self.seen.as_ref().map(|seen| &seen.note);
        let candidate = note.and_then(|note| self.catalogs.get(&note.candidate.as_ref()?.digest));
        let served = self.app.told().served.clone();
        let told = Told::of(&served, note, candidate.map(|it| &**it), hydration.as_ref());
        if let Some(sentence) = told.sentence()
            && self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY)
        {
            tracing::warn!("{sentence}");
            self.said = Some(Instant::now());
        }
        self.app.tell(told);
        Ok(())
    }

    /// Serves the candidate if it vouches for as much as what is served; else says how far it is.
    fn hydrate(&mut self, note: &Note) -> Result<Option<Hydration>, ReleaseError> {
        let Some(candidate) = &note.candidate else { return Ok(None) };
        let Some(wanted) = self.catalogs.get(&candidate.digest).cloned() else { return Ok(None) };
        let served = self.catalogs.get(&note.current.digest).cloned();
        let waits = self.waits(note, &wanted, served.as_deref())?;
        if waits.is_empty() {
            let (now_us, revision) = (self.options.clock.now().0, note.revision);
            let flip = release::change(&*self.store, |there| {
                Ok(there.filter(|it| it.revision == revision).and_then(|it| it.flipped(now_us)))
            });
            if let Some(found) = self.runtime.block_on(flip)? {
                self.adopt(found);
            }
            return Ok(None);
        }
        let hydration = self.hydration(&candidate.digest, candidate.serial, &waits);
        Ok(Some(self.runtime.block_on(hydration.tell(&*self.store))?))
    }

    fn waits(
        &mut self,
        note: &Note,
        wanted: &Catalog,
        served: Option<&Catalog>,
    ) -> Result<Vec<Wait>, ReleaseError> {
        let of = [Some(wanted), served];
        let look = release::look(&*self.store, &of);
        let metas = self.runtime.block_on(look)?;
        let (_, goal) = match self.goal.take().filter(|(since, _)| since.elapsed() < CATCH_UP) {
            Some(goal) => self.goal.insert(goal),
            None => self.goal.insert((Instant::now(), release::goal(served, &metas))),
        };
        let times = (self.options.clock.now().0, self.app.max_staleness_us);
        Ok(release::waits(wanted, served, note, &metas, goal, times))
    }

    /// How far this process's workers are with the candidate.
    fn hydration(&mut self, digest: &str, serial: u64, waits: &[Wait]) -> Hydration {
        let mut places: BTreeMap<String, BTreeMap<u32, Place>> = BTreeMap::new();
        for (stream, channel) in self.channels.named() {
            for (partition, applied) in channel.progress.lane(serial) {
                let began = self.from.entry((stream.clone(), partition)).or_insert(applied.records);
                let (next, end) = (applied.records, applied.end);
                let place = Place { from: *began, next, end };
                places.entry(stream.clone()).or_default().insert(partition, place);
            }
        }
        let (stuck, waits): (Vec<&Wait>, Vec<&Wait>) =
            waits.iter().partition(|wait| wait.is_stuck());
        let words = |waits: Vec<&Wait>| waits.iter().map(ToString::to_string).collect();
        let mut stuck: Vec<String> = words(stuck);
        let lanes = self.lanes.iter().filter(|lane| lane.spec.digest == digest);
        stuck.extend(lanes.flat_map(Lane::troubles));
        Hydration { digest: digest.into(), places, waits: words(waits), stuck }
    }

    /// Drops the state of groups that nobody needs any more, once everybody knows of it.
    fn drop_retired(&mut self, note: &Note) -> Result<(), ReleaseError> {
        let now_us = self.options.clock.now().0;
        if note.retired.is_empty() || note.retired_us.saturating_add(RETIRE_AFTER_US) > now_us {
            return Ok(());
        }
        let dropped = release::drop_retired(&*self.store, note, |_| true, now_us);
        if let Some(found) = self.runtime.block_on(dropped)? {
            self.adopt(found);
        }
        Ok(())
    }

    /// Ends the workers after their batch.
    pub(super) fn stop(&mut self) -> Result<(), IngestError> {
        let mut ended = Ok(());
        for lane in std::mem::take(&mut self.lanes) {
            let (serves, digest) = (self.serves(&lane), lane.spec.digest.clone());
            match lane.stop() {
                Err(error) if serves => ended = ended.and(Err(error)),
                Err(error) => complain(&digest, &error),
                Ok(()) => {}
            }
        }
        ended
    }
}

/// The definitions to answer by: those in service, or others where this program cannot use them.
fn served(seen: Option<&Seen>, catalogs: &Catalogs, otherwise: &str) -> String {
    let current = seen.map(|seen| &seen.note.current.digest);
    let usable = current.filter(|digest| catalogs.contains_key(*digest));
    usable.map_or_else(|| otherwise.to_owned(), Clone::clone)
}

/// Compiles what a note names and this process does not have yet.
fn compile(note: &Note, catalogs: &mut Catalogs) {
    for release in note.releases() {
        if catalogs.contains_key(&release.digest) {
            continue;
        }
        match release.catalog() {
            Ok(catalog) => drop(catalogs.insert(release.digest.clone(), Arc::new(catalog))),
            Err(why) => tracing::warn!(
                definitions = release.short(),
                why,
                "these definitions were noted by another version of the program; this process does \
                 not use them"
            ),
        }
    }
}

/// Says where the files of this process stand, if they are not what is served.
fn explain(note: &Note, own: &str, ingest: bool) {
    let (files, served) = (short(own), note.current.short());
    if note.previous.as_ref().is_some_and(|previous| previous.digest == own) {
        tracing::warn!(
            files,
            served,
            "the files hold the definitions that were served before; those in service stay until \
             `trueup rollback`"
        );
    } else if note.find(own).is_none() && !ingest {
        tracing::warn!(
            files,
            served,
            "no ingest process has begun with these files yet; those in service answer"
        );
    }
}

fn complain(digest: &str, error: &IngestError) {
    tracing::error!(definitions = short(digest), %error, "the workers of definitions do not go on");
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// The channels of this process, as its settings say. Blocks.
fn channels(
    options: &NodeOptions,
    log: Option<Arc<Log>>,
    sources: BTreeMap<String, SourcePlace>,
    runtime: &Handle,
) -> Result<Channels, NodeError> {
    let letterbox = letterbox(options.bad.also_to.as_ref())?;
    let fallback = runtime.block_on(fallback(options))?;
    let (avro, views) = (&options.avro, options.views.clone());
    let record_to_log = options.record_to_log;
    // Definitions that come later are only warned of: they must not end what serves.
    views_fit(&views, &options.catalog)?;
    Ok(Channels::new(log, letterbox, sources, avro, fallback, views, record_to_log))
}
