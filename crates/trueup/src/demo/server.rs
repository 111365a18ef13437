//! The demo's one HTTP server: a whole node, and beside its routes those of the baseline.

use super::baseline::{self, Baseline};
use crate::catalog::Catalog;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::http::App;
use crate::ingest::NewBeginning;
use crate::node::{Node, NodeError, NodeOptions};
use crate::place::{AvroStreams, BadRecords, Place, Sources};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Values older than this would be marked STALE; the worker's heartbeat comes every half second.
const MAX_STALENESS: Duration = Duration::from_secs(10);

/// The path that answers by a database without an index.
pub(super) const SCAN: &str = "/demo/scan";

/// The path that answers by a database with the right indexes.
pub(super) const INDEX: &str = "/demo/index";

/// The path that answers by the store.
pub(super) const STORE: &str = "/v1/features/fraud";

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    pub(super) app: Arc<App>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), NodeError>>,
}

impl Server {
    /// Starts a node with its state in `state`, and serves it and the baselines on a free port of
    /// this host.
    pub(super) async fn start(
        catalog: Arc<Catalog>,
        state: PathBuf,
        scan: Baseline,
        index: Baseline,
    ) -> Result<Server, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let node = Node::start(NodeOptions {
            catalog,
            place: Place::Embedded(state),
            sources: Sources::new(),
            avro: AvroStreams::new(),
            bad: BadRecords::default(),
            database: None,
            views: Default::default(),
            record_to_log: true,
            models: None,
            max_staleness: MAX_STALENESS,
            token: None,
            ingest: true,
            policy: NewBeginning::Refuse,
            clock: Clock::system(),
        })?;
        let app = Arc::clone(node.app());
        let router = node.router().merge(baseline::router([(SCAN, scan), (INDEX, index)]));
        let (stop, stopped) = oneshot::channel();
        // Stopped by word, or because nobody holds the server any more.
        let signal = async move { drop(stopped.await) };
        let serving = tokio::spawn(node.serve(listener, router, signal));
        Ok(Server { address, app, stop, serving })
    }

    /// The server's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets requests under way end, and the workers finish.
    ///
    /// # Errors
    /// What had ended a worker or the server before.
    pub async fn stop(self) -> Result<(), Failure> {
        // If it has ended already, its result tells.
        let _ = self.stop.send(());
        Ok(self.serving.await??)
    }
}
