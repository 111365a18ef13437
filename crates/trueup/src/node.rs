//! One process: store, log, workers and server put together from settings, and taken apart again.

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::http::{App, Health, Metrics, router};
use crate::ingest::{Bell, IngestError, NewBeginning, Progress, Pusher, Worker, WorkerOptions};
use crate::serve::Serving;
use axum::Router;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use trueup_store::{EmbeddedStore, Log, MemoryStore, Options, Store, StoreError};

/// How long requests that are under way may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How often a node looks whether its workers go on.
const WATCH: Duration = Duration::from_millis(200);

/// Where state and log are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory; nothing survives the process.
    Memory,
    /// In a directory that one process has for itself.
    Embedded(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory => f.write_str("memory:"),
            Place::Embedded(path) => write!(f, "embedded:{}", path.display()),
        }
    }
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Where state and log are kept.
    pub place: Place,
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
        let (store, log) = open(&options.place)?;
        let log = Arc::new(log);
        let streams = options.catalog.streams().len();
        let progress: Vec<Arc<Progress>> = (0..streams).map(|_| Arc::default()).collect();
        let wakes: Vec<Arc<Bell>> = (0..streams).map(|_| Arc::default()).collect();
        let mut workers = Vec::new();
        for stream in (0..streams).filter(|_| options.ingest) {
            let worker = WorkerOptions {
                catalog: Arc::clone(&options.catalog),
                stream,
                log: Arc::clone(&log),
                store: Arc::clone(&store),
                clock: options.clock.clone(),
                progress: Arc::clone(&progress[stream]),
                wake: Arc::clone(&wakes[stream]),
                policy: options.policy,
            };
            let runtime = Handle::current();
            let start = || Worker::start(worker, &runtime);
            workers.push(tokio::task::block_in_place(start)?);
        }
        let running: Vec<_> = workers.iter().map(|_| Arc::new(AtomicBool::new(true))).collect();
        let serving = Serving {
            catalog: Arc::clone(&options.catalog),
            store,
            clock: options.clock.clone(),
            max_staleness_us: i64::try_from(options.max_staleness.as_micros()).unwrap_or(i64::MAX),
        };
        let pusher =
            Pusher { catalog: options.catalog, log, clock: options.clock, progress, wakes };
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

    fn watch(&mut self) {
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

/// Opens the state and the log at a place.
fn open(place: &Place) -> Result<(Arc<dyn Store>, Log), StoreError> {
    match place {
        Place::Memory => Ok((Arc::new(MemoryStore::new()), Log::in_memory()?)),
        Place::Embedded(dir) => {
            let store = EmbeddedStore::open(dir, Options::STATE)?;
            Ok((Arc::new(store), Log::open(dir, Options::LOG)?))
        }
    }
}
