//! Bad HTTP input: a problem document with the right status, the place and the remedy; never a 500,
//! never a panic, nothing lost.

use crate::support::{SQL, Server, options, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const JSON: Option<&str> = Some("application/json");

/// A request that must be refused: method, path, content type, body; the status, a part of the
/// place, a part of the whole document.
type Case =
    (&'static str, &'static str, Option<&'static str>, String, u16, &'static str, &'static str);

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn rows(count: usize) -> String {
    json!({ "rows": vec![payment(1, 0, "1.00"); count] }).to_string()
}

fn with(column: &str, value: Value) -> String {
    let mut row = payment(1, 0, "1.00");
    row[column] = value;
    json!({ "rows": [row] }).to_string()
}

fn without(column: &str) -> String {
    let mut row = payment(1, 0, "1.00");
    row.as_object_mut().unwrap().remove(column);
    json!({ "rows": [row] }).to_string()
}

fn recorded(body: String) -> String {
    body.replace("\"rows\"", "\"record\": true, \"rows\"")
}

const F: &str = "/v1/features/risk";
const E: &str = "/v1/events/payments";

fn s(text: &str) -> String {
    text.to_string()
}

fn of_features() -> Vec<Case> {
    vec![
        ("POST", F, JSON, s(""), 400, "body", "rows"),
        ("POST", F, JSON, s("{\"rows\": ["), 400, "body, line 1", "remedy"),
        ("POST", F, JSON, s("[]"), 400, "body", "rows"),
        ("POST", F, JSON, s("{}"), 400, "body", "neither"),
        ("POST", F, JSON, s("{\"rows\": [], \"keys\": []}"), 400, "body", "both"),
        ("POST", F, JSON, s("{\"rows\": [], \"rows\": []}"), 400, "body", "duplicate"),
        ("POST", F, JSON, s("{\"row\": []}"), 400, "body", "row"),
        ("POST", F, JSON, s("{\"rows\": [], \"explain\": \"all\"}"), 400, "body", "true, false or"),
        ("POST", F, JSON, s("{\"rows\": [], \"at\": 1}"), 400, "at", "keys"),
        ("POST", F, JSON, s("{\"rows\": [], \"deadline_ms\": 0}"), 400, "deadline_ms", "10000"),
        ("POST", F, JSON, s("{\"rows\": [], \"record\": \"yes\"}"), 400, "body", "boolean"),
        ("POST", F, JSON, s("{\"keys\": [], \"record\": true}"), 400, "body, record", "rows"),
        ("POST", F, JSON, s("{\"record\": true}"), 400, "body", "neither"),
        ("POST", F, JSON, recorded(without("at")), 422, "rows[0].at", "repeated"),
        ("POST", F, JSON, recorded(with("card", Value::Null)), 422, "rows[0].card", "recorded"),
        ("POST", F, JSON, s("{\"rows\": [1]}"), 422, "rows[0]", "object"),
        ("POST", F, JSON, format!("{{\"rows\": [{}]}}", nested(100_000)), 422, "rows[0]", "object"),
        ("POST", F, JSON, nested(100_000), 400, "body", "remedy"),
        ("POST", F, JSON, rows(1_001), 413, "body, rows", "1000"),
        ("POST", F, JSON, rows(10_000), 413, "body, rows", "1000"),
        ("POST", F, JSON, with("card", json!("x")), 422, "rows[0].card", "BIGINT"),
        ("POST", F, JSON, with("card", json!(1.5)), 422, "rows[0].card", "BIGINT"),
        ("POST", F, JSON, with("card", json!({ "a": 1 })), 422, "rows[0].card", "object"),
        ("POST", F, JSON, with("card", Value::Null), 422, "rows[0].card", "NOT NULL"),
        ("POST", F, JSON, without("card"), 422, "rows[0].card", "NOT NULL"),
        ("POST", F, JSON, without("id"), 422, "rows[0].id", "NOT NULL"),
        ("POST", F, JSON, with("score", json!("NaN")), 422, "rows[0].score", "infinities"),
        ("POST", F, JSON, with("score", json!("Infinity")), 422, "rows[0].score", "infinities"),
        ("POST", F, JSON, s("{\"rows\": [{\"id\": NaN}]}"), 400, "body", "remedy"),
        ("POST", F, JSON, with("amount", json!("1.001")), 422, "rows[0].amount", "point"),
        ("POST", F, JSON, with("at", json!("yesterday")), 422, "rows[0].at", "time"),
        ("POST", F, JSON, with("at", json!("0000-01-01T00:00:00Z")), 422, "rows[0].at", ""),
        ("POST", F, JSON, with("at", json!("10000-01-01T00:00:00Z")), 422, "rows[0].at", ""),
        ("POST", F, JSON, with("at", json!("2026-02-30T00:00:00Z")), 422, "rows[0].at", ""),
        ("POST", F, JSON, with("at", json!(1_795_514_400)), 422, "rows[0].at", "unit"),
        ("POST", F, JSON, with("merchant", json!("x".repeat(1 << 20))), 422, "rows[0]", "bytes"),
        ("POST", F, JSON, s("{\"keys\": [{}]}"), 422, "keys[0]", "card"),
        ("POST", F, JSON, s("{\"keys\": [1]}"), 400, "keys[0]", ""),
        ("POST", F, JSON, s("{\"keys\": [{\"user\": 1}]}"), 422, "keys[0]", "card"),
        ("POST", F, JSON, s("{\"keys\": [{\"card\": \"x\"}]}"), 422, "keys[0].card", "BIGINT"),
        ("POST", F, JSON, s("{\"keys\": [{\"card\": 1}], \"at\": \"x\"}"), 422, "at", "2026"),
        ("POST", F, JSON, s("{\"rows\": [], \"columns\": [\"x\"]}"), 422, "columns", "amount"),
        (
            "POST",
            F,
            JSON,
            s("{\"rows\": [], \"columns\": [\"id\", \"id\"]}"),
            400,
            "columns",
            "twice",
        ),
        ("POST", "/v1/features/risk?x=1", JSON, s("{}"), 400, "query", "x=1"),
        ("POST", "/v1/features/%ff", JSON, s("{}"), 400, "path", "UTF-8"),
        ("POST", "/v1/events/%ff", JSON, s("{}"), 400, "path", "UTF-8"),
        ("GET", "/v1/events/%ff", None, s(""), 400, "path", "UTF-8"),
        ("POST", F, Some("text/plain"), s("{}"), 415, "headers", "application/json"),
        ("POST", F, Some("application/x-ndjson"), s("{}"), 415, "headers", "application/json"),
        ("POST", "/v1/features/nothing", JSON, s("{}"), 404, "path", "risk"),
        ("POST", "/v1/features/%00", JSON, s("{}"), 404, "path", "risk"),
        ("GET", F, None, s(""), 405, "method", "POST"),
        ("DELETE", F, None, s(""), 405, "method", "POST"),
    ]
}

fn of_other_routes() -> Vec<Case> {
    vec![
        ("POST", E, JSON, s(""), 400, "body", "events"),
        ("POST", E, Some("application/x-ndjson"), "1\n".repeat(50_001), 413, "events", "50000"),
        ("POST", E, JSON, s("{\"events\": 1}"), 400, "body", "events"),
        ("POST", E, JSON, s("{\"events\": []"), 400, "body", "events"),
        ("POST", E, JSON, s("{\"event\": []}"), 400, "body", "events"),
        ("POST", E, JSON, nested(100_000), 400, "body", "events"),
        ("POST", E, Some("text/csv"), s("a,b"), 415, "headers", "x-ndjson"),
        ("POST", "/v1/events/payments?wait=long", JSON, s("{}"), 400, "query", "wait=applied"),
        ("POST", "/v1/events/payments?wait_ms=x", JSON, s("{}"), 400, "query", "milliseconds"),
        ("POST", "/v1/events/nothing", JSON, s("{}"), 404, "path", "payments"),
        ("GET", "/v1/events/nothing", None, s(""), 404, "path", "payments"),
        ("GET", "/v1/events/payments?from=x", None, s(""), 400, "query", "from"),
        ("GET", "/v1/events/payments?from=7", None, s(""), 400, "query", "offsets 0 to 1"),
        ("PUT", E, None, s(""), 405, "method", "POST or GET"),
        ("POST", "/get-online-features", JSON, s("[]"), 400, "body", "entities"),
        ("POST", "/get-online-features", JSON, s("{\"entities\": 1}"), 400, "body", "entities"),
        ("POST", "/get-online-features", JSON, nested(100_000), 400, "body", "entities"),
        ("POST", "/get-online-features", Some("text/csv"), s("a"), 415, "headers", "json"),
        ("GET", "/get-online-features", None, s(""), 405, "method", "POST"),
        // With models: tests/it/score.
        ("POST", "/v1/score/fraud", JSON, s("{}"), 404, "path", "[models]"),
        ("POST", "/v1/score/%ff", JSON, s("{}"), 400, "path", "UTF-8"),
        ("GET", "/v1/score/fraud", None, s(""), 405, "method", "POST"),
        ("POST", "/v1/views", None, s(""), 405, "method", "GET"),
        ("POST", "/v1/status", None, s(""), 405, "method", "GET"),
        ("POST", "/livez", None, s(""), 405, "method", "GET"),
        ("POST", "/readyz", None, s(""), 405, "method", "GET"),
        ("POST", "/health", None, s(""), 405, "method", "GET"),
        ("POST", "/metrics", None, s(""), 405, "method", "GET"),
        ("POST", "/openapi.json", None, s(""), 405, "method", "GET"),
        ("GET", "/", None, s(""), 404, "path", "/v1/features/{view}"),
        ("GET", "/v1/features", None, s(""), 404, "path", "/v1/features/{view}"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_problem_with_the_place_and_the_remedy() {
    let server = Server::start(options(SQL)).await;
    server.push("payments", json!([payment(1, 60, "1.00")])).await;
    for (method, path, media, body, status, place, part) in
        of_features().into_iter().chain(of_other_routes())
    {
        let shown: String = body.chars().take(80).collect();
        let reply = server.send(method, path, media, body).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let context = format!("{method} {path} {shown}\n{} {text}", reply.status);
        assert_eq!(reply.status.as_u16(), status, "{context}");
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{context}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], status, "{context}");
        assert!(problem["type"].as_str().unwrap().starts_with("urn:trueup:problem:"), "{context}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{context}");
        let at = problem["at"].as_str().unwrap_or_default();
        assert!(at.contains(place), "{context}");
        assert!(text.contains(part), "{context}");
    }
    let row = server.ask("risk", json!({ "rows": [payment(2, 0, "1.00")] })).await;
    assert_eq!(row["features"]["payments_last_hour"], 2, "something was lost or written");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_body_is_refused_before_it_is_read() {
    let server = Server::start(options(SQL)).await;
    for path in ["/v1/features/risk", "/v1/events/payments"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: 104857600\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 413", "{path}");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains(r#""at":"body""#), "{path}: {rest}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_no_declared_length_is_cut_at_the_limit() {
    let server = Server::start(options(SQL)).await;
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = "POST /v1/features/risk HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    // The server hangs up once it has seen enough, so a late write may fail.
    for _ in 0..200 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 413");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_dead_letters_and_the_good_ones_beside_them_are_kept() {
    let server = Server::start(options(SQL)).await;
    let at = "2026-11-24T09:59:00Z";
    let long = json!({ "id": 3, "at": at, "card": 1, "merchant": "x".repeat(100_000) });
    let events = json!([
        payment(1, 60, "1.00"),
        { "id": 2, "at": "2026-11-24T09:59:00Z", "card": "x" },
        long,
        7,
        { "id": 4, "at": 1_795_514_400_000_i64, "card": 1 },
        { "id": 5, "card": 1 },
        { "id": 6, "at": "2026-11-24T09:59:00Z", "card": 1, "score": null },
        payment(8, 30, "2.00"),
    ]);
    // A number beyond DOUBLE, which this test's JSON library would not write.
    let body = json!({ "events": events }).to_string().replace("null", "1e400");
    let path = "/v1/events/payments?wait=applied";
    let reply = server.send("POST", path, JSON, body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["accepted"], 2, "{reply}");
    let letters = reply["dead_letters"].as_array().unwrap();
    let indices: Vec<u64> = letters.iter().map(|l| l["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [1, 2, 3, 4, 5, 6]);
    assert!(letters.iter().all(|letter| !letter["reason"].as_str().unwrap().is_empty()));
    let row = server.ask("risk", json!({ "rows": [payment(9, 0, "4.00")] })).await;
    assert_eq!(row["features"]["amount_last_hour"], "7.00");
    server.stop().await;
}
