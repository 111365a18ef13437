//! One process: store, log, workers and server put together from settings, and taken apart again.

mod away;
mod channels;
mod follow;
mod keeper;
mod lanes;
mod models;

pub(crate) use self::away::open_at_start;
pub(crate) use self::channels::views_fit;

use self::follow::Follower;
use self::keeper::Keeper;
use self::lanes::Catalogs;
use self::models::ModelsKeeper;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::database::{self, DatabaseError};
#[cfg(feature = "otel")]
use crate::http::Spans;
#[cfg(feature = "grpc")]
use crate::http::grpc;
use crate::http::server::{self, Wire};
use crate::http::{App, operations, router};
use crate::ingest::backfill::LogState;
use crate::ingest::source::{
    LogLook, LogSource, RedisStreamProducer, RedisStreamSettings, RedisStreamSource, Source,
    SourceError,
};
use crate::ingest::{Bell, IngestError, Letterbox, NewBeginning, Pusher, Sink};
use crate::place::{
    AvroStreams, BadRecords, LogPlace, Place, RedisPlace, SourcePlace, Sources, by_stream, named,
};
use crate::release::{Note, ReleaseError};
use crate::serve::{Fallback, Policies, Tables};
use crate::settings::{DatabaseSettings, ModelsSettings};
use crate::status::Looker;
use axum::Router;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use trueup_store::{
    EmbeddedStore, Log, MemoryStore, Options, RedisOptions, RedisStore, Store, StoreError,
};

/// The lane of the reader that tells a backfill which events a log has.
const BACKFILL: &str = "backfill";

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Where state and logs are kept.
    pub place: Place,
    /// Where events come from, beside HTTP push.
    pub sources: Sources,
    /// The schemas of those that hold Avro.
    pub avro: AvroStreams,
    /// What becomes of records that cannot be used.
    pub bad: BadRecords,
    /// The database that is asked for what the store does not vouch for.
    pub database: Option<DatabaseSettings>,
    /// What views return in place of values of some status.
    pub views: Policies,
    /// Whether rows that are recorded go into the log too; else their callers publish them.
    pub record_to_log: bool,
    /// The models that score rows, if there are any.
    pub models: Option<ModelsSettings>,
    /// How far behind the pipeline may be before values are STALE.
    pub max_staleness: Duration,
    /// The bearer token that callers must have, if any.
    pub token: Option<String>,
    /// Whether this process applies events, or only answers.
    pub ingest: bool,
    /// What to do if the log does not hold what comes after the state.
    pub policy: NewBeginning,
    /// Wall-clock time.
    pub clock: Clock,
}

impl NodeOptions {
    /// One who looks at store and sources for those who ask how they are.
    fn looker(&self) -> Looker {
        let (own, clock) = (Some(Arc::clone(&self.catalog)), self.clock.clone());
        Looker::new(own, &self.sources, looker, self.max_staleness, clock)
    }
}

/// Why a node did not start or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// The store or the log.
    Store(StoreError),
    /// A worker.
    Ingest(IngestError),
    /// The database.
    Database(DatabaseError),
    /// The definitions in service.
    Release(ReleaseError),
    /// The settings and the definitions do not fit together.
    Settings(String),
    /// The metrics' names; a fault of this program.
    Metrics(String),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Store(error) => error.fmt(f),
            NodeError::Ingest(error) => error.fmt(f),
            NodeError::Database(error) => write!(f, "setting database: {error}"),
            NodeError::Release(error) => error.fmt(f),
            NodeError::Settings(reason) => f.write_str(reason),
            NodeError::Metrics(error) => write!(f, "the metrics do not fit together: {error}"),
        }
    }
}

impl std::error::Error for NodeError {}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> NodeError {
        NodeError::Store(error)
    }
}

impl From<IngestError> for NodeError {
    fn from(error: IngestError) -> NodeError {
        NodeError::Ingest(error)
    }
}

impl From<ReleaseError> for NodeError {
    fn from(error: ReleaseError) -> NodeError {
        NodeError::Release(error)
    }
}

/// A process's parts, working.
#[derive(Debug)]
pub struct Node {
    app: Arc<App>,
    keeper: Keeper,
    models: Option<ModelsKeeper>,
    /// Where gRPC is served too, if it is.
    grpc: Option<TcpListener>,
}

