//! A process that may not have more memory than so much, under callers who would fill any: it sheds
//! what it has no room for and lives. `TRUEUP_MEMORY_SECONDS` makes a long run of it.

use crate::support::{Server, payment};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use trueup::client::{Client, ClientOptions};

/// What the process may have: what docs/operations.md says that a server needs besides its store.
const LIMIT_BYTES: u64 = 3 << 29;

/// How long the callers go on unless the variable says.
const SECONDS: u64 = 5;

/// The largest call for features, and the largest push.
const FEATURES_BYTES: usize = 4 << 20;
const PUSH_BYTES: usize = 16 << 20;

/// Callers of each kind: together their bodies are four times what is taken in.
const SLOW: usize = 96;
const LARGE: usize = 48;
const PUSHING: usize = 32;
const DEAF: usize = 32;
const HALF_OPEN: usize = 1_000;

/// Longer than any of the server's own times, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of the questions of one who pays.
#[derive(Default)]
struct Counts {
    right: AtomicU64,
    refused: AtomicU64,
    shed: AtomicU64,
}

/// Row 65: what callers sent was kept until the kernel ended the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_may_have_little_memory_sheds_load_and_lives() {
    let (server, _folder) = Server::limited(&format!("--data={LIMIT_BYTES}"));
    server.push("payments", json!([payment(1, 60, "1.00"), payment(2, 30, "1.00")])).await;
    let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
    let mut callers = crowd(server.address, &over, &counts);
    let seconds = std::env::var("TRUEUP_MEMORY_SECONDS").map_or(SECONDS, |said| {
        said.parse().expect("TRUEUP_MEMORY_SECONDS is a number of seconds")
    });
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        ask(&server.client, &counts).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Relaxed);
    callers.abort_all();
    while callers.join_next().await.is_some() {}
    let [right, refused, shed] =
        [&counts.right, &counts.refused, &counts.shed].map(|count| count.load(Relaxed));
    let (resident, data) = (server.most_kib(), server.memory_kib("VmData"));
    println!(
        "{seconds} s: one who pays was answered {right} times and refused {refused} times; of the \
         others {shed} were shed; {resident} KiB resident at most, {data} KiB of data at the end"
    );
    assert!(right > 0, "one who pays has an answer");
    assert!(shed > 0, "there was more than is taken in");
    let began = Instant::now();
    loop {
        let row = server.ask("risk", json!({ "rows": [payment(9, 0, "1.00")] })).await;
        assert_eq!(row["features"]["payments_last_hour"], 3);
        let reply = server.send("GET", "/metrics", None, "").await;
        if String::from_utf8_lossy(&reply.body).contains("\ntrueup_body_bytes 0\n") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "room is given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One small question. A reply that is neither right nor a refusal in words ends the test, as does
/// none at all.
async fn ask(client: &Client, counts: &Counts) {
    let body = json!({ "rows": [payment(9, 0, "1.00")], "deadline_ms": 1_000 }).to_string();
    let json = Some("application/json");
    let reply = client.request(Method::POST, "/v1/features/risk", json, body.into()).await.unwrap();
    let said: Value = serde_json::from_slice(&reply.body).unwrap();
    match reply.status {
        StatusCode::OK => {
            let row = &said["rows"][0];
            let told = &row["statuses"]["payments_last_hour"];
            assert!(row["features"]["payments_last_hour"] == 3 || *told != Value::Null, "{said}");
            counts.right.fetch_add(1, Relaxed);
        }
        StatusCode::SERVICE_UNAVAILABLE => drop(counts.refused.fetch_add(1, Relaxed)),
        _ => panic!("{said}"),
    }
}

/// All who want more than there is, until it is over.
fn crowd(address: SocketAddr, over: &Arc<AtomicBool>, counts: &Arc<Counts>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    let large = large();
    for _ in 0..SLOW {
        callers.spawn(slow(address, Arc::clone(over)));
    }
    for (many, path, body) in
        [(LARGE, "/v1/features/risk", large.clone()), (PUSHING, "/v1/events/payments", no_events())]
    {
        let options = ClientOptions {
            base_url: format!("http://{address}"),
            connections: many,
            timeout: PATIENCE,
            ..ClientOptions::default()
        };
        let client = Client::new(&options).unwrap();
        for _ in 0..many {
            let (client, body, over) = (client.clone(), body.clone(), Arc::clone(over));
            let counts = Arc::clone(counts);
            callers.spawn(async move {
                while !over.load(Relaxed) {
                    let json = Some("application/json");
                    let sent = client.request(Method::POST, path, json, body.clone()).await;
                    // One that is refused before all of it is sent may find its connection closed.
                    let shed = sent.map_or(true, |reply| reply.status.is_server_error());
                    counts.shed.fetch_add(u64::from(shed), Relaxed);
                }
            });
        }
    }
    for _ in 0..DEAF {
        callers.spawn(deaf(address, large.clone(), Arc::clone(over)));
    }
    for _ in 0..HALF_OPEN {
        callers.spawn(half_open(address, Arc::clone(over)));
    }
    callers
}

/// As many rows as a call may have, with texts that fill it.
fn large() -> Bytes {
    let text = "x".repeat(FEATURES_BYTES / 1_000 - 200);
    let rows: Vec<Value> = (0..1_000)
        .map(|id| {
            let mut row = payment(10 + id, id % 60, "1.00");
            row["merchant"] = text.as_str().into();
            row
        })
        .collect();
    let body = json!({ "rows": rows }).to_string();
    assert!(body.len() < FEATURES_BYTES && body.len() > FEATURES_BYTES / 2);
    body.into()
}

/// A push as large as one may be that is JSON but for its last byte: read whole, and not kept.
fn no_events() -> Bytes {
    let event = format!("{},", payment(1, 60, "1.00"));
    let many = (PUSH_BYTES - 100) / event.len();
    format!("{{\"events\":[{}]]", event.repeat(many).trim_end_matches(',')).into()
}

fn head(path: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\n\r\n"
    )
}

/// Sends all of a body but its end, again and again.
async fn slow(address: SocketAddr, over: Arc<AtomicBool>) {
    let part = vec![b' '; FEATURES_BYTES - 1];
    while !over.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let head = head("/v1/features/risk", FEATURES_BYTES);
        // It may be refused in the middle.
        if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&part).await.is_ok()
        {
            let _ = stream.read(&mut [0; 1_024]).await;
        }
    }
}

/// Asks much and takes nothing of the reply until its connection is closed.
async fn deaf(address: SocketAddr, body: Bytes, over: Arc<AtomicBool>) {
    while !over.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let head = head("/v1/features/risk", body.len());
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        };
        if sent.await.is_ok() {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
}

/// Opens a connection and sends half a head, again and again.
async fn half_open(address: SocketAddr, over: Arc<AtomicBool>) {
    while !over.load(Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let _ = stream.write_all(b"POST /v1/features/risk HTTP/1.1\r\nx-slow: ").await;
        let _ = stream.read(&mut [0; 1]).await;
    }
}
