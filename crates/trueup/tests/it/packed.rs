//! Bodies and replies that are packed, by gzip and by zstd: they mean what plain ones mean, and
//! none is more than a plain one may be.

use crate::raw::{Raw, ask};
use crate::support::{SQL, Server, options, payment};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::io::{Read, Write, copy, repeat};
use std::net::SocketAddr;
use std::process::Command;

const CODINGS: [&str; 2] = ["gzip", "zstd"];

/// What a bomb unpacks to.
const BOMB_BYTES: u64 = 1 << 30;

/// What a process may grow by while bombs come one after the other: the largest body, as its buffer
/// doubles, beside a decoder's window.
const FLAT_KIB: u64 = 96 << 10;

fn pack(coding: &str, mut plain: impl Read) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            copy(&mut plain, &mut encoder).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            copy(&mut plain, &mut encoder).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn unpack(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => drop(MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap()),
        _ => plain = zstd::decode_all(packed).unwrap(),
    }
    plain
}

fn post(address: SocketAddr, path: &str, coding: &str, body: &[u8]) -> Raw {
    ask(address, &format!("POST {path}\ncontent-encoding: {coding}\n"), body)
}

#[track_caller]
fn assert_unreadable(reply: &Raw, part: &str) {
    let problem = reply.json();
    assert_eq!(reply.status, 400, "{problem}");
    assert_eq!(problem["at"], "body", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("plain"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_means_what_it_means_plain() {
    let server = Server::start(options(SQL)).await;
    let mut id = 0;
    for (nth, coding) in [CODINGS[0], CODINGS[1], "x-gzip", "ZSTD"].into_iter().enumerate() {
        let packer = CODINGS[nth % 2];
        let mut payments = || {
            id += 3;
            [id - 2, id - 1, id].map(|id| payment(id, 60, "1.00"))
        };
        let path = "/v1/events/payments?wait=applied";
        let events = json!({ "events": payments() }).to_string();
        let reply = post(server.address, path, coding, &pack(packer, events.as_bytes()));
        assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(3)));
        // Lines that were packed one by one, as one who logs them does.
        let lines = payments().map(|event| pack(packer, format!("{event}\n").as_bytes())).concat();
        let head = format!("POST {path}\ncontent-type: application/x-ndjson\n");
        let reply = ask(server.address, &format!("{head}content-encoding: {coding}\n"), &lines);
        assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(3)));
        let asked = json!({ "keys": [{ "card": 1 }] }).to_string();
        let asked = pack(packer, asked.as_bytes());
        let reply = post(server.address, "/v1/features/risk", coding, &asked);
        assert_eq!(reply.json()["rows"][0]["features"]["payments_last_hour"], id);
        let feast = json!({ "entities": { "card": [1] }, "features": ["risk:payments_last_hour"] });
        let feast = pack(packer, feast.to_string().as_bytes());
        let reply = post(server.address, "/get-online-features", coding, &feast);
        assert_eq!(reply.json()["results"][1]["values"][0], id, "{}", reply.json());
    }
    server.stop().await;
}

/// Row 49: a body of a thousandth of its size filled the memory, and the process was ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_zip_bomb_is_refused_at_the_bound_of_a_plain_body_and_memory_stays_flat() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.sql"), SQL).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.args(["run", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    let server =
        Server::of_command(command.args(["--definitions", "test.sql"]).current_dir(folder.path()));
    let row = json!({ "rows": [payment(1, 0, "1.00")] }).to_string();
    assert_eq!(ask(server.address, "POST /v1/features/risk\n", row.as_bytes()).status, 200);
    let before = server.most_kib();
    for coding in CODINGS {
        let bomb = pack(coding, repeat(b' ').take(BOMB_BYTES));
        let shrunk = BOMB_BYTES / bomb.len() as u64;
        assert!(shrunk > 900, "{coding} packs it {shrunk} to 1");
        for path in ["/v1/features/risk", "/v1/events/payments", "/get-online-features"] {
            for _ in 0..3 {
                let reply = post(server.address, path, coding, &bomb);
                let problem = reply.json();
                assert_eq!(reply.status, 413, "{coding} {path}: {problem}");
                assert!(problem["detail"].as_str().unwrap().contains("unpacked"), "{problem}");
            }
        }
    }
    let grown = server.most_kib() - before;
    println!("the process grew by {grown} KiB");
    assert!(grown < FLAT_KIB, "it grew by {grown} KiB");
    let metrics = String::from_utf8(ask(server.address, "GET /metrics\n", b"").body).unwrap();
    assert!(metrics.contains("\ntrueup_body_bytes 0\n"), "room was not given back:\n{metrics}");
}

