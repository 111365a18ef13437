//! A server of the test's own on a free loopback port.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use trueup::catalog::Catalog;
use trueup::client::{Client, ClientOptions, Reply};
use trueup::clock::Clock;
use trueup::ingest::NewBeginning;
use trueup::node::{Node, NodeError, NodeOptions};
use trueup::place::{AvroStreams, BadRecords, Place, Sources};
use trueup_core::Micros;
use trueup_sql::{SourceFile, compile};

/// The folder of packages that `./test` exports in this variable, else the one of this name that it
/// has left in the target folder.
pub(crate) fn packages(variable: &str, name: &str) -> PathBuf {
    let left = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("..").join(name);
    let folder = std::env::var_os(variable).map_or_else(left, PathBuf::from);
    let remedy = format!("run ./test once, or let {variable} name a folder that it made");
    assert!(folder.join("bin/python").exists(), "no packages of {name}: {remedy}");
    folder
}

/// 2026-11-24T10:00:00Z, the time on the clocks of these servers.
pub(crate) const TEN: i64 = 1_795_514_400_000_000;

/// A stream, a second one, and views of windows over both.
pub(crate) const SQL: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, merchant VARCHAR,
  amount DECIMAL(12,2), score DOUBLE, status VARCHAR
) WITH (event_time = 'at', lateness = '1 hour');
CREATE TABLE logins (
  id VARCHAR PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, amount,
  count(*) OVER hour AS payments_last_hour,
  sum(amount) OVER hour AS amount_last_hour,
  avg(score) OVER hour AS score_last_hour,
  count(*) OVER busy AS merchant_last_hour,
  (SELECT count(*) FROM logins WHERE logins.card = payments.card
     AND logins.at BETWEEN payments.at - INTERVAL '1 hour' AND payments.at) AS logins_last_hour
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       busy AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);
CREATE VIEW approved AS
SELECT id, count(*) OVER hour AS n FROM payments WHERE status = 'approved'
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";

/// The definitions above, or others, ready to run.
pub(crate) fn catalog(sql: &str) -> Arc<Catalog> {
    let file = SourceFile { name: "test.sql".into(), text: sql.into() };
    Arc::new(Catalog::new(compile(&[file]).map_err(|errors| errors.to_string()).unwrap()))
}

/// Options of a node in memory, at ten o'clock.
pub(crate) fn options(sql: &str) -> NodeOptions {
    NodeOptions {
        catalog: catalog(sql),
        place: Place::Memory,
        sources: Sources::new(),
        avro: AvroStreams::new(),
        bad: BadRecords::default(),
        database: None,
        views: Default::default(),
        record_to_log: true,
        models: None,
        max_staleness: Duration::from_secs(10),
        token: None,
        ingest: true,
        policy: NewBeginning::Refuse,
        clock: Clock::of(|| Micros(TEN)),
    }
}

/// A running server and a client of it.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<Result<(), NodeError>>>,
    process: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Server {
    pub(crate) async fn start(options: NodeOptions) -> Server {
        let token = options.token.clone();
        Server::of(Node::start(options).unwrap(), token).await
    }

    /// Of a node that wants this token.
    pub(crate) async fn of(node: Node, token: Option<String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let router = node.router();
        let signal = async move {
            // The end of the test stops it too.
            let _ = stopped.await;
        };
        let ended = Some(tokio::spawn(node.serve(listener, router, signal)));
        let base_url = format!("http://{address}");
        let client = ClientOptions { base_url, token, ..ClientOptions::default() };
        let client = Client::new(&client).unwrap();
        Server { client, address, stop: Some(stop), ended, process: None }
    }

    /// The process of a command that says where it listens; it is killed with this.
    pub(crate) fn of_command(command: &mut Command) -> Server {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let found = said.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
        let base_url = found.expect("the command listens");
        // Whoever reads no more would make it wait for room.
        std::thread::spawn(move || said.for_each(|line| eprintln!("  | {line}")));
        let address = base_url.strip_prefix("http://").unwrap().parse().unwrap();
        let client = Client::new(&ClientOptions { base_url, ..ClientOptions::default() }).unwrap();
        Server { client, address, stop: None, ended: None, process: Some(process) }
    }

    /// The command with an embedded state in a folder of its own, under a limit as `prlimit` has
    /// it.
    pub(crate) fn limited(limit: &str) -> (Server, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
        let mut command = Command::new("prlimit");
        command.arg(limit).arg(env!("CARGO_BIN_EXE_trueup"));
        command.args(["run", "--listen", "127.0.0.1:0", "--store", "embedded:state"]);
        command.current_dir(folder.path()).env("TRUEUP_DEFINITIONS", "test.sql");
        (Server::of_command(&mut command), folder)
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Sets how many files the process may have open, `SOFT:HARD`.
    pub(crate) fn limit_files(&self, limits: &str) {
        let id = self.id();
        let mut command = Command::new("prlimit");
        command.args([format!("--pid={id}"), format!("--nofile={limits}")]);
        assert!(command.status().unwrap().success());
    }

    /// What the system says of the process's memory under a name, KiB.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The most memory that the process ever had, KiB.
    pub(crate) fn most_kib(&self) -> u64 {
        self.memory_kib("VmHWM")
    }

    /// Tells the process to stop, and says how it ended.
    #[cfg(feature = "otel")]
    pub(crate) fn end(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().unwrap();
        let told = Command::new("kill").arg(process.id().to_string()).status();
        assert!(told.unwrap().success());
        process.wait().unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.take().unwrap().await.unwrap().unwrap();
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        media: Option<&str>,
        body: impl Into<bytes::Bytes>,
    ) -> Reply {
        let method: Method = method.parse().unwrap();
        self.client.request(method, path, media, body.into()).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let reply = self.send("POST", path, Some("application/json"), body.to_string()).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    /// Pushes events and waits until they can be read.
    pub(crate) async fn push(&self, stream: &str, events: Value) -> Value {
        let path = format!("/v1/events/{stream}?wait=applied");
        let (status, reply) = self.post(&path, &json!({ "events": events })).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        reply
    }

    /// The first row's answer.
    pub(crate) async fn ask(&self, view: &str, body: Value) -> Value {
        let (status, reply) = self.post(&format!("/v1/features/{view}"), &body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        reply["rows"][0].clone()
    }
}

/// Has Python's numeric libraries compute on one thread: those of a crowd spin while they wait for
/// each other, which takes the cores from the tests beside.
pub(crate) fn one_thread(mut command: Command) -> Command {
    for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        command.env(variable, "1");
    }
    command
}

/// A payment of card 1 so many seconds before ten o'clock.
pub(crate) fn payment(id: i64, seconds_before: i64, amount: &str) -> Value {
    let at = trueup_sql::decode::print::Timestamp(TEN - seconds_before * 1_000_000).to_string();
    json!({ "id": id, "at": at, "card": 1, "merchant": "m", "amount": amount, "score": 0.5,
            "status": "approved" })
}
