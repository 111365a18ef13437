//! Feast's own Python server on the same Redis, with as many features of a card.

use crate::{command, load, scattered};
use bytes::Bytes;
use hyper::Method;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::client::Client;
use trueup::load::Load;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(120);

pub(crate) struct Feast {
    process: Child,
    base_url: String,
    columns: Vec<String>,
    cards: u64,
    folder: TempDir,
}

impl Feast {
    /// Starts it with so many worker processes.
    pub(crate) async fn start(
        redis_port: u16,
        cards: u64,
        columns: &[&str],
        workers: u32,
    ) -> Feast {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/beside/feature_repo.py");
        let mut fill = Command::new(programs.join("python"));
        fill.arg(script).arg(format!("127.0.0.1:{redis_port}")).arg(cards.to_string());
        let filled = fill.args(columns).current_dir(folder.path()).output().unwrap();
        assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut serve = Command::new(programs.join("feast"));
        serve.args(["serve", "--host", "127.0.0.1", "--no-access-log"]);
        serve.args(["--port", &port.to_string(), "--workers", &workers.to_string()]);
        let process = serve
            .current_dir(folder.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let columns = columns.iter().map(|column| format!("risk:{column}")).collect();
        let base_url = format!("http://127.0.0.1:{port}");
        let feast = Feast { process, base_url, columns, cards, folder };
        let (until, client) = (Instant::now() + START, feast.client(1));
        while client.request(Method::GET, "/health", None, Bytes::new()).await.is_err() {
            let log = std::fs::read_to_string(feast.folder.path().join("log")).unwrap();
            assert!(Instant::now() < until, "it does not answer: {log}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        feast
    }

    fn client(&self, connections: usize) -> Client {
        command::client(&self.base_url, connections)
    }

    /// Requests for all features of one of the cards.
    pub(crate) fn load(&self, connections: usize) -> Load {
        let body = |card| json!({ "features": self.columns, "entities": { "card": [card] } });
        let bodies: Vec<Bytes> =
            (0..self.cards).map(|card| body(card).to_string().into()).collect();
        let body = move |number| bodies[scattered(number, bodies.len() as u64) as usize].clone();
        let mut load = load(self.client(connections), "/get-online-features", Arc::new(body));
        load.judge = Arc::new(|_, reply| {
            let said = String::from_utf8_lossy(&reply.body);
            said.contains("PRESENT") && !said.contains("NOT_FOUND")
        });
        load
    }
}

impl Drop for Feast {
    fn drop(&mut self) {
        // Its master ends its workers when it is told to.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(&id).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

/// The programs of an environment with `feast[redis]`.
fn programs() -> PathBuf {
    let given = std::env::var_os("TRUEUP_FEAST_SERVER").map(PathBuf::from);
    let programs = given.expect(
        "TRUEUP_FEAST_SERVER names the bin folder of a Python environment: \
         python3 -m venv target/feast-server && \
         target/feast-server/bin/pip install 'feast[redis]==0.66.0'",
    );
    assert!(programs.join("feast").exists(), "{} has no feast", programs.display());
    programs
}