impl Node {
    /// Opens store and log and starts the workers. Call it on a runtime of several threads: it
    /// blocks.
    ///
    /// # Errors
    /// [`NodeError`], each with the place and the remedy.
    pub fn start(options: NodeOptions) -> Result<Node, NodeError> {
        let runtime = Handle::current();
        let place = options.place.clone();
        let begun = tokio::task::block_in_place(|| Follower::begin(options, &runtime));
        let follower = begun.map_err(|error| error.at_start(&place))?;
        let app = Arc::clone(&follower.app);
        let keep = || tokio::task::block_in_place(|| ModelsKeeper::start(Arc::clone(&app)));
        let models = app.models.is_some().then(keep).transpose().map_err(IngestError::Thread)?;
        Ok(Node { app, keeper: Keeper::start(follower)?, models, grpc: None })
    }

    /// With the gRPC mirror on an address of its own.
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn with_grpc(mut self, listener: TcpListener) -> Node {
        self.grpc = Some(listener);
        self
    }

    /// With spans of requests on their way to a collector.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Node {
        // There are none yet: whoever has the node has it alone.
        let _ = self.app.spans.set(spans);
        self
    }

    /// What the handlers share.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The routes of this node.
    pub fn router(&self) -> Router {
        router(Arc::clone(&self.app))
    }

    /// The routes of a node that only applies events.
    pub fn operations(&self) -> Router {
        operations(Arc::clone(&self.app))
    }

    /// Serves a router until `stop` is done, lets requests under way end, and then ends the workers
    /// and makes the store durable.
    ///
    /// # Errors
    /// What ended a worker.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), NodeError> {
        let (tell, told) = watch::channel(());
        let app = Arc::clone(&self.app);
        let stop = async move {
            stop.await;
            app.health.stopping.store(true, Ordering::SeqCst);
            tell.send_replace(());
        };
        let grpc = mirror(&self.app, self.grpc.take(), told);
        tokio::join!(server::serve(listener, router, &self.app, Wire::Http1, stop), grpc);
        #[cfg(feature = "otel")]
        if let Some(spans) = self.app.spans.get() {
            spans.stop().await;
        }
        self.stop()
    }

    /// Whether all workers that answers come from go on.
    pub fn is_working(&self) -> bool {
        self.app.health.workers().iter().all(|worker| worker.trouble.is_none())
    }

    /// Ends the workers after their batch and makes the store durable.
    ///
    /// # Errors
    /// What ended a worker before.
    pub fn stop(self) -> Result<(), NodeError> {
        tokio::task::block_in_place(|| {
            drop(self.models);
            self.keeper.stop()
        })
        .map_err(NodeError::Ingest)
    }
}

/// Serves gRPC, where it is served, until told to stop.
#[cfg(feature = "grpc")]
async fn mirror(app: &Arc<App>, listener: Option<TcpListener>, mut told: watch::Receiver<()>) {
    let stop = async move {
        // Who tells is gone when it was told.
        let _ = told.changed().await;
    };
    if let Some(listener) = listener {
        grpc::serve(listener, Arc::clone(app), stop).await;
    }
}

/// There is none: `with_grpc` is not there either.
#[cfg(not(feature = "grpc"))]
async fn mirror(_: &Arc<App>, _: Option<TcpListener>, _: watch::Receiver<()>) {}

/// Takes events for a process that does not run, into the logs that its streams have; nothing of
/// them is applied.
///
/// # Errors
/// [`NodeError`], when the logs cannot be opened.
pub fn pusher(
    catalog: Arc<Catalog>,
    log: Log,
    said: &Sources,
    avro: &AvroStreams,
    clock: Clock,
) -> Result<Pusher, NodeError> {
    let names = stream_names(&catalog);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let places = logs_of(said, &names)?;
    in_logs(avro, places.keys().map(|&number| names[number]))?;
    let pusher = Pusher::local(Arc::clone(&catalog), log, clock);
    let sink = |number| Ok(Arc::new(sink(places.get(&number), pusher.log.as_ref())?));
    let sinks = (0..names.len()).map(sink).collect::<Result<_, IngestError>>()?;
    let avro = names.iter().map(|name| avro.get(*name).cloned()).collect();
    Ok(Pusher { sinks, avro, ..pusher })
}

fn stream_names(catalog: &Catalog) -> Vec<String> {
    catalog.streams().iter().map(|part| part.stream.name.clone()).collect()
}

