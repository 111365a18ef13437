//! Over HTTP: a real server on a free port of this host; events pushed, requests asked, as a caller
//! does.

use crate::case::{Ask, Asked, Case, Members};
use crate::report::{Column, Findings, Refused, each_case};
use crate::stores::refused;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use trueup::client::{Client, ClientOptions};
use trueup::clock::Clock;
use trueup::ingest::NewBeginning;
use trueup::node::{Node, NodeOptions};
use trueup::place::{AvroStreams, BadRecords, Place, Sources};
use trueup_core::Micros;

#[derive(Deserialize)]
struct EventsReply {
    accepted: usize,
    dead_letters: Vec<DeadReply>,
    applied: Option<bool>,
}

#[derive(Deserialize)]
struct DeadReply {
    column: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
struct FeaturesReply {
    rows: Vec<RowReply>,
}

#[derive(Deserialize)]
struct RowReply {
    features: Members,
    #[serde(default)]
    statuses: BTreeMap<String, String>,
}

#[test]
fn pushed_and_asked_over_http() {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = threads.worker_threads(2).enable_all().build().unwrap();
    each_case(|case, found| runtime.block_on(over_http(case, found)));
}

async fn over_http(case: &Case, found: &mut Findings) {
    let now = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&now);
    let node = Node::start(NodeOptions {
        catalog: Arc::clone(&case.catalog),
        place: Place::Memory,
        sources: Sources::new(),
        avro: AvroStreams::new(),
        bad: BadRecords::default(),
        database: None,
        views: Default::default(),
        record_to_log: true,
        models: None,
        max_staleness: Duration::MAX,
        token: None,
        ingest: true,
        policy: NewBeginning::Refuse,
        clock: Clock::of(move || Micros(told.load(Ordering::SeqCst))),
    });
    let node = node.unwrap();
    let (app, router) = (Arc::clone(node.app()), node.router());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(node.serve(listener, router, async { drop(stopped.await) }));
    let client = Client::new(&ClientOptions { base_url, ..ClientOptions::default() }).unwrap();

    let mut dead = Vec::new();
    for index in 0..case.events.len() {
        now.store(case.events[index].log_us, Ordering::SeqCst);
        dead.extend(push(case, &client, index).await);
    }
    dead.extend(refused(case, app.live().pusher.log.as_ref().unwrap()));
    found.dead("", &case.dead, &dead);
    for (number, asked) in case.requests.iter().enumerate() {
        let rows = ask(&client, &asked.view, &body(&[asked])).await;
        check(found, number, "", asked, &rows[0]);
    }
    rows_together(case, &client, found).await;

    drop(client);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

/// Pushes one event and returns why it was refused, if it was.
async fn push(case: &Case, client: &Client, index: usize) -> Option<Refused> {
    let event = &case.events[index];
    let stream = &case.catalog.streams()[event.stream].stream.name;
    let body = [b"{\"events\":[", &event.bytes[..], b"]}"].concat();
    let path = format!("/v1/events/{stream}?wait=applied&wait_ms=30000");
    let reply: EventsReply = post(client, &path, body).await;
    assert_eq!(reply.applied, Some(true));
    assert_eq!(reply.accepted + reply.dead_letters.len(), 1);
    let dead = reply.dead_letters.into_iter().next()?;
    Some(Refused { index, column: Some(dead.column), reason: dead.reason })
}

/// All rows of a view in one call: they do not see each other.
async fn rows_together(case: &Case, client: &Client, found: &mut Findings) {
    for view in &case.catalog.definitions().views {
        let is_row = |asked: &Asked| asked.view == view.name && matches!(asked.ask, Ask::Row(_));
        let of_view = case.requests.iter().enumerate().filter(|(_, asked)| is_row(asked));
        let (numbers, rows): (Vec<usize>, Vec<&Asked>) = of_view.unzip();
        if rows.is_empty() {
            continue;
        }
        let answers = ask(client, &view.name, &body(&rows)).await;
        assert_eq!(answers.len(), rows.len());
        for ((number, asked), answer) in numbers.into_iter().zip(rows).zip(&answers) {
            check(found, number, ", all rows in one call", asked, answer);
        }
    }
}

fn body(asked: &[&Asked]) -> Vec<u8> {
    let mut body = b"{\"deadline_ms\":10000,".to_vec();
    if let Ask::Keys { keys, at } = &asked[0].ask {
        body.extend_from_slice(&[b"\"keys\":[", &keys[..], b"],\"at\":"].concat());
        body.extend_from_slice(serde_json::to_string(at).unwrap().as_bytes());
    } else {
        let rows = asked.iter().map(|asked| match &asked.ask {
            Ask::Row(row) => &row[..],
            Ask::Keys { .. } => panic!("rows and keys do not go together"),
        });
        let rows: Vec<&[u8]> = rows.collect();
        body.extend_from_slice(&[b"\"rows\":[", &rows.join(&b","[..])[..], b"]"].concat());
    }
    body.push(b'}');
    body
}

async fn ask(client: &Client, view: &str, body: &[u8]) -> Vec<RowReply> {
    let reply: FeaturesReply = post(client, &format!("/v1/features/{view}"), body.to_vec()).await;
    reply.rows
}

async fn post<T: serde::de::DeserializeOwned>(client: &Client, path: &str, body: Vec<u8>) -> T {
    let json = Some("application/json");
    let reply = client.request(Method::POST, path, json, Bytes::from(body)).await.unwrap();
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"))
}

fn check(found: &mut Findings, number: usize, how: &str, asked: &Asked, answer: &RowReply) {
    let Members(features) = &answer.features;
    let status = |name: &String| answer.statuses.get(name).map_or("PRESENT", String::as_str);
    let column = |(name, value): &(String, String)| Column {
        name: name.clone(),
        value: value.clone(),
        status: Some(status(name).to_string()),
    };
    let columns: Vec<Column> = features.iter().map(column).collect();
    found.row(number, how, &asked.expected, &columns);
}
