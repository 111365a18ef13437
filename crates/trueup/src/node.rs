//! One process: store, log, workers and server put together from settings, and taken apart again.

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::http::{App, Health, Metrics, router};
use crate::ingest::source::{
    LogSource, RedisStreamProducer, RedisStreamSettings, RedisStreamSource, Source, SourceError,
};
use crate::ingest::{
    Bell, IngestError, NewBeginning, Progress, Pusher, Sink, Worker, WorkerOptions,
};
use crate::place::{Place, RedisPlace, RedisStreamPlace, SourcePlace, Sources, by_stream};
use crate::serve::Serving;
use axum::Router;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use trueup_store::{
    EmbeddedStore, Log, MemoryStore, Options, RedisOptions, RedisStore, Store, StoreError,
};

/// How long requests that are under way may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How often a node looks whether its workers go on.
const WATCH: Duration = Duration::from_millis(200);

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Where state and logs are kept.
    pub place: Place,
    /// Where events come from, beside HTTP push.
    pub sources: Sources,
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

/// Why a node did not start or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// The store or the log.
    Store(StoreError),
    /// A worker.
    Ingest(IngestError),
    /// The settings and the definitions do not fit together.
    Settings(String),
    /// The metrics' names; a fault of this program.
    Metrics(String),
    /// The listening socket or the server.
    Io(std::io::Error),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Store(error) => error.fmt(f),
            NodeError::Ingest(error) => error.fmt(f),
            NodeError::Settings(reason) => f.write_str(reason),
            NodeError::Metrics(error) => write!(f, "the metrics do not fit together: {error}"),
            NodeError::Io(error) => write!(f, "the server cannot listen or go on: {error}"),
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

/// A process's parts, working.
#[derive(Debug)]
pub struct Node {
    app: Arc<App>,
    workers: Vec<Worker>,
    running: Vec<Arc<AtomicBool>>,
}

impl Node {
    /// Opens store and log and starts the workers. Call it on a runtime of several threads: it
    /// blocks.
    ///
    /// # Errors
    /// [`NodeError`], each with the place and the remedy.
    pub fn start(options: NodeOptions) -> Result<Node, NodeError> {
        let streams = options.catalog.streams().len();
        let sources = sources(&options)?;
        let runtime = Handle::current();
        let (store, log) =
            tokio::task::block_in_place(|| runtime.block_on(open(&options.place, options.ingest)))?;
        let progress: Vec<Arc<Progress>> = (0..streams).map(|_| Arc::default()).collect();
        let wakes: Vec<Arc<Bell>> = (0..streams).map(|_| Arc::default()).collect();
        let mut workers = Vec::new();
        for stream in 0..streams {
            let Some(log) = log.as_ref().filter(|_| options.ingest) else { break };
            let worker = WorkerOptions {
                catalog: Arc::clone(&options.catalog),
                stream,
                letters: Arc::clone(log),
                store: Arc::clone(&store),
                clock: options.clock.clone(),
                progress: Arc::clone(&progress[stream]),
                lane: 1,
                wake: Arc::clone(&wakes[stream]),
                policy: options.policy,
            };
            let name = &options.catalog.streams()[stream].stream.name;
            let wake = &wakes[stream];
            let start = || -> Result<Worker, IngestError> {
                let source = source(sources[stream].as_ref(), name, log, wake)?;
                Worker::start(worker, source, &runtime)
            };
            workers.push(tokio::task::block_in_place(start)?);
        }
        let running: Vec<_> = workers.iter().map(|_| Arc::new(AtomicBool::new(true))).collect();
        let serving = Serving {
            catalog: Arc::clone(&options.catalog),
            store,
            clock: options.clock.clone(),
            max_staleness_us: i64::try_from(options.max_staleness.as_micros()).unwrap_or(i64::MAX),
        };
        let sinks = sources.iter().map(|place| sink(place.as_ref(), log.as_ref()));
        let sinks = sinks.collect::<Result<_, _>>()?;
        let (catalog, clock) = (options.catalog, options.clock);
        let pusher = Pusher { catalog, log, sinks, clock, progress, wakes };
        let health = Health { stopping: AtomicBool::new(false), workers: running.clone() };
        let metrics = Metrics::new().map_err(|error| NodeError::Metrics(error.to_string()))?;
        let app = Arc::new(App::new(serving, pusher, health, metrics, options.token));
        Ok(Node { app, workers, running })
    }

    /// What the handlers share.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The routes of this node.
    pub fn router(&self) -> Router {
        router(Arc::clone(&self.app))
    }