/// Where streams with these names come from that have not the log that HTTP push writes, by their
/// numbers.
fn logs_of(said: &Sources, names: &[&str]) -> Result<BTreeMap<usize, SourcePlace>, NodeError> {
    let mut places = BTreeMap::new();
    for (stream, place) in by_stream(said, names).map_err(NodeError::Settings)? {
        if let SourcePlace::File(path) = &place {
            let path = path.display();
            return Err(NodeError::Settings(format!(
                "source file:{path}: a server takes in no files; do so with `trueup ingest`"
            )));
        }
        places.insert(stream, place);
    }
    Ok(places)
}

/// Whether Avro is said only of streams that come from logs of their own, which are `logs`.
fn in_logs<'a>(
    avro: &AvroStreams,
    logs: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), NodeError> {
    let Some(lost) = avro.keys().find(|stream| logs.clone().all(|log| log != *stream)) else {
        return Ok(());
    };
    let logs: Vec<&str> = logs.collect();
    let logs = if logs.is_empty() { "none".to_owned() } else { logs.join(", ") };
    Err(NodeError::Settings(format!(
        "[avro.{lost}]: no setting says from which log stream {lost} comes, and HTTP push takes \
         JSON; name it with source, or take the table out (streams that come from a log: {logs})"
    )))
}

/// Where streams come from that have not the log that HTTP push writes, by their names: those of
/// this process's own definitions and of others that it keeps.
fn by_name(
    options: &NodeOptions,
    note: Option<&Note>,
    catalogs: &Catalogs,
) -> Result<BTreeMap<String, SourcePlace>, NodeError> {
    let own = stream_names(&options.catalog);
    let mut all = own.clone();
    all.extend(catalogs.values().flat_map(|catalog| stream_names(catalog)));
    all.sort();
    all.dedup();
    let said = named(&options.sources, &own);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let places = logs_of(&said, &all)?.into_iter();
    let sources: BTreeMap<String, SourcePlace> =
        places.map(|(stream, place)| (all[stream].to_owned(), place)).collect();
    let current = note.and_then(|note| catalogs.get(&note.current.digest));
    let lost = current.into_iter().flat_map(|current| stream_names(current)).find(|stream| {
        options.ingest
            && !sources.is_empty()
            && !own.contains(stream)
            && !sources.contains_key(stream)
    });
    in_logs(&options.avro, sources.keys().map(String::as_str))?;
    match lost {
        None => Ok(sources),
        Some(stream) => Err(NodeError::Settings(format!(
            "the definitions in service read stream {stream}, which these files do not declare, \
             and no setting says where its events come from: keep its source, as {stream}=URL, \
             until the new definitions are served and `trueup forget` was run"
        ))),
    }
}

/// Opens the state, and the logs where this process has them.
pub(crate) async fn open(
    place: &Place,
    ingest: bool,
) -> Result<(Arc<dyn Store>, Option<Arc<Log>>), StoreError> {
    match place {
        Place::Memory => Ok((Arc::new(MemoryStore::new()), Some(Arc::new(Log::in_memory()?)))),
        Place::Embedded(dir) => {
            let store = EmbeddedStore::open(dir, Options::STATE)?;
            Ok((Arc::new(store), Some(Arc::new(Log::open(dir, Options::LOG)?))))
        }
        Place::Redis(redis) => {
            let store = RedisStore::open(&redis.url, redis_options(redis)).await?;
            // The logs are of one process: the one that applies them.
            let log = match ingest {
                true => Some(Arc::new(Log::open(&redis.data, Options::LOG)?)),
                false => None,
            };
            Ok((Arc::new(store), log))
        }
    }
}

/// Opens the state in Redis for one who examines it: also where the server evicts, of which nothing
/// is vouched for then.
pub(crate) async fn open_to_examine(place: &RedisPlace) -> Result<Arc<dyn Store>, StoreError> {
    let mut options = redis_options(place);
    options.allow_eviction = true;
    Ok(Arc::new(RedisStore::open(&place.url, options).await?))
}

/// The database that is asked for what the store does not vouch for, if settings name one. Tables
/// that do not fit are refused now; one that is away may come back.
async fn fallback(options: &NodeOptions) -> Result<Option<Arc<Fallback>>, NodeError> {
    let Some(settings) = &options.database else { return Ok(None) };
    let tables = tables(settings, &options.catalog, options.clock.clone())?;
    match tables.look(&options.catalog).await {
        Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Err(error @ DatabaseError::Away(_)) => {
            let place = &settings.place;
            tracing::warn!(%place, %error, "what the store lacks is UNKNOWN meanwhile");
        }
        Err(error) => return Err(NodeError::Database(error)),
    }
    Ok(Some(Arc::clone(tables.fallback())))
}

