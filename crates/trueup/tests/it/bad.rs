//! Records that cannot be used: who is told, who stops, and how they come back once the cause is
//! mended. The harm is a topic that is drained into the dead letters overnight, a letter that is
//! lost, and one that nobody can read or send again.

use crate::pay::{Payment, START_US, counts_are_right};
use crate::support::{SQL, Server, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use trueup::node::NodeOptions;
use trueup::place::Place;
use trueup_store::testing::servers::{RedisServer, wait_until};
use trueup_store::{Log, Lot, Options};

/// Longer than hydrating a handful of events takes, on a machine that does much else.
const HYDRATED_WITHIN: Duration = Duration::from_secs(30);

/// The state and the log, in a test's folder.
const STATE: &str = "state";

/// A folder with the definitions, and an empty log.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();
    folder
}

/// Appends records as a broker would hold them: nobody has looked into them.
fn append(folder: &Path, records: impl Iterator<Item = Value>) {
    let log = Log::open(&folder.join(STATE), Options::LOG).unwrap();
    let mut lot = Lot::default();
    for record in records {
        lot.push(START_US + 20 * 86_400_000_000, record.to_string().as_bytes()).unwrap();
    }
    log.append("payments", lot).unwrap();
}

fn good(ids: std::ops::Range<i64>) -> impl Iterator<Item = Value> {
    ids.map(|id| Payment::of(id).json())
}

fn changed(ids: std::ops::Range<i64>, change: impl Fn(&mut Value)) -> impl Iterator<Item = Value> {
    good(ids).map(move |mut event| {
        change(&mut event);
        event
    })
}

/// The producer has renamed the time, which must be there.
fn without_time(event: &mut Value) {
    event["time"] = event.as_object_mut().unwrap().remove("at").unwrap();
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.envs([("TRUEUP_DEFINITIONS", "pay.sql"), ("TRUEUP_STORE", "embedded:state")]);
    command
}

fn ingest(folder: &Path, more: &[&str]) -> Output {
    command(folder, &[&["ingest"], more].concat()).output().unwrap()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    format!("{out}{err}")
}

fn letters(folder: &Path) -> u64 {
    let log = Log::open(&folder.join(STATE), Options::LOG).unwrap();
    log.dead_count("payments").unwrap().kept
}

async fn assert_counts(folder: &Path, end: i64) {
    let server = crate::child::Server::start(&folder.join(STATE), None).unwrap();
    assert!(counts_are_right(&server.client, end).await);
}

/// Row 28, first half: one bad record in a thousand is no reason to stop.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_in_a_thousand_stops_nobody() {
    let folder = folder();
    for thousand in 0..3 {
        append(folder.path(), good(thousand * 1_000..(thousand + 1) * 1_000));
        append(folder.path(), [json!({ "id": thousand })].into_iter());
    }
    let output = ingest(folder.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(letters(folder.path()), 3);
    assert_counts(folder.path(), 3_000).await;
}

/// Row 28: a producer that changed in the night would have had all its events passed over by the
/// morning.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_records_stops_the_stream_and_is_not_drained_into_the_dead_letters() {
    let folder = folder();
    append(folder.path(), good(0..1_000));
    append(folder.path(), changed(1_000..4_000, without_time));
    for _ in 0..3 {
        let output = ingest(folder.path(), &[]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("500 of the last 1000 records of stream payments"), "{text}");
        assert!(text.contains("column at: null"), "{text}");
        assert!(text.contains("--accept-bad"), "{text}");
    }
    assert_eq!(letters(folder.path()), 0, "nothing of it is passed over");
    let place = Place::Embedded(folder.path().join(STATE));
    let server = Server::start(NodeOptions { place, ..options(include_str!("pay.sql")) }).await;
    for _ in 0..100 {
        let ready = server.send("GET", "/readyz?verbose", None, "").await;
        let text = String::from_utf8_lossy(&ready.body).into_owned();
        if text.contains("cannot be used") {
            assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ready = server.send("GET", "/readyz?verbose", None, "").await;
    assert!(String::from_utf8_lossy(&ready.body).contains("--accept-bad"));
    drop(server);
    // The directory is free when the server's parts are gone.
    wait_until("the directory is free", || {
        Log::open(&folder.path().join(STATE), Options::LOG).is_ok()
    });
    let output = ingest(folder.path(), &["--accept-bad"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(letters(folder.path()), 3_000);
    assert_counts(folder.path(), 1_000).await;
}

/// Row 33: a column that a producer adds costs nobody an event, and somebody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_in_the_events_is_ignored_and_reported_once() {
    let folder = folder();
    append(folder.path(), good(0..1_000));
    assert!(ingest(folder.path(), &[]).status.success());
    let colour = |event: &mut Value| event["colour"] = json!({ "name": "crimson" });
    append(folder.path(), changed(1_000..7_000, colour));
    let output = ingest(folder.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).matches("colour").count(), 1, "{}", said(&output));
    assert!(!said(&output).contains("crimson"), "values are nobody's business");
    assert_eq!(letters(folder.path()), 0);
    assert_counts(folder.path(), 7_000).await;
}

/// Row 33: a column that went missing, or changed its type, is never a NULL or a guess.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_goes_missing_or_changes_its_type_is_dead_letters_and_then_the_stop() {
    let typed: fn(&mut Value) = |event| event["amount"] = json!({ "cents": 1 });
    for (change, why) in [(without_time as fn(&mut Value), "column at"), (typed, "column amount")] {
        let folder = folder();
        append(folder.path(), good(0..1_000));
        append(folder.path(), changed(1_000..1_050, change));
        let output = ingest(folder.path(), &[]);
        assert!(output.status.success(), "fifty may be: {}", said(&output));
        assert_eq!(letters(folder.path()), 50);
        append(folder.path(), changed(1_050..9_000, change));
        let output = ingest(folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(why), "{}", said(&output));
        assert_eq!(letters(folder.path()), 50);
        assert_counts(folder.path(), 1_000).await;
    }
}