/// Half a body was taken for all of it, and the events of the other half were lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_that_is_cut_or_damaged_is_refused_and_nothing_of_it_counts() {
    let server = Server::start(options(SQL)).await;
    let path = "/v1/events/payments";
    let line = |id| payment(id, 60, "1.00").to_string() + "\n";
    let lines: String = (1..50).map(line).collect();
    for coding in CODINGS {
        let head = format!(
            "POST {path}\ncontent-type: application/x-ndjson\ncontent-encoding: {coding}\n"
        );
        let whole = pack(coding, lines.as_bytes());
        for cut in [1, 2, 9, 17, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert_unreadable(&ask(server.address, &head, &whole[..cut]), coding);
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x55;
        assert_unreadable(&ask(server.address, &head, &damaged), coding);
        let behind = [&whole[..], b"behind"].concat();
        assert_unreadable(&ask(server.address, &head, &behind), coding);
        assert_unreadable(&ask(server.address, &head, lines.as_bytes()), coding);
        let many = pack(coding, &b""[..]).repeat(1_001);
        assert_unreadable(&ask(server.address, &head, &many), "1000 parts");
    }
    let other = [("gzip", "zstd"), ("zstd", "gzip")];
    for (said, is) in other {
        assert_unreadable(&post(server.address, path, said, &pack(is, lines.as_bytes())), said);
    }
    let row = server.ask("risk", json!({ "keys": [{ "card": 1 }] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 0, "something of them counts");
    server.stop().await;
}

/// A frame of a few bytes made its decoder take 128 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_wants_a_large_window_is_refused() {
    let server = Server::start(options(SQL)).await;
    let asked = json!({ "keys": [{ "card": 1 }] }).to_string();
    let of_window = |log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(asked.as_bytes()).unwrap();
        // Before the end is known, or the window would be made to fit.
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    };
    let ask = |log| post(server.address, "/v1/features/risk", "zstd", &of_window(log));
    assert_eq!(ask(23).status, 200);
    for log in [24, 27] {
        assert_unreadable(&ask(log), "memory");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_that_is_not_taken_is_refused_with_those_that_are() {
    let server = Server::start(options(SQL)).await;
    for coding in ["br", "deflate", "gzip, gzip", "gzip\ncontent-encoding: zstd"] {
        for path in ["/v1/features/risk", "/v1/events/payments", "/get-online-features"] {
            let reply = post(server.address, path, coding, b"{}");
            let problem = reply.json();
            assert_eq!(reply.status, 415, "{coding}: {problem}");
            assert_eq!(reply.header("accept-encoding"), "gzip, zstd");
            assert_eq!(problem["type"], "urn:trueup:problem:content-coding");
            assert!(problem["remedy"].as_str().unwrap().contains("gzip or zstd"), "{problem}");
        }
    }
    assert_eq!(post(server.address, "/v1/features/risk", "identity", b"{\"keys\":[]}").status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reply_is_packed_for_who_takes_it_so_and_a_small_one_never_is() {
    let server = Server::start(options(SQL)).await;
    let rows: Vec<Value> = (0..500).map(|id| payment(id, id % 60, "1.00")).collect();
    server.push("payments", rows.clone().into()).await;
    let asked = json!({ "rows": rows, "deadline_ms": 10_000 }).to_string();
    let of = |head: &str, accept: &str, body: &str| {
        ask(server.address, &format!("{head}\naccept-encoding: {accept}\n"), body.as_bytes())
    };
    let features = "POST /v1/features/risk";
    let plain = of(features, "br;q=1, gzip;q=0", &asked);
    assert_eq!((plain.status, plain.header("content-encoding")), (200, ""));
    assert_eq!(plain.header("vary"), "accept-encoding");
    for (accept, coding) in
        [("gzip", "gzip"), ("zstd", "zstd"), ("gzip, deflate, br, zstd", "zstd"), ("*", "gzip")]
    {
        for (head, body) in
            [(features, &asked[..]), ("GET /v1/events/payments", ""), ("GET /openapi.json", "")]
        {
            let reply = of(head, accept, body);
            assert_eq!(reply.header("content-encoding"), coding, "{head} {accept}");
            assert_eq!(reply.header("vary"), "accept-encoding");
            let unpacked = unpack(coding, &reply.body);
            let (large, small) = (unpacked.len(), reply.body.len());
            assert!(large > 3 * small, "{head}: {large} to {small} bytes");
            if head == features {
                let rows: Value = serde_json::from_slice(&unpacked).unwrap();
                assert_eq!(rows["rows"], plain.json()["rows"]);
                println!("{coding}: {large} to {small} bytes");
            }
        }
    }
    let one = json!({ "rows": [payment(1, 0, "1.00")] }).to_string();
    let small = of(features, "gzip, zstd", &one);
    assert_eq!((small.header("content-encoding"), small.header("vary")), ("", ""));
    assert!(small.json()["rows"][0]["features"].is_object());
    server.stop().await;
}

/// What many callers are.
#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_a_compressed_reply_to_a_compressed_request() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let server = Server::start(options(SQL)).await;
    let rows: Vec<Value> = (0..200).map(|id| payment(id, id % 60, "1.00")).collect();
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body.gz");
    let asked = json!({ "rows": rows, "deadline_ms": 10_000 }).to_string();
    std::fs::write(&body, pack("gzip", asked.as_bytes())).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--compressed", "--dump-header", "head"]);
    command.args(["--header", "content-type: application/json"]);
    command.args(["--header", "content-encoding: gzip", "--data-binary", "@body.gz"]);
    command.arg(format!("http://{}/v1/features/risk", server.address)).env("no_proxy", "*");
    command.current_dir(folder.path());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let head = std::fs::read_to_string(folder.path().join("head")).unwrap();
    assert!(
        head.contains(StatusCode::OK.as_str()) && head.contains("content-encoding: "),
        "{head}"
    );
    let reply: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(reply["rows"].as_array().unwrap().len(), 200);
    server.stop().await;
}
