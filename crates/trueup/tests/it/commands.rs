//! The command, run as a person runs it, where it once did harm in silence.

use crate::support::{SQL, Server, options, payment};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A folder with the definitions of these tests.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    folder
}

pub(crate) fn trueup(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(arguments).current_dir(folder).env("TRUEUP_DEFINITIONS", "test.sql");
    command.stdin(Stdio::null()).output().unwrap()
}

/// A bench whose figures cannot be told apart, or that leaves out what was slow, hides the fault
/// that it was made for.
#[tokio::test(flavor = "multi_thread")]
async fn bench_tells_retrieval_apart_and_measures_others_in_the_same_run() {
    let folder = folder();
    let rows: Vec<_> = (0..50).map(|id| payment(100 + id, id, "1.00")).collect();
    std::fs::write(folder.path().join("rows.jsonl"), lines(&rows)).unwrap();
    let server = Server::start(options(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    let feast = format!("http://{}", server.address);
    let bench = ["bench", "risk", "--rows", "rows.jsonl", "--seconds", "1", "--output", "json"];
    let beside = ["--floor", "--svg", "bench.svg", "--feast", &feast];
    let features = ["--feast-features", "risk:payments_last_hour", "--feast-entity"];
    let all = [&bench[..], &beside, &features, &["card"]].concat();
    let output = against(&server, folder.path(), &all).await;
    assert!(output.status.success(), "{}", said(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = told["beside"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["feast", "floor"]);
    for one in [&told, &told["beside"][0], &told["beside"][1]] {
        // Where the machine is busy otherwise, a request too many is refused, or not even sent.
        for part in ["capacity", "open_loop"] {
            let why = one[part]["first_error"].as_str();
            let is_refusal = |why: &str| why.starts_with("status 503") || why.contains("not sent");
            assert!(why.is_none_or(is_refusal), "{}", one[part]);
            assert_eq!(one[part]["errors"] == 0, why.is_none(), "{}", one[part]);
            let number = |name: &str| one[part][name].as_u64().unwrap();
            assert!(number("errors") < number("count") / 10, "{}", one[part]);
        }
        assert!(one["capacity"]["per_second"].as_f64().unwrap() > 0.0, "{one}");
    }
    let ours = &told["open_loop"];
    let ms = |value: &serde_json::Value| value["p50_ms"].as_f64().unwrap();
    assert!(ms(&ours["retrieval"]) >= ms(&ours["stages"]["compute"]), "{ours}");
    assert!(ms(&ours["retrieval"]) > 0.0 && ms(&ours["retrieval"]) <= ms(ours), "{ours}");
    let drawn = std::fs::read_to_string(folder.path().join("bench.svg")).unwrap();
    for line in ["trueup, ", "of it retrieval", "feast, ", "floor, "] {
        assert!(drawn.contains(line), "{line}");
    }
    let all = [&bench[..], &beside, &features, &["colour"]].concat();
    let output = against(&server, folder.path(), &all).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--feast-entity: the rows have no column colour"));
    server.stop().await;
}

/// Runs a command that talks to a server, away from the threads that serve.
pub(crate) async fn against(server: &Server, folder: &Path, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.address);
    let mut all: Vec<String> = arguments.iter().map(|part| part.to_string()).collect();
    all.extend(["--url".into(), url]);
    let folder = folder.to_path_buf();
    let run = move || trueup(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    format!("{out}{err}")
}

fn lines(events: &[serde_json::Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

/// A script that pushes, waits and then asks would ask a state without the events.
#[tokio::test(flavor = "multi_thread")]
async fn push_that_waits_in_vain_says_so_and_fails() {
    let folder = folder();
    std::fs::write(folder.path().join("p.jsonl"), lines(&[payment(1, 60, "1.00")])).unwrap();
    let push = ["push", "p.jsonl", "--stream", "payments", "--wait"];
    let mut serving_only = options(SQL);
    serving_only.ingest = false;
    let server = Server::start(serving_only).await;
    let output = against(&server, folder.path(), &push).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot be read yet: 0 of 1 records"), "{}", said(&output));
    server.stop().await;
    let server = Server::start(options(SQL)).await;
    let output = against(&server, folder.path(), &push).await;
    assert!(output.status.success(), "{}", said(&output));
    let row = server.ask("risk", json!({ "rows": [payment(2, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2);
    server.stop().await;
}

/// Events of one stream pushed to another were accepted without a word.
#[tokio::test(flavor = "multi_thread")]
async fn push_names_the_fields_that_the_stream_has_no_column_for() {
    let folder = folder();
    let mut event = payment(1, 60, "1.00");
    event["colour"] = "red".into();
    std::fs::write(folder.path().join("p.jsonl"), lines(&[event])).unwrap();
    let csv = "id,at,card,shade\n2,2026-11-24T09:00:00Z,1,x\n";
    std::fs::write(folder.path().join("p.csv"), csv).unwrap();
    let server = Server::start(options(SQL)).await;
    for (file, field) in [("p.jsonl", "colour"), ("p.csv", "shade")] {
        let push = ["push", file, "--stream", "payments"];
        let output = against(&server, folder.path(), &push).await;
        assert!(output.status.success(), "{}", said(&output));
        let named = format!("no columns for these fields, and ignores them: {field}");
        assert!(said(&output).contains(&named), "{}", said(&output));
    }
    let metrics = server.send("GET", "/metrics", None, String::new()).await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let counted = r#"trueup_ingest_total{stream="payments",what="unknown_fields"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    server.stop().await;
}

/// A DECIMAL of 19 digits came back as another one, and the last of two equal fields won.
#[tokio::test(flavor = "multi_thread")]
async fn get_sends_a_row_as_it_was_written() {
    let sql = "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, d DECIMAL(38,4))
               WITH (event_time = 'at');
               CREATE VIEW v AS SELECT id, d FROM t;";
    let folder = folder();
    std::fs::write(folder.path().join("test.sql"), sql).unwrap();
    let server = Server::start(options(sql)).await;
    let row = r#"{"id":1,"at":"2026-11-24T09:00:00Z","d":1234567890123456789.0001}"#;
    let output = against(&server, folder.path(), &["get", "v", "--row", row]).await;
    assert!(said(&output).contains("1234567890123456789.0001"), "{}", said(&output));
    let twice = r#"{"id":1,"id":2,"at":"2026-11-24T09:00:00Z"}"#;
    let output = against(&server, folder.path(), &["get", "v", "--row", twice]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    server.stop().await;
}

#[test]
fn simulate_begins_when_it_is_told() {
    let folder = folder();
    let simulate = ["simulate", "--events", "1", "--days", "1", "--start", "2026-10-01T00:00:00Z"];
    let output = trueup(folder.path(), &simulate);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("\"event_time\":\"2026-10-0"), "{}", said(&output));
    let output = trueup(folder.path(), &["simulate", "--start", "tomorrow"]);
    assert!(
        said(&output).starts_with("error: --start: \"tomorrow\" is no time"),
        "{}",
        said(&output)
    );
}

#[test]
fn simulate_into_a_reader_that_leaves_ends_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(["simulate", "--events", "100000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
}

/// The history would be gone, and with it what the training set was made from.
#[test]
fn train_never_writes_over_what_it_reads() {
    let folder = folder();
    let csv = "id,at,card,amount\n1,2026-11-24T09:00:00Z,1,2.50\n";
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("all")).unwrap();
    for name in ["p.csv", "r.csv", "all/p.csv"] {
        std::fs::write(path(name), csv).unwrap();
    }
    std::fs::write(path("l.csv"), "id,at,card\nx,2026-11-24T09:00:00Z,1\n").unwrap();
    let train = |history: &str, out: &str| {
        let logins = ["--history", "logins=l.csv", "--rows", "r.csv"];
        let command = ["train", "risk", "--history", history, "--out", out];
        trueup(folder.path(), &[&command[..], &logins].concat())
    };
    for (history, out) in [
        ("p.csv", "./p.csv"),
        ("payments=p.csv", "p.csv"),
        ("all", "all/p.csv"),
        ("p.csv", "r.csv"),
    ] {
        let output = train(history, out);
        assert_eq!(output.status.code(), Some(1), "{out}: {}", said(&output));
        assert!(said(&output).contains("would overwrite"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(path(out)).unwrap(), csv);
    }
    let output = train("p.csv", "t.csv");
    assert!(output.status.success(), "{}", said(&output));
}

/// A training set of no rows, and success.
#[test]
fn train_on_a_file_of_something_else_fails_and_writes_nothing() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("l.csv"), "id,at,card\nx,2026-11-24T09:00:00Z,1\n").unwrap();
    std::fs::write(path("p.csv"), "id,at,card\nx,y,z\nu,v,w\n").unwrap();
    let histories = ["--history", "p.csv", "--history", "logins=l.csv"];
    let output =
        trueup(folder.path(), &[&["train", "risk"][..], &histories, &["--out", "t.csv"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("none of the 2 rows"), "{}", said(&output));
    assert!(said(&output).contains("p.csv, line 2"), "{}", said(&output));
    assert!(!path("t.csv").exists());
}
