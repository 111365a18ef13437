//! Models in the server: scores beside those of ONNX Runtime in Python, models that are replaced,
//! and what cannot be scored.

mod parity;
mod recording;
mod refusals;
mod replacing;

use crate::support::{Server, TEN, one_thread, options, packages};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trueup::node::NodeOptions;
use trueup::settings::{ModelSettings, ModelsSettings};
use trueup_sql::decode::print::Timestamp;

/// Columns of every type that a model takes, and of two that none does.
const SQL: &str = "
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, merchant VARCHAR,
  amount DECIMAL(12,2), speed DOUBLE, items BIGINT, online BOOLEAN
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, at, merchant, amount, speed, items, online,
  count(*) OVER hour AS n, sum(amount) OVER hour AS total, avg(speed) OVER hour AS mean_speed,
  amount / nullif(avg(amount) OVER hour, 0) AS ratio
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);
CREATE VIEW large AS SELECT id, amount FROM payments WHERE amount > 100";

/// How long a new file may take to be in service, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// ONNX Runtime, and makers of models.
fn onnx() -> PathBuf {
    packages("TRUEUP_TEST_ONNX", "onnx")
}

/// The library within Python's package.
fn runtime() -> PathBuf {
    let only = |folder: PathBuf, begins: &str| {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let is = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))
        };
        let found = entries.into_iter().find(is);
        found.unwrap_or_else(|| panic!("no {begins} in {}", folder.display()))
    };
    let python = only(onnx().join("lib"), "python3");
    only(python.join("site-packages/onnxruntime/capi"), "libonnxruntime.so")
}

/// Runs `models.py`, and returns what it prints.
fn python(arguments: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/score/models.py");
    let mut command = one_thread(Command::new(onnx().join("bin/python")));
    let told = command.arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}");
    String::from_utf8(told.stdout).unwrap()
}

/// Models of one or two operators, made once for a test, and a folder that a server looks at.
pub(crate) struct Shelf {
    made: tempfile::TempDir,
    served: tempfile::TempDir,
}

impl Shelf {
    pub(crate) fn new() -> Shelf {
        let shelf =
            Shelf { made: tempfile::tempdir().unwrap(), served: tempfile::tempdir().unwrap() };
        python(&[Path::new("small"), shelf.made.path()]);
        shelf
    }

    fn path(&self, name: &str) -> PathBuf {
        self.served.path().join(format!("{name}.onnx"))
    }

    /// Serves a made model under a name, as a person should who replaces one.
    pub(crate) fn put(&self, made: &str, name: &str) {
        let draft = self.served.path().join("draft");
        std::fs::copy(self.made.path().join(format!("{made}.onnx")), &draft).unwrap();
        std::fs::rename(draft, self.path(name)).unwrap();
    }

    pub(crate) fn settings(&self) -> ModelsSettings {
        ModelsSettings {
            folder: self.served.path().to_path_buf(),
            runtime: runtime(),
            threads: 1,
            each: BTreeMap::new(),
        }
    }

    async fn server(&self) -> Server {
        self.server_with(|_| {}).await
    }

    async fn server_with(&self, change: impl FnOnce(&mut NodeOptions)) -> Server {
        let mut options = options(SQL);
        options.models = Some(self.settings());
        change(&mut options);
        let server = Server::start(options).await;
        // A minute before, so that every frame has an event.
        server.push("payments", json!([payment(1, 60)])).await;
        server
    }
}

/// A payment of card 1 so many seconds before ten o'clock.
fn payment(id: i64, seconds_before: i64) -> Value {
    let at = Timestamp(TEN - seconds_before * 1_000_000).to_string();
    json!({ "id": id, "at": at, "card": 1, "merchant": "m1", "amount": "12.50", "speed": 0.5,
            "items": 3, "online": true })
}

/// Asks for the score of one payment.
async fn score(server: &Server, model: &str, row: Value) -> (StatusCode, Value) {
    let body = json!({ "rows": [row], "deadline_ms": 10_000 });
    server.post(&format!("/v1/score/{model}"), &body).await
}

/// What `/readyz?verbose` remarks of a model.
async fn remark(server: &Server, model: &str) -> String {
    let reply = server.send("GET", "/readyz?verbose", None, "").await;
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    let name = format!("model {model}");
    let part = reply["parts"].as_array().unwrap().iter().find(|part| part["part"] == name);
    part.map_or(String::new(), |part| part["remark"].as_str().unwrap().to_owned())
}

/// Waits until what is remarked of the model `fraud` is as wanted.
async fn until(server: &Server, is_wanted: impl Fn(&String) -> bool) -> String {
    let began = std::time::Instant::now();
    loop {
        let remark = remark(server, "fraud").await;
        if is_wanted(&remark) {
            return remark;
        }
        assert!(began.elapsed() < PATIENCE, "{remark:?} stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The value of a metric with these labels, 0 where there is none.
async fn metric(server: &Server, line: &str) -> f64 {
    let reply = server.send("GET", "/metrics", None, "").await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let found = text.lines().find_map(|shown| shown.strip_prefix(line)?.strip_prefix(' '));
    found.map_or(0.0, |value| value.parse().unwrap())
}

/// What settings say of a model.
pub(crate) fn said(view: Option<&str>, columns: &[&str], output: Option<&str>) -> ModelSettings {
    let columns = columns.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    ModelSettings {
        view: view.map(str::to_owned),
        columns: (!columns.is_empty()).then_some(columns),
        output: output.map(str::to_owned),
    }
}
