//! A server in a process of its own, so that it can be killed: this test binary again, told by
//! variables of its environment to serve a directory.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use trueup::catalog::Catalog;
use trueup::client::{Client, ClientOptions};
use trueup::clock::Clock;
use trueup::ingest::NewBeginning;
use trueup::node::{Node, NodeOptions};
use trueup::place::{AvroStreams, BadRecords, Place, Sources};
use trueup_sql::{SourceFile, compile};

/// The directory that the child is to serve.
const SERVE: &str = "TRUEUP_TEST_SERVE";

/// Where the child is to die by itself, as `trueup::fault` reads it.
const CRASH: &str = "TRUEUP_CRASH";

/// What the child says before its address.
const LISTENING: &str = "listening on ";

/// How long a request to a child may take: a killed one breaks the connection at once.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running child. It is killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) client: Client,
}

impl Server {
    /// Starts a child on a directory, with `pay.sql`; `crash` says where it is to die by itself,
    /// which takes the feature `testing`.
    /// Returns how it ended if it did so before it listened.
    pub(crate) fn start(folder: &Path, crash: Option<&str>) -> Result<Server, ExitStatus> {
        if crash.is_some() && !cfg!(feature = "testing") {
            panic!("places to die are compiled with the feature `testing`: run with --all-features")
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["child::a_server_that_other_tests_kill", "--exact", "--nocapture"])
            .env(SERVE, folder)
            .env_remove(CRASH)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.envs(crash.map(|place| (CRASH, OsStr::new(place))));
        let mut process = command.spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = said.find_map(|line| {
            // The harness may have begun the line.
            Some(line.ok()?.split_once(LISTENING)?.1.trim().to_string())
        });
        let Some(base_url) = address else {
            return Err(process.wait().unwrap());
        };
        let options = ClientOptions { base_url, timeout: TIMEOUT, ..ClientOptions::default() };
        Ok(Server { process, client: Client::new(&options).unwrap() })
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap()
    }

    /// Waits for the end of a child that is to die by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The definitions that children serve.
pub(crate) fn catalog() -> Catalog {
    let text = include_str!("pay.sql").to_string();
    let compiled = compile(&[SourceFile { name: "pay.sql".into(), text }]);
    Catalog::new(compiled.unwrap_or_else(|errors| panic!("{errors}")))
}

/// The other process: told nothing, there is nothing to serve.
#[test]
fn a_server_that_other_tests_kill() {
    let Some(folder) = std::env::var_os(SERVE).map(PathBuf::from) else { return };
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = threads.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let node = Node::start(NodeOptions {
            catalog: Arc::new(catalog()),
            place: Place::Embedded(folder),
            sources: Sources::new(),
            avro: AvroStreams::new(),
            bad: BadRecords::default(),
            database: None,
            views: Default::default(),
            record_to_log: true,
            models: None,
            max_staleness: Duration::MAX,
            token: None,
            ingest: true,
            policy: NewBeginning::Refuse,
            clock: Clock::system(),
        });
        let node = node.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{LISTENING}http://{}", listener.local_addr().unwrap());
        let router = node.router();
        node.serve(listener, router, std::future::pending()).await.unwrap();
    });
}
