//! Parts of the pipeline that are out of reach for a while, or for ever: what answers say
//! meanwhile, and that all is right afterwards.

use crate::hot;
use crate::overload;
use crate::support::{SQL, Server, TEN, options, payment};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trueup::clock::Clock;
use trueup::ingest::{IngestError, NewBeginning};
use trueup::node::{Node, NodeError, NodeOptions};
use trueup::place::{LogPlace, Place, RedisPlace, SourcePlace};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::{Cluster, Mode, Proxy, RedisServer, Setup};

/// The view's bound on staleness here.
const BOUND: Duration = Duration::from_secs(2);

/// Where payments are pushed.
const PAYMENTS: &str = "/v1/events/payments";

/// How long something may take that takes a second or two on a machine without other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose state is in Redis, on the clock of this machine.
pub(crate) fn on_redis(url: &str, data: &Path) -> NodeOptions {
    let redis = RedisPlace {
        url: url.to_owned(),
        prefix: None,
        password: None,
        ca_file: None,
        data: data.to_owned(),
    };
    let (place, clock) = (Place::Redis(redis), Clock::system());
    NodeOptions { place, clock, max_staleness: BOUND, ..options(SQL) }
}

/// How many payments of card 1 an answer counts, and its status.
async fn count(server: &Server) -> (Value, Value) {
    let at = Timestamp(TEN).to_string();
    let columns = ["payments_last_hour"];
    let body = json!({ "keys": [{ "card": 1 }], "at": at, "columns": columns,
                       "deadline_ms": 200 });
    let row = server.ask("risk", body).await;
    (row["features"]["payments_last_hour"].clone(), row["status"].clone())
}

/// Asks until it is answered so.
async fn becomes(server: &Server, expected: (Value, &str)) {
    let (value, status) = expected;
    let found = until_status(server, status, |found| *found == value).await;
    assert_eq!(found, value);
}

/// Asks until the status is this and the value is as wanted.
async fn until_status(server: &Server, status: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = count(server).await;
        if found.1 == status && wanted(&found.0) {
            return found.0;
        }
        assert!(Instant::now() < until, "{found:?} does not become {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Payments of card 1 within the hour before ten.
fn payments(ids: std::ops::Range<i64>) -> Value {
    ids.map(|id| payment(id, id % 3_000, "1.00")).collect()
}

/// Pushes without waiting until they are applied; the log has them.
async fn log(server: &Server, ids: std::ops::Range<i64>) {
    let body = json!({ "events": payments(ids.clone()) });
    let (status, reply) = server.post(PAYMENTS, &body).await;
    assert_eq!((status.as_u16(), &reply["accepted"]), (200, &json!(ids.end - ids.start)));
}

/// Row 21: a worker that holds what it cannot write would grow until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cut_off_from_redis_keeps_events_in_the_log_and_catches_up() {
    let redis = RedisServer::plain();
    let proxy = Proxy::before(redis.port());
    let folder = tempfile::tempdir().unwrap();
    let behind = format!("redis://127.0.0.1:{}", proxy.port());
    let worker = Server::start(on_redis(&behind, folder.path())).await;
    let reading = NodeOptions { ingest: false, ..on_redis(&redis.url(), folder.path()) };
    let server = Server::start(reading).await;
    log(&worker, 0..10).await;
    becomes(&server, (json!(10), "PRESENT")).await;

    proxy.set(Mode::Swallow);
    for first in (10..2_010).step_by(100) {
        log(&worker, first..first + 100).await;
    }
    // What is there is still said, and said to be old; the write that was under way may be there.
    let there = until_status(&server, "STALE", |_| true).await;
    assert!((10..=4_106).contains(&there.as_i64().unwrap()), "{there}");
    proxy.set(Mode::Pass);
    becomes(&server, (json!(2_010), "PRESENT")).await;
}

/// The first payment of the last call.
const LAST: i64 = hot::PAYMENTS - hot::CALL;

/// Payments of one call.
fn call(first: i64) -> Vec<Value> {
    (first..first + hot::CALL).map(|id| hot::payment(id, false)).collect()
}

/// So many that large writes are made of them, without waiting until they are applied.
async fn log_all_but_the_last_call(server: &Server) {
    for first in (0..LAST).step_by(hot::CALL as usize) {
        let (status, reply) = server.post(PAYMENTS, &json!({ "events": call(first) })).await;
        assert_eq!(status.as_u16(), 200, "{reply}");
    }
}

/// How often a worker has begun again from its checkpoints.
async fn rewinds(server: &Server) -> u64 {
    let name = r#"trueup_ingest_total{stream="payments",what="rewinds"}"#;
    overload::value(&overload::metrics(server).await, name)
}

/// A large write is under way while the next one is worked out. Broken off, both are made again
/// from the checkpoints; the harm is one of them that counts without the other, or twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_writes_that_are_broken_off_are_made_again_whole() {
    let redis = RedisServer::plain();
    let proxy = Proxy::before(redis.port());
    let folder = tempfile::tempdir().unwrap();
    let behind = format!("redis://127.0.0.1:{}", proxy.port());
    let options = NodeOptions { max_staleness: PATIENCE, ..on_redis(&behind, folder.path()) };
    let server = Server::start(options).await;
    proxy.set(Mode::Swallow);
    log_all_but_the_last_call(&server).await;
    let (before, until) = (rewinds(&server).await, Instant::now() + PATIENCE);
    proxy.set(Mode::Pass);
    let mut pauses = (5..50).step_by(9).cycle();
    while rewinds(&server).await < before + 5 {
        assert!(Instant::now() < until, "nothing is broken off");
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(pauses.next().unwrap_or_default())).await;
    }
    server.push("payments", json!(call(LAST))).await;
    hot::assert_all_are_right(&server, false).await;
    server.stop().await;
}