/// The database of settings, for the streams of these definitions; nobody has looked at it yet.
///
/// # Errors
/// It is none that can be asked, or settings name a stream that there is not.
pub(crate) fn tables(
    settings: &DatabaseSettings,
    catalog: &Catalog,
    clock: Clock,
) -> Result<Tables, NodeError> {
    let DatabaseSettings { place, tables, bounds, .. } = settings;
    if let Some(stream) = tables.keys().find(|name| catalog.stream(name).is_none()) {
        return Err(NodeError::Settings(format!(
            "[database_tables.{stream}]: there is no stream {stream}; there are: {}",
            catalog.stream_names()
        )));
    }
    let database = database::open(place, bounds.connections, bounds.timeout);
    let database = database.map_err(NodeError::Database)?;
    let fallback = Fallback::new(database, tables.clone(), *bounds, clock);
    let mut fallback = fallback.verifying(settings.verify_per_million, settings.max_staleness);
    if settings.write_back {
        fallback = fallback.writing_back();
    }
    Ok(Tables::new(Arc::new(fallback), catalog))
}

fn redis_options(place: &RedisPlace) -> RedisOptions {
    let mut options = RedisOptions::default();
    options.password.clone_from(&place.password);
    options.ca_file.clone_from(&place.ca_file);
    if let Some(prefix) = &place.prefix {
        options.prefix.clone_from(prefix);
    }
    options
}

/// What a stream's log has, for one who does not read it.
pub(crate) fn log_state(
    place: Option<&SourcePlace>,
    stream: &str,
    log: &Arc<Log>,
) -> Result<LogState, SourceError> {
    match place {
        Some(place @ SourcePlace::Kafka(_)) => {
            let (number, roster) = looker(place)?()?;
            Ok(LogState::new(number, roster))
        }
        place => LogState::of(&mut *source(place, stream, None, log, &Arc::default())?),
    }
}

/// Reads a stream's log beside its workers, for one who applies nothing of it.
pub(crate) fn log_reader(
    place: Option<&SourcePlace>,
    stream: &str,
    log: &Arc<Log>,
) -> Result<Box<dyn Source>, SourceError> {
    source(place, stream, Some(BACKFILL), log, &Arc::default())
}

/// Asks a log that is not the local one where it begins and ends, without reading it.
pub(crate) fn looker(place: &SourcePlace) -> Result<LogLook, SourceError> {
    let mut source: Box<dyn Source> = match place {
        SourcePlace::Kafka(place) => return kafka::looker(place),
        SourcePlace::RedisStream(place) => Box::new(RedisStreamSource::open(redis_stream(place)?)?),
        SourcePlace::Nats(place) => nats::source(place, None)?,
        SourcePlace::File(path) => {
            return Err(SourceError {
                source: place.to_string(),
                detail: format!("{} is a file, not a log", path.display()),
                retry: false,
                remedy: "Ask the log that it is taken into.",
            });
        }
    };
    Ok(Box::new(move || {
        let roster = source.roster()?;
        Ok((source.number(), roster))
    }))
}

/// The log that a stream's worker reads. Readers of another lane share it out among themselves.
fn source(
    place: Option<&SourcePlace>,
    stream: &str,
    lane: Option<&str>,
    log: &Arc<Log>,
    wake: &Arc<Bell>,
) -> Result<Box<dyn Source>, SourceError> {
    match place {
        Some(SourcePlace::Kafka(place)) => kafka::source(place, lane),
        Some(SourcePlace::RedisStream(place)) => {
            Ok(Box::new(RedisStreamSource::open(redis_stream(place)?.in_lane(lane))?))
        }
        Some(SourcePlace::Nats(place)) => nats::source(place, lane),
        _ => Ok(Box::new(LogSource::open(Arc::clone(log), stream, Arc::clone(wake))?)),
    }
}

/// Where dead letters go beside the local log.
fn letterbox(place: Option<&SourcePlace>) -> Result<Option<Arc<Letterbox>>, IngestError> {
    let letterbox = match place {
        None => return Ok(None),
        Some(SourcePlace::File(path)) => Letterbox::file(path)?,
        Some(place) => Letterbox::log(place.to_string(), sink(Some(place), None)?),
    };
    Ok(Some(Arc::new(letterbox)))
}

