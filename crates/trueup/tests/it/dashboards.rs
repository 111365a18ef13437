//! The alerts and the dashboard of `ops/`: Prometheus takes them, they fire when they should, and a
//! running server exports what they look at.

use crate::support::{SQL, Server, TEN, options, payment};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use trueup::database::DatabasePlace;
use trueup::node::NodeOptions;
use trueup::serve::{Bounds, Status};
use trueup::settings::DatabaseSettings;
use trueup_sql::decode::print::Timestamp;

fn ops(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops").join(file)
}

fn promtool(args: &[&str], file: &Path) {
    let mut command = Command::new("promtool");
    let told = command.args(args).arg(file).output().expect(
        "promtool is missing; ./test installs it with Debian's package prometheus, or put it on \
         the path",
    );
    let said = [told.stdout, told.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(told.status.success(), "{}: {}", file.display(), said.concat());
}

/// The expressions of the dashboard's panels.
fn panels() -> Vec<String> {
    let text = std::fs::read_to_string(ops("grafana/trueup.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let all: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_string()).collect();
    assert!(all.len() >= 12, "only {} expressions", all.len());
    all
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    promtool(&["check", "rules"], &ops("prometheus/alerts.yml"));
    promtool(&["test", "rules"], &ops("prometheus/alerts.test.yml"));
}

#[test]
fn prometheus_understands_every_panel_of_the_dashboard() {
    let rule = |(number, expr): (usize, String)| {
        let variables = [("$__rate_interval", "5m"), ("$view", ".*"), ("$stream", ".*")];
        let expr = variables.iter().fold(expr, |expr, (name, value)| expr.replace(name, value));
        assert!(!expr.contains('$'), "{expr}");
        json!({ "record": format!("panel:{number}"), "expr": expr })
    };
    let rules: Vec<Value> = panels().into_iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules"], file.path());
}

/// The names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("trueup_")).collect()
}

/// The values that selectors in a text give for a label.
fn values<'t>(text: &'t str, label: &str) -> BTreeSet<&'t str> {
    let ends = [format!("{label}=\""), format!("{label}=~\"")];
    let after = ends.iter().flat_map(|end| text.split(end.as_str()).skip(1));
    after.flat_map(|rest| rest.split('"').next().unwrap_or_default().split('|')).collect()
}

/// A database with the tables of the streams, and nothing in them.
fn database(folder: &Path) -> DatabaseSettings {
    let path = folder.join("events.db");
    let tables = "CREATE TABLE payments (id, at, card, merchant, amount, score, status);
                  CREATE TABLE logins (id, at, card);";
    rusqlite::Connection::open(&path).unwrap().execute_batch(tables).unwrap();
    let micros = Some(trueup_sql::EpochUnit::Micros);
    let table = || trueup::database::TableSettings { time_unit: micros, ..Default::default() };
    DatabaseSettings {
        place: DatabasePlace::Sqlite(path),
        tables: ["payments", "logins"].map(|name| (name.to_string(), table())).into(),
        bounds: Bounds::default(),
        verify_per_million: 0,
        write_back: true,
        max_staleness: Duration::from_secs(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_exports_what_alerts_and_dashboard_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let database = Some(database(folder.path()));
    let server = Server::start(NodeOptions { database, ..options(SQL) }).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "x")])).await;
    let long_ago = Timestamp(TEN - 86_400_000_000).to_string();
    server.ask("risk", json!({ "keys": [{ "card": 1 }], "at": long_ago })).await;
    let reply = server.send("GET", "/metrics", None, "").await;
    let shown = String::from_utf8(reply.body.to_vec()).unwrap();
    server.stop().await;

    let rules = std::fs::read_to_string(ops("prometheus/alerts.yml")).unwrap();
    let looked_at = format!("{rules}\n{}", panels().join("\n"));
    let missing: Vec<&str> = metrics(&looked_at).difference(&metrics(&shown)).copied().collect();
    assert!(missing.is_empty(), "no server exports {missing:?}:\n{shown}");
    for label in ["what", "stage"] {
        let missing: Vec<&str> =
            values(&looked_at, label).difference(&values(&shown, label)).copied().collect();
        assert!(missing.is_empty(), "no {label} is {missing:?}:\n{shown}");
    }
    let statuses = Status::ALL.map(Status::name).into_iter().collect();
    assert!(values(&looked_at, "status").is_subset(&statuses));
}