/// A large write is taken for done when it is settled, not when it is sent: a worker that begins
/// again without a pause each time takes a core and fills a log while Redis has no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_writes_that_a_full_redis_refuses_are_tried_ever_more_seldom() {
    let redis = RedisServer::plain();
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions { max_staleness: PATIENCE, ..on_redis(&redis.url(), folder.path()) };
    let server = Server::start(options).await;
    redis.command("CONFIG SET maxmemory 1");
    let before = rewinds(&server).await;
    log_all_but_the_last_call(&server).await;
    // Doubled from 20 ms to 2 s, the pauses let ten tries into eight seconds.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let tried = rewinds(&server).await - before;
    assert!((2..=20).contains(&tried), "{tried} tries");
    redis.command("CONFIG SET maxmemory 0");
    server.push("payments", json!(call(LAST))).await;
    hot::assert_all_are_right(&server, false).await;
    server.stop().await;
}

/// Row 13: a request that waits for a shard that nobody serves, or a zero for what is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_two_of_three_shards_is_unknown_in_time_and_caught_up_later() {
    let cluster = Cluster::start(&Setup::default());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(on_redis(&cluster.url(), folder.path())).await;
    log(&server, 0..10).await;
    becomes(&server, (json!(10), "PRESENT")).await;

    // The shards that have nothing of card 1 do not answer either: nobody speaks for the cluster.
    let nodes = [0, 1, 3, 4].map(|nth| &cluster.nodes[nth]);
    nodes.iter().for_each(|node| node.freeze());
    let mut marked = 0;
    for card in 0..60 {
        let body = json!({ "keys": [{ "card": card }], "columns": ["payments_last_hour"],
                           "at": Timestamp(TEN).to_string(), "deadline_ms": 100 });
        let row = server.ask("risk", body).await;
        let (value, status) = (&row["features"]["payments_last_hour"], row["status"].as_str());
        match status.unwrap() {
            "UNKNOWN" => assert_eq!((value, marked += 1), (&Value::Null, ())),
            _ => assert_eq!(*value, json!(if card == 1 { 10 } else { 0 }), "{row}"),
        }
    }
    assert!(marked > 20, "two of three shards are away: {marked} of 60 are unknown");
    log(&server, 10..500).await;
    nodes.iter().for_each(|node| node.thaw());
    cluster.wait_until_whole();
    becomes(&server, (json!(500), "PRESENT")).await;
}

/// A node whose payments come from streams of Redis.
pub(crate) fn from_streams(state: &RedisServer, log: u16, data: &Path) -> NodeOptions {
    let url = format!("redis-stream://127.0.0.1:{log}/payments");
    let place = SourcePlace::RedisStream(LogPlace { url, password: None });
    let sources = vec![(Some("payments".to_owned()), place)];
    NodeOptions { sources, ..on_redis(&state.url(), data) }
}