    /// Serves a router until `stop` is done, lets requests under way end, and then ends the workers
    /// and makes the store durable.
    ///
    /// # Errors
    /// What ended the server or a worker.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), NodeError> {
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        let app = Arc::clone(&self.app);
        let signal = async move {
            stop.await;
            app.health.stopping.store(true, Ordering::SeqCst);
            // The server below waits for it, or has ended already.
            let _ = ending.send(());
        };
        let server = axum::serve(listener, router).with_graceful_shutdown(signal);
        let mut server = std::pin::pin!(std::future::IntoFuture::into_future(server));
        let drained = async {
            if ended.await.is_ok() {
                tokio::time::sleep(DRAIN).await;
            }
        };
        let mut drained = std::pin::pin!(drained);
        let served = loop {
            tokio::select! {
                served = &mut server => break served,
                () = &mut drained => break Ok(()),
                () = tokio::time::sleep(WATCH) => self.watch(),
            }
        };
        let stopped = self.stop();
        served.map_err(NodeError::Io)?;
        stopped
    }

    /// Whether all workers go on, as of the last [`Node::watch`].
    pub fn is_working(&self) -> bool {
        self.running.iter().all(|running| running.load(Ordering::SeqCst))
    }

    /// Looks whether the workers go on.
    pub fn watch(&mut self) {
        for (worker, running) in self.workers.iter().zip(&self.running) {
            running.store(worker.is_running(), Ordering::SeqCst);
        }
    }

    /// Ends the workers after their batch and makes the store durable.
    ///
    /// # Errors
    /// What ended a worker before.
    pub fn stop(self) -> Result<(), NodeError> {
        let stops: Vec<Result<(), IngestError>> =
            tokio::task::block_in_place(|| self.workers.into_iter().map(Worker::stop).collect());
        stops.into_iter().collect::<Result<(), IngestError>>().map_err(NodeError::Ingest)
    }
}

/// By stream, where its events come from; `None` for the log that HTTP push writes.
fn sources(options: &NodeOptions) -> Result<Vec<Option<SourcePlace>>, NodeError> {
    let streams = options.catalog.streams();
    let names: Vec<&str> = streams.iter().map(|part| part.stream.name.as_str()).collect();
    let said = by_stream(&options.sources, &names).map_err(NodeError::Settings)?;
    let mut sources = vec![None; names.len()];
    for (stream, place) in said {
        if let SourcePlace::File(path) = &place {
            let path = path.display();
            return Err(NodeError::Settings(format!(
                "source file:{path}: a server takes in no files; do so with `trueup ingest`"
            )));
        }
        sources[stream] = Some(place);
    }
    Ok(sources)
}

/// Opens the state, and the logs where this process has them.
async fn open(
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

fn redis_options(place: &RedisPlace) -> RedisOptions {
    let mut options = RedisOptions::default();
    options.password.clone_from(&place.password);
    options.ca_file.clone_from(&place.ca_file);
    if let Some(prefix) = &place.prefix {
        options.prefix.clone_from(prefix);
    }
    options
}

/// The log that a stream's worker reads.
fn source(
    place: Option<&SourcePlace>,
    stream: &str,
    log: &Arc<Log>,
    wake: &Arc<Bell>,
) -> Result<Box<dyn Source>, SourceError> {
    match place {
        Some(SourcePlace::Kafka(place)) => kafka::source(place),
        Some(SourcePlace::RedisStream(place)) => {
            Ok(Box::new(RedisStreamSource::open(redis_stream(place)?)?))
        }
        _ => Ok(Box::new(LogSource::open(Arc::clone(log), stream, Arc::clone(wake))?)),
    }
}

/// Where what is pushed to a stream goes.
fn sink(place: Option<&SourcePlace>, log: Option<&Arc<Log>>) -> Result<Sink, IngestError> {
    match place {
        Some(SourcePlace::Kafka(place)) => Ok(kafka::sink(place)?),
        Some(SourcePlace::RedisStream(place)) => {
            let producer = RedisStreamProducer::open(redis_stream(place)?)?;
            Ok(Sink::RedisStream(Box::new(producer)))
        }
        _ => Ok(log.map_or(Sink::Elsewhere, |log| Sink::Log(Arc::clone(log)))),
    }
}

fn redis_stream(place: &RedisStreamPlace) -> Result<RedisStreamSettings, SourceError> {
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
    use crate::ingest::source::{KafkaProducer, KafkaSettings, KafkaSource, Source, SourceError};
    use crate::place::KafkaPlace;

    pub(super) fn source(place: &KafkaPlace) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(KafkaSource::open(settings(place)?)?))
    }

    pub(super) fn sink(place: &KafkaPlace) -> Result<Sink, SourceError> {
        Ok(Sink::Kafka(KafkaProducer::open(settings(place)?)?))
    }

    fn settings(place: &KafkaPlace) -> Result<KafkaSettings, SourceError> {
        KafkaSettings::parse(&place.url, place.properties.clone()).map_err(|detail| SourceError {
            source: place.url.clone(),
            detail,
            retry: false,
            remedy: "Mend the setting `source`.",
        })
    }
}

#[cfg(not(feature = "kafka"))]
mod kafka {
    use crate::ingest::Sink;
    use crate::ingest::source::{Source, SourceError};
    use crate::place::KafkaPlace;

    pub(super) fn source(place: &KafkaPlace) -> Result<Box<dyn Source>, SourceError> {
        Err(without(place))
    }

    pub(super) fn sink(place: &KafkaPlace) -> Result<Sink, SourceError> {
        Err(without(place))
    }

    fn without(place: &KafkaPlace) -> SourceError {
        SourceError {
            source: place.url.clone(),
            detail: "this program was built without Kafka".into(),
            retry: false,
            remedy: "Build it with the feature `kafka`.",
        }
    }
}