/// Where what is pushed to a stream goes.
fn sink(place: Option<&SourcePlace>, log: Option<&Arc<Log>>) -> Result<Sink, IngestError> {
    match place {
        Some(SourcePlace::Kafka(place)) => Ok(kafka::sink(place)?),
        Some(SourcePlace::RedisStream(place)) => {
            let producer = RedisStreamProducer::open(redis_stream(place)?)?;
            Ok(Sink::RedisStream(Box::new(producer)))
        }
        Some(SourcePlace::Nats(place)) => Ok(nats::sink(place)?),
        _ => Ok(log.map_or(Sink::Elsewhere, |log| Sink::Log(Arc::clone(log)))),
    }
}

fn redis_stream(place: &LogPlace) -> Result<RedisStreamSettings, SourceError> {
    let settings = RedisStreamSettings::parse(&place.url).map_err(|detail| SourceError {
        source: place.public_url(),
        detail,
        retry: false,
        remedy: "Mend the setting `source`.",
    })?;
    Ok(settings.or_password(place.password.as_deref()))
}

#[cfg(feature = "kafka")]
mod kafka {
    use crate::ingest::Sink;
    use crate::ingest::source::{
        KafkaProducer, KafkaSettings, KafkaSource, LogLook, Source, SourceError,
    };
    use crate::place::KafkaPlace;

    pub(super) fn looker(place: &KafkaPlace) -> Result<LogLook, SourceError> {
        KafkaSource::looker(settings(place)?)
    }

    pub(super) fn source(
        place: &KafkaPlace,
        lane: Option<&str>,
    ) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(KafkaSource::open(settings(place)?.in_lane(lane))?))
    }

    pub(super) fn sink(place: &KafkaPlace) -> Result<Sink, SourceError> {
        Ok(Sink::Kafka(KafkaProducer::open(settings(place)?)?))
    }

    fn settings(place: &KafkaPlace) -> Result<KafkaSettings, SourceError> {
        KafkaSettings::parse(&place.url, place.properties.clone()).map_err(|detail| SourceError {
            source: place.public_url(),
            detail,
            retry: false,
            remedy: "Mend the setting `source`.",
        })
    }
}

#[cfg(not(feature = "kafka"))]
mod kafka {
    use crate::ingest::Sink;
    use crate::ingest::source::{LogLook, Source, SourceError};
    use crate::place::KafkaPlace;

    pub(super) fn looker(place: &KafkaPlace) -> Result<LogLook, SourceError> {
        Err(without(place))
    }

    pub(super) fn source(
        place: &KafkaPlace,
        _lane: Option<&str>,
    ) -> Result<Box<dyn Source>, SourceError> {
        Err(without(place))
    }

    pub(super) fn sink(place: &KafkaPlace) -> Result<Sink, SourceError> {
        Err(without(place))
    }

    fn without(place: &KafkaPlace) -> SourceError {
        SourceError {
            source: place.public_url(),
            detail: "this program was built without Kafka".into(),
            retry: false,
            remedy: "Build it with the feature `kafka`.",
        }
    }
}

#[cfg(feature = "nats")]
mod nats {
    use crate::ingest::Sink;
    use crate::ingest::source::{NatsProducer, NatsSettings, NatsSource, Source, SourceError};
    use crate::place::LogPlace;

    pub(super) fn source(
        place: &LogPlace,
        lane: Option<&str>,
    ) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(NatsSource::open(settings(place)?.in_lane(lane))?))
    }

    pub(super) fn sink(place: &LogPlace) -> Result<Sink, SourceError> {
        Ok(Sink::Nats(Box::new(NatsProducer::open(settings(place)?))))
    }

    fn settings(place: &LogPlace) -> Result<NatsSettings, SourceError> {
        let settings = NatsSettings::parse(&place.url).map_err(|detail| SourceError {
            source: place.public_url(),
            detail,
            retry: false,
            remedy: "Mend the setting `source`.",
        })?;
        Ok(settings.or_password(place.password.as_deref()))
    }
}

#[cfg(not(feature = "nats"))]
mod nats {
    use crate::ingest::Sink;
    use crate::ingest::source::{Source, SourceError};
    use crate::place::LogPlace;

    pub(super) fn source(
        place: &LogPlace,
        _lane: Option<&str>,
    ) -> Result<Box<dyn Source>, SourceError> {
        Err(without(place))
    }

    pub(super) fn sink(place: &LogPlace) -> Result<Sink, SourceError> {
        Err(without(place))
    }

    fn without(place: &LogPlace) -> SourceError {
        SourceError {
            source: place.public_url(),
            detail: "this program was built without NATS".into(),
            retry: false,
            remedy: "Build it with the feature `nats`.",
        }
    }
}