/// Row 36: entries are trimmed that a worker has not read yet. Passed over in silence, their
/// counts would be short for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_trimmed_before_a_worker_read_them_end_it_and_are_said_to_be_missing() {
    let (state, log_server) = (RedisServer::plain(), RedisServer::plain());
    let proxy = Proxy::before(log_server.port());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(from_streams(&state, proxy.port(), folder.path())).await;
    log(&server, 0..10).await;
    becomes(&server, (json!(10), "PRESENT")).await;

    proxy.set(Mode::Swallow);
    for id in 10..20 {
        let event = payment(id, id, "1.00").to_string();
        log_server.try_args(&["XADD", "payments", "*", "event", &event]).unwrap();
    }
    log_server.command("XTRIM payments MAXLEN 3");
    proxy.set(Mode::Pass);
    let until = Instant::now() + PATIENCE;
    let said = loop {
        let ready = server.send("GET", "/readyz?verbose", None, "").await;
        let said = String::from_utf8_lossy(&ready.body).into_owned();
        if !ready.status.is_success() && said.contains("are missing for group") {
            break said;
        }
        assert!(Instant::now() < until, "it goes on: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(said.contains("--new-beginning"), "{said}");
    // What is answered is old and says so.
    becomes(&server, (json!(10), "STALE")).await;
}

/// Row 70: the log keeps events for a shorter time than the worker was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_a_log_no_longer_has_are_a_gap_and_their_windows_unknown() {
    let (state, log_server) = (RedisServer::plain(), RedisServer::plain());
    let folder = tempfile::tempdir().unwrap();
    let node = || from_streams(&state, log_server.port(), folder.path());
    let server = Server::start(node()).await;
    log(&server, 0..10).await;
    becomes(&server, (json!(10), "PRESENT")).await;
    server.stop().await;

    for id in 10..20 {
        let event = payment(id, id, "1.00").to_string();
        log_server.try_args(&["XADD", "payments", "*", "event", &event]).unwrap();
    }
    log_server.command("XTRIM payments MAXLEN 3");
    let refused = Node::start(node());
    let Err(NodeError::Ingest(error @ IngestError::Gap { .. })) = refused else {
        panic!("it starts over a gap: {refused:?}");
    };
    let said = error.to_string();
    assert!(said.contains("payments") && said.contains("--new-beginning"), "{said}");

    let declared = NodeOptions { policy: NewBeginning::Declared, ..node() };
    let server = Server::start(declared).await;
    becomes(&server, (Value::Null, "UNKNOWN")).await;
}

/// A name for an address that moves.
const NAME: &str = "moving.test";

/// Passes connections on, from an address to a port, until it is dropped.
struct Door {
    open: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Door {
    fn open(address: SocketAddr, target: u16) -> Door {
        let listener = TcpListener::bind(address).unwrap();
        let (open, address) = (Arc::new(AtomicBool::new(true)), listener.local_addr().unwrap());
        let is_open = Arc::clone(&open);
        std::thread::spawn(move || {
            let mut passed = Vec::new();
            for client in listener.incoming().map(Result::unwrap) {
                if !is_open.load(Ordering::SeqCst) {
                    break;
                }
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                pass(&client, &server);
                pass(&server, &client);
                passed.push((client, server));
            }
            for (client, _) in passed {
                // It may be closed already.
                let _ = client.shutdown(std::net::Shutdown::Both);
            }
        });
        Door { open, address }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.store(false, Ordering::SeqCst);
        // Wakes the thread that waits for the next one.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        // Ends with the connection, whichever way that goes.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// Row 66: the name of the store stands for another address than at the start. A client that keeps
/// what it once found would be out until it is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_moved_to_another_address_is_found_by_its_name() {
    let redis = RedisServer::plain();
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, format!("127.0.0.2 {NAME}\n")).unwrap();
    let first = Door::open("127.0.0.2:0".parse().unwrap(), redis.port());
    let port = first.address.port();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    let settings = format!(
        "definitions = 'test.sql'\nstore = 'redis://{NAME}:{port}'\nlisten = '127.0.0.1:0'\n\
         max_staleness = '2s'\n"
    );
    std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
    // In a namespace of its own this process has another file of hosts than everybody else.
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$1\" run";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script]);
    command.args([hosts.as_os_str(), env!("CARGO_BIN_EXE_trueup").as_ref()]);
    let server = Server::of_command(command.current_dir(folder.path()));
    log(&server, 0..10).await;
    becomes(&server, (json!(10), "PRESENT")).await;

    drop(first);
    becomes(&server, (Value::Null, "UNKNOWN")).await;
    let _second = Door::open(SocketAddr::new("127.0.0.3".parse().unwrap(), port), redis.port());
    std::fs::write(&hosts, format!("127.0.0.3 {NAME}\n")).unwrap();
    log(&server, 10..20).await;
    becomes(&server, (json!(20), "PRESENT")).await;
}
