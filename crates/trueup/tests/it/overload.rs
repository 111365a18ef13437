//! Too much, too slow, too many: what callers may do to a server, meaning well or not, and what
//! must not come of it for the others. How much is answered under how much load is measured by the
//! bench `overload`.

use crate::support::{SQL, Server, options, payment};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trueup::client::{Client, ClientOptions};

/// Longer than any of the server's own times, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Part of a head.
const HALF_A_HEAD: &[u8] = b"POST /v1/features/risk HTTP/1.1\r\nhost: x\r\nx-slow: ";

/// A whole one, of a request without a body.
const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

/// Row 51: all of a crowd waited until all were late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_in_part_and_refused_in_part_and_probes_get_through() {
    let server = Server::start(options(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    let rows: Vec<_> = (0..1_000).map(|id| payment(10 + id, id % 60, "1.00")).collect();
    let body = Bytes::from(json!({ "rows": rows }).to_string());
    let options = ClientOptions {
        base_url: format!("http://{}", server.address),
        connections: 200,
        timeout: PATIENCE,
        ..ClientOptions::default()
    };
    let crowd = Client::new(&options).unwrap();
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let (client, body) = (crowd.clone(), body.clone());
            tokio::spawn(async move {
                let json = Some("application/json");
                client.request(Method::POST, "/v1/features/risk", json, body).await.unwrap()
            })
        })
        .collect();
    for path in ["/livez", "/readyz", "/metrics", "/livez"] {
        assert_eq!(server.send("GET", path, None, "").await.status, StatusCode::OK, "{path}");
    }
    let (mut answered, mut refused, mut ids) = (0, 0, BTreeSet::new());
    for one in asked {
        let reply = one.await.unwrap();
        let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
        if reply.status == StatusCode::OK {
            answered += 1;
            assert!(ids.insert(id));
            continue;
        }
        refused += 1;
        let said = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
        assert_eq!(reply.headers["retry-after"], "1");
        assert!(said.contains("urn:trueup:problem:busy") && said.contains(&id), "{said}");
        assert!(ids.insert(id));
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    let row = server.ask("risk", json!({ "rows": [payment(2, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2);
    let said = metrics(&server).await;
    let counted = |why| value(&said, &format!("trueup_refused_total{{why=\"{why}\"}}"));
    assert_eq!(counted("queue") + counted("late"), refused, "{said}");
    assert_eq!(value(&said, "trueup_answers_admitted_total"), answered + 1);
    assert_eq!(value(&said, "trueup_answers_waiting"), 0);
    assert_eq!(value(&said, "trueup_body_bytes"), 0);
    server.stop().await;
}

/// Row 50: a head of which a byte came now and then held its connection for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_bring_its_first_request_is_closed_and_callers_are_not() {
    let server = Server::start(options(SQL)).await;
    let mut caller = connect(server.address).await;
    assert_alive(&mut caller).await;
    let mut slow = Vec::new();
    for number in 0..50 {
        let mut stream = connect(server.address).await;
        if number % 2 == 0 {
            stream.write_all(HALF_A_HEAD).await.unwrap();
        }
        slow.push(tokio::spawn(closed_while_trickling(stream, number % 2 == 0)));
    }
    for id in 0..20 {
        let row = server.ask("risk", json!({ "rows": [payment(id, 0, "1.00")] })).await;
        assert_eq!(row["features"]["payments_last_hour"], 1);
    }
    for one in slow {
        one.await.unwrap();
    }
    assert_alive(&mut caller).await;
    let said = metrics(&server).await;
    assert_eq!(value(&said, "trueup_connections_total{what=\"silent\"}"), 50, "{said}");
    server.stop().await;
}

/// Row 50: five hundred bodies of which nothing came took all the places that there were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_takes_no_place_and_ends_in_time() {
    let server = Server::start(options(SQL)).await;
    let head =
        "POST /v1/features/risk HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"rows\": ";
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(server.address).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    until(&server, |said| value(said, "trueup_body_bytes") == 20 * 9).await;
    assert_eq!(value(&metrics(&server).await, "trueup_under_way{kind=\"answers\"}"), 0);
    server.ask("risk", json!({ "rows": [payment(1, 0, "1.00")] })).await;
    for mut stream in slow {
        let said = read_to_end(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    assert_eq!(value(&metrics(&server).await, "trueup_body_bytes"), 0);
    server.stop().await;
}

/// Row 50: a caller that read nothing of its reply held it in memory for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_takes_nothing_of_its_reply_is_let_go() {
    let server = Server::start(options(SQL)).await;
    let events = |first: i64| {
        (first..first + 5_000).map(|id| payment(id, 1, "1.00")).collect::<Vec<_>>().into()
    };
    for first in [0, 5_000] {
        server.push("payments", events(first)).await;
    }
    let mut stream = connect(server.address).await;
    let ask = b"GET /v1/events/payments HTTP/1.1\r\nhost: x\r\n\r\n";
    // More replies than the buffers between them have room for.
    for _ in 0..40 {
        stream.write_all(ask).await.unwrap();
    }
    let open = value(&metrics(&server).await, "trueup_connections");
    until(&server, |said| value(said, "trueup_connections") == open - 1).await;
    drop(stream);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_signal_to_stop_what_is_under_way_is_answered_and_what_is_idle_is_closed() {
    let server = Server::start(options(SQL)).await;
    let address = server.address;
    let mut idle = connect(address).await;
    assert_alive(&mut idle).await;
    let body = json!({ "rows": [payment(1, 0, "1.00")] }).to_string();
    let (first, rest) = body.split_at(10);
    let mut busy = connect(address).await;
    let length = body.len();
    let head =
        format!("POST /v1/features/risk HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    busy.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    until(&server, |said| value(said, "trueup_body_bytes") == 10).await;
    let stopped = tokio::spawn(server.stop());
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
    busy.write_all(rest.as_bytes()).await.unwrap();
    let said = read_to_end(&mut busy).await;
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("connection: close"), "{said}");
    stopped.await.unwrap();
}

/// Row 50: connections that asked nothing were all that there could be, and kept everybody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_half_open_connections_than_there_may_be_keep_no_newcomer_out() {
    let (server, _folder) = process();
    let mut half_open = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        let mut stream = connect(server.address).await;
        // The oldest have been closed to make room.
        let _ = stream.write_all(HALF_A_HEAD).await;
        half_open.push(stream);
    }
    let row = server.ask("risk", json!({ "rows": [payment(1, 0, "1.00")] })).await;
    assert!(row["status"].is_string());
    let said = metrics(&server).await;
    assert!(value(&said, "trueup_connections_total{what=\"evicted\"}") >= CONNECTIONS, "{said}");
    assert!(value(&said, "trueup_connections") <= CONNECTIONS, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_all_connections_taken_by_callers_hears_it_at_once() {
    let (server, _folder) = process();
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut caller = connect(server.address).await;
        assert_alive(&mut caller).await;
        callers.push(caller);
    }
    let said = read_to_end(&mut connect(server.address).await).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 1"), "{said}");
    assert_alive(&mut callers[0]).await;
    callers.pop();
    let began = Instant::now();
    let is_in = async || {
        let reply = server.client.request(Method::GET, "/livez", None, Bytes::new()).await;
        reply.is_ok_and(|reply| reply.status == StatusCode::OK)
    };
    while !is_in().await {
        assert!(began.elapsed() < PATIENCE, "its place is free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Row 64: accepting was tried again and again, and took the core that ingest needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_descriptors_pauses_before_it_accepts_again_and_ingest_goes_on() {
    let (server, _folder) = process();
    assert_eq!(server.send("GET", "/livez", None, "").await.status, StatusCode::OK);
    let began = Instant::now();
    server.limit_files("3:64");
    let mut callers = Vec::new();
    for _ in 0..5 {
        let mut caller = connect(server.address).await;
        caller.write_all(LIVE).await.unwrap();
        callers.push(caller);
    }
    until(&server, |said| value(said, ACCEPT_ERRORS) > 2).await;
    let years_ago = json!([payment(1, 100_000_000, "1.00")]);
    let reply = server.push("payments", years_ago).await;
    assert_eq!((&reply["accepted"], &reply["applied"]), (&json!(1), &json!(true)));
    let errors = value(&metrics(&server).await, ACCEPT_ERRORS);
    let pauses = began.elapsed().as_millis() as u64 / 100;
    assert!(errors <= pauses + 2, "{errors} failures in {pauses} tenths of a second");
    server.limit_files("64:64");
    for mut caller in callers {
        assert_reply(&mut caller).await;
    }
}

/// The counter of failures to accept.
const ACCEPT_ERRORS: &str = "trueup_connections_total{what=\"accept_errors\"}";

/// Files that the process of these tests may have open, and the connections that follow from it.
const FILES: u64 = 64;
const CONNECTIONS: u64 = FILES / 2;

/// A process that may have few files.
fn process() -> (Server, tempfile::TempDir) {
    Server::limited(&format!("--nofile={FILES}:{FILES}"))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Asks on a connection that is kept.
async fn assert_alive(stream: &mut TcpStream) {
    stream.write_all(LIVE).await.unwrap();
    assert_reply(stream).await;
}

async fn assert_reply(stream: &mut TcpStream) {
    let mut said = Vec::new();
    while !said.ends_with(b"alive\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut said)).await;
        assert!(read.unwrap().unwrap() > 0, "{}", String::from_utf8_lossy(&said));
    }
    assert!(said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&said));
}

/// Sends a byte now and then, if it is to, until the other end has closed.
async fn closed_while_trickling(mut stream: TcpStream, trickles: bool) {
    let began = Instant::now();
    let mut byte = [0];
    loop {
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut byte)).await;
        match read {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => panic!("it was answered"),
            // What cannot be sent any more shows when it is read next.
            Err(_) if trickles => drop(stream.write_all(b"x").await),
            Err(_) => {}
        }
        assert!(began.elapsed() < PATIENCE, "it is not closed");
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    String::from_utf8(said).unwrap()
}

pub(crate) async fn metrics(server: &Server) -> String {
    let reply = server.send("GET", "/metrics", None, "").await;
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// A metric's value, which is a whole number.
pub(crate) fn value(metrics: &str, name: &str) -> u64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

/// Waits until the metrics say so.
async fn until(server: &Server, is_so: impl Fn(&str) -> bool) {
    let began = Instant::now();
    loop {
        let said = metrics(server).await;
        if is_so(&said) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