/// A letter that only the process that filed it has is lost with its disk.
#[test]
fn letters_are_also_in_the_file_that_settings_name() {
    let folder = folder();
    append(folder.path(), good(0..10));
    append(folder.path(), changed(10..13, without_time));
    let output = ingest(folder.path(), &["--dead-letters", "file:dead.jsonl"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = std::fs::read_to_string(folder.path().join("dead.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["stream"], &lines[0]["offset"]), (&json!("payments"), &json!(10)));
    assert!(lines[0]["reason"].as_str().unwrap().starts_with("column at: "));
    assert!(lines[0]["bytes"].as_str().unwrap().starts_with("eyJ"), "base64 of an object");
}

/// A letter that is dropped because its place is away is an event that nobody ever hears of.
#[test]
fn ingest_waits_for_the_place_of_dead_letters_and_drops_none() {
    let folder = folder();
    append(folder.path(), changed(0..3, without_time));
    append(folder.path(), good(3..10));
    let mut redis = RedisServer::plain();
    let url = format!("redis-stream://127.0.0.1:{}/dead", redis.port());
    redis.kill();
    let mut process = command(folder.path(), &["ingest", "--dead-letters", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(process.try_wait().unwrap(), None, "it waits");
    redis.restart();
    assert!(process.wait().unwrap().success());
    let redis::Value::Int(there) = redis.command("XLEN dead") else { panic!("a number") };
    assert!(there >= 3, "{there}");
    assert_eq!(letters(folder.path()), 3);
}

/// Runs `dead-letters` on the definitions of a folder, away from the threads that serve.
async fn dead_letters(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder, &[&["dead-letters"], arguments].concat());
    command.env("TRUEUP_DEFINITIONS", "test.sql");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A letter that can be read but not sent again is lost all the same.
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_shown_and_pushed_again_when_the_definitions_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("test.sql"), SQL).unwrap();
    let node = |sql: &str| {
        let place = Place::Embedded(folder.join(STATE));
        NodeOptions { place, token: Some("0123456789abcdef".into()), ..options(sql) }
    };
    let server = Server::start(node(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 50, "0.125")])).await;
    let url = format!("http://{}", server.address);
    let token = folder.join("token");
    std::fs::write(&token, "0123456789abcdef").unwrap();
    let on = ["--stream", "payments", "--url", &url, "--token-file", "token"];
    let list = dead_letters(folder, &[&["list"], &on[..]].concat()).await;
    assert!(list.status.success(), "{}", said(&list));
    assert!(said(&list).contains("0\t2026-11-24T10:00:00"), "{}", said(&list));
    assert!(said(&list).contains("1 of 1 dead letters"), "{}", said(&list));
    assert!(!said(&list).contains("0.125,"), "a list shows no bytes");
    let show = dead_letters(folder, &[&["show", "0"], &on[..]].concat()).await;
    assert!(said(&show).contains("\"amount\":\"0.125\""), "{}", said(&show));
    let again = dead_letters(folder, &[&["replay"], &on[..]].concat()).await;
    assert_eq!(again.status.code(), Some(3), "{}", said(&again));
    assert!(said(&again).contains("0 taken, 1 refused again"), "{}", said(&again));
    let without = dead_letters(folder, &["list", "--url", &url]).await;
    assert!(said(&without).contains("401"), "{}", said(&without));
    let locked = dead_letters(folder, &["list"]).await;
    let pid = std::process::id().to_string();
    assert!(said(&locked).contains(&format!("in use by process {pid}")), "{}", said(&locked));
    assert!(said(&locked).contains("--url"), "{}", said(&locked));
    server.stop().await;

    let mended = SQL.replace("amount DECIMAL(12,2)", "amount DECIMAL(14,3)");
    std::fs::write(folder.join("test.sql"), &mended).unwrap();
    // While nothing runs: into the log, for the next start to apply.
    let list = dead_letters(folder, &["list", "--stream", "payments", "--output", "json"]).await;
    let page: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(page["letters"][0]["reason"].as_str().unwrap().find("column amount"), Some(0));
    let again = dead_letters(folder, &["replay", "0", "--stream", "payments"]).await;
    assert!(again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("1 taken, 0 refused again"), "{}", said(&again));
    let list = dead_letters(folder, &["list", "--stream", "payments"]).await;
    assert!(said(&list).contains("0 of 0 dead letters"), "{}", said(&list));
    let server = Server::start(node(&mended)).await;
    server.push("payments", json!([payment(3, 40, "1.00")])).await;
    // The old definitions, which cannot use it, answer until the mended ones have caught up.
    let until = std::time::Instant::now() + HYDRATED_WITHIN;
    loop {
        let row = server.ask("risk", json!({ "rows": [payment(4, 0, "1.00")] })).await;
        if row["features"]["payments_last_hour"] == 4 {
            break;
        }
        assert!(std::time::Instant::now() < until, "{row}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}

/// Nobody could tell whether a worker that serves nobody goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_applies_shows_its_health_its_lag_and_its_letters_where_it_is_told() {
    use std::io::{BufRead, BufReader};
    let folder = folder();
    let redis = RedisServer::plain();
    let source = format!("redis-stream://127.0.0.1:{}/pay", redis.port());
    for event in good(0..5).chain([json!({ "id": 7 })]) {
        redis.try_args(&["XADD", "pay", "*", "event", &event.to_string()]).unwrap();
    }
    let arguments =
        ["ingest", "--source", &source, "--listen", "127.0.0.1:0", "--max-staleness", "1d"];
    let mut process = command(folder.path(), &arguments)
        .env("TRUEUP_TOKEN", "0123456789abcdef")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
    let base_url =
        said.find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.trim().to_string()));
    let base_url = base_url.unwrap();
    let client = |token: Option<&str>| {
        let (base_url, token) = (base_url.clone(), token.map(str::to_owned));
        let options = trueup::client::ClientOptions { base_url, token, ..Default::default() };
        trueup::client::Client::new(&options).unwrap()
    };
    let (known, stranger) = (client(Some("0123456789abcdef")), client(None));
    let get = async |client: &trueup::client::Client, path: &str| {
        let reply = client.request(hyper::Method::GET, path, None, bytes::Bytes::new()).await;
        let reply = reply.unwrap();
        (reply.status.as_u16(), String::from_utf8_lossy(&reply.body).into_owned())
    };
    assert_eq!(get(&stranger, "/livez").await, (200, "alive\n".to_string()));
    let applied = r#"trueup_partition_lag_records{partition="0",stream="payments"} 0"#;
    let mut metrics = String::new();
    for _ in 0..200 {
        metrics = get(&known, "/metrics").await.1;
        if metrics.contains(applied) && metrics.contains(r#"what="dead_letters"} 1"#) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(metrics.contains(applied), "{metrics}");
    assert!(metrics.contains("trueup_partition_lag_seconds{"), "{metrics}");
    assert_eq!(get(&stranger, "/readyz").await.0, 200);
    let (status, letters) = get(&known, "/v1/dead-letters/payments").await;
    assert_eq!(status, 200);
    assert!(letters.contains("column at: NULL"), "{letters}");
    for path in ["/metrics", "/v1/dead-letters/payments"] {
        assert_eq!(get(&stranger, path).await.0, 401, "{path}");
    }
    let (status, problem) = get(&known, "/v1/views").await;
    assert_eq!(status, 404);
    assert!(problem.contains("GET /metrics") && !problem.contains("features"), "{problem}");
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(process.wait().unwrap().success());
}
