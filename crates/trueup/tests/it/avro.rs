//! Logs of Avro records that another implementation wrote (fastavro), framed in every way: what is
//! served is what the same events give as JSON, and what cannot be used says why, keeps its bytes
//! and comes back once the settings are mended.

use crate::support::{SQL, Server, TEN, options, payment};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::node::{Node, NodeOptions};
use trueup::place::{AvroStreams, LogPlace, Place, SourcePlace};
use trueup_sql::SourceFile;
use trueup_sql::decode::{AvroSchema, AvroSchemas, Decoder};
use trueup_store::testing::servers::RedisServer;

/// How long what was written may take until it is served.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Python that has fastavro: what `./test` exports, else what it has left in the target folder.
fn python() -> PathBuf {
    let left = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python/bin/python");
    std::env::var_os("TRUEUP_TEST_PYTHON").map_or_else(left, PathBuf::from)
}

/// Records as fastavro writes them.
fn written(schema: &Value, framing: &str, id: u32, records: &[Value]) -> Vec<Vec<u8>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/avro.py");
    let mut process = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a Python with fastavro: run ./test once, or name one in TRUEUP_TEST_PYTHON");
    let asked = json!({ "schema": schema, "framing": framing, "id": id, "records": records });
    process.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "avro.py failed: fastavro is in requirements.txt");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| BASE64_STANDARD.decode(line).unwrap()).collect()
}

/// A payment's schema: the columns in another order, and fields that the stream has no column for.
fn schema() -> Value {
    let optional = |ty: Value| json!(["null", ty]);
    let amount = json!({ "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 });
    let status = json!({ "type": "enum", "name": "Status", "symbols": ["declined", "approved"] });
    let device = json!({ "type": "record", "name": "Device", "fields": [
        { "name": "os", "type": "string" }, { "name": "age", "type": ["null", "int"] } ] });
    json!({ "type": "record", "name": "Payment", "namespace": "org.acme", "fields": [
        { "name": "device", "type": device },
        { "name": "status", "type": status },
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } },
        { "name": "tags", "type": { "type": "array", "items": "string" } },
        { "name": "id", "type": "long" },
        { "name": "score", "type": optional(json!("double")), "doc": "of the bank" },
        { "name": "card", "type": "long" },
        { "name": "merchant", "type": optional(json!("string")), "default": null },
        { "name": "amount", "type": optional(amount), "aliases": ["sum"] },
        { "name": "more", "type": { "type": "map", "values": "Device" } } ] })
}

/// The same before the amount and the score were added.
fn older() -> Value {
    let mut schema = schema();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "amount" && field["name"] != "score");
    schema
}

/// Payments of two cards within the hour.
fn payments() -> Vec<Value> {
    let one = |id: i64| {
        let amount = format!("{}.{:02}", id * 7 - 20, id);
        let mut event = payment(id, id * 100, &amount);
        event["card"] = json!(1 + id % 2);
        event["score"] = if id % 3 == 0 { Value::Null } else { json!(0.1 * id as f64) };
        event["status"] = json!(if id % 4 == 0 { "declined" } else { "approved" });
        event
    };
    (1..=12).map(one).collect()
}

/// They as Avro has them, with what no column takes.
fn with_more(events: &[Value]) -> Vec<Value> {
    let device = json!({ "os": "é", "age": null });
    let more = |event: &Value| {
        let mut event = event.clone();
        event["device"] = device.clone();
        event["tags"] = json!(["a", "b"]);
        event["more"] = json!({ "k": device });
        event
    };
    events.iter().map(more).collect()
}

fn parsed(schema: &Value) -> AvroSchema {
    AvroSchema::parse("payments.avsc", &schema.to_string()).unwrap()
}

fn schemas(named: &[Value], ids: &[(u32, Value)]) -> AvroStreams {
    let named = named.iter().map(parsed).collect();
    let ids = ids.iter().map(|(id, schema)| (*id, parsed(schema))).collect();
    let all = AvroSchemas::new("avro.payments", named, ids);
    AvroStreams::from([("payments".to_owned(), Arc::new(all))])
}

/// A node in memory whose payments come from a log of Avro.
fn on(source: SourcePlace, avro: AvroStreams) -> NodeOptions {
    NodeOptions { sources: vec![(Some("payments".to_owned()), source)], avro, ..options(SQL) }
}

/// What is served of both cards, and to a request of each.
async fn features(server: &Server) -> Value {
    let row = |card: i64| {
        let mut row = payment(1_000 + card, 0, "1.00");
        row["card"] = json!(card);
        row
    };
    let mut all = Vec::new();
    for view in ["risk", "approved"] {
        for card in [1, 2] {
            let row = server.ask(view, json!({ "rows": [row(card)] })).await;
            all.push(row["features"].clone());
        }
    }
    Value::Array(all)
}

/// What is served where the same events come as JSON.
async fn as_json(events: &[Value]) -> Value {
    let server = Server::start(options(SQL)).await;
    server.push("payments", Value::Array(events.to_vec())).await;
    let served = features(&server).await;
    server.stop().await;
    served
}

/// Waits until a server serves this.
async fn assert_serves(server: &Server, wanted: &Value) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = features(server).await;
        if found == *wanted {
            return;
        }
        assert!(Instant::now() < until, "{found}\nand not\n{wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// So many dead letters of the payments.
async fn letters(server: &Server, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let reply = server.send("GET", "/v1/dead-letters/payments", None, "").await;
        let page: Value = serde_json::from_slice(&reply.body).unwrap();
        let letters = page["letters"].as_array().unwrap();
        if letters.len() >= count {
            assert_eq!(letters.len(), count, "{page}");
            return letters.clone();
        }
        assert!(Instant::now() < until, "{page}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sums of a topic that nobody here wrote would be wrong without a word.
#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_avro_framed_in_every_way_serve_what_the_same_events_serve_as_json() {
    use crate::broker::{Broker, SINGLY, fresh};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use trueup::place::KafkaPlace;

    let events = payments();
    let wanted = as_json(&events).await;
    let broker = tokio::task::block_in_place(Broker::start);
    assert_eq!(wanted[0]["payments_last_hour"], 7, "six, and the one that is asked for");
    for (framing, avro) in [
        ("bare", schemas(&[schema()], &[])),
        ("single-object", schemas(&[older(), schema()], &[])),
        ("confluent", schemas(&[], &[(7, older()), (70_000, schema())])),
    ] {
        let topic = fresh("avro");
        let records = tokio::task::block_in_place(|| {
            broker.make_topic(&topic, 1);
            written(&schema(), framing, 70_000, &with_more(&events))
        });
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", broker.address()).set(SINGLY.0, SINGLY.1);
        let producer: BaseProducer = config.create().unwrap();
        let cut = records[0][..records[0].len() - 1].to_vec();
        for payload in records.iter().chain([&cut, &Vec::new()]) {
            let record = BaseRecord::<(), Vec<u8>>::to(&topic).payload(payload);
            producer.send(record.timestamp(TEN / 1_000)).unwrap();
        }
        tokio::task::block_in_place(|| producer.flush(PATIENCE)).unwrap();
        let url = format!("kafka://{}/{topic}?group={}", broker.address(), fresh("group"));
        let properties = [("fetch.wait.max.ms", "5"), ("session.timeout.ms", "6000")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let properties = properties.map(own).into();
        let place = SourcePlace::Kafka(KafkaPlace { url, properties });
        let server = Server::start(on(place, avro)).await;
        assert_serves(&server, &wanted).await;
        let letters = letters(&server, 2).await;
        let reason = letters[0]["reason"].as_str().unwrap();
        assert!(reason.contains("not one Avro datum of payments.avsc: field more"), "{reason}");
        assert_eq!(letters[0]["base64"], BASE64_STANDARD.encode(&cut), "{framing}");
        let body = json!({ "events": [events[0]] });
        let (status, problem) = server.post("/v1/events/payments", &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("holds Avro"), "{problem}");
        server.stop().await;
    }
}

/// Appends records to a stream of Redis.
fn append(redis: &RedisServer, records: &[Vec<u8>]) {
    for record in records {
        redis.try_args(&[&b"XADD"[..], b"payments", b"*", b"event", record]).unwrap();
    }
}

/// A schema that nobody had named costs the events nothing but time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_an_id_that_is_not_named_say_so_and_are_taken_once_it_is() {
    let redis = RedisServer::plain();
    let events = payments();
    let (new, old) = events.split_at(9);
    let wanted = as_json(new).await;
    append(&redis, &written(&schema(), "confluent", 7, &with_more(new)));
    append(&redis, &written(&older(), "confluent", 3, &with_more(old)));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redis-stream://127.0.0.1:{}/payments", redis.port());
    let node = |ids: &[(u32, Value)]| {
        let place = SourcePlace::RedisStream(LogPlace { url: url.clone(), password: None });
        // Entries have the server's time, which may be far from ten o'clock.
        let sql = SQL.replace("lateness", "future = '36500 days', lateness");
        let place = on(place, schemas(&[], ids));
        let catalog = crate::support::catalog(&sql);
        NodeOptions { catalog, place: Place::Embedded(folder.path().into()), ..place }
    };
    let server = Server::start(node(&[(7, schema())])).await;
    assert_serves(&server, &wanted).await;
    let found = letters(&server, 3).await;
    let reason = found[0]["reason"].as_str().unwrap();
    assert!(reason.contains("the id 3, which [avro.payments] does not name"), "{reason}");
    let (status, again) = server.post("/v1/dead-letters/payments/replay", &json!({})).await;
    assert_eq!((status, &again["taken"]), (StatusCode::OK, &json!(0)), "{again}");
    server.stop().await;

    let server = Server::start(node(&[(7, schema()), (3, older())])).await;
    let (status, again) = server.post("/v1/dead-letters/payments/replay", &json!({})).await;
    assert_eq!((status, &again["taken"]), (StatusCode::OK, &json!(3)), "{again}");
    letters(&server, 0).await;
    let without = |event: &Value| {
        let mut event = event.clone();
        event.as_object_mut().unwrap().retain(|name, _| name != "amount" && name != "score");
        event
    };
    let all: Vec<Value> = new.iter().cloned().chain(old.iter().map(without)).collect();
    assert_serves(&server, &as_json(&all).await).await;
    server.stop().await;
}

/// Schemas that are looked for elsewhere than settings say would show only where a person runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_serves_a_stream_of_avro_by_its_settings_file_alone() {
    let (redis, events) = (RedisServer::plain(), payments());
    append(&redis, &written(&schema(), "bare", 0, &with_more(&events)));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    // Entries have the server's time, which may be far from ten o'clock.
    write("test.sql", &SQL.replace("lateness", "future = '36500 days', lateness"));
    write("payments.avsc", &schema().to_string());
    let settings = format!(
        "definitions = 'test.sql'\nstore = 'embedded:state'\nlisten = '127.0.0.1:0'\n\
         source = 'payments=redis-stream://127.0.0.1:{}/payments'\n\
         [avro.payments]\nschema = 'payments.avsc'\n",
        redis.port()
    );
    write("trueup.toml", &settings);
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    let server = Server::of_command(command.arg("run").current_dir(folder.path()));
    assert_serves(&server, &as_json(&events).await).await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_nats_may_be_avro() {
    use crate::nats_server::NatsServer;
    use async_nats::jetstream::stream::Config;

    let events = payments();
    let wanted = as_json(&events).await;
    let nats = NatsServer::start();
    tokio::task::block_in_place(|| {
        nats.make_stream("payments", Config::default());
        let records = written(&schema(), "single-object", 0, &with_more(&events));
        nats.admin(async |context| {
            for record in records {
                let sent = context.publish("payments", record.into()).await.unwrap();
                sent.await.unwrap();
            }
        });
    });
    let url = nats.url("payments", 1);
    let place = SourcePlace::Nats(LogPlace { url, password: None });
    let sql = SQL.replace("lateness", "future = '36500 days', lateness");
    let catalog = crate::support::catalog(&sql);
    let node = NodeOptions { catalog, ..on(place, schemas(&[schema()], &[])) };
    let server = Server::start(node).await;
    assert_serves(&server, &wanted).await;
    server.stop().await;
}

/// What would make a dead letter of every record is said before the first.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_do_not_fit_the_stream_or_its_log_are_refused_at_the_start() {
    let refused = |options| Node::start(options).err().unwrap().to_string();
    let said = refused(NodeOptions { avro: schemas(&[schema()], &[]), ..options(SQL) });
    assert!(said.contains("[avro.payments]: no setting says from which log"), "{said}");
    let redis = RedisServer::plain();
    let url = format!("redis-stream://127.0.0.1:{}/payments", redis.port());
    let place = SourcePlace::RedisStream(LogPlace { url, password: None });
    let mut without = schema();
    without["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "card");
    let said = refused(on(place, schemas(&[without], &[])));
    assert!(said.contains("[avro.payments]: schema payments.avsc: it has no field card"), "{said}");
}

/// Every type as fastavro writes it, beside the same value as JSON.
#[test]
fn what_fastavro_writes_of_every_type_decodes_to_what_the_same_json_does() {
    let sql = "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, local TIMESTAMP,
                 millis TIMESTAMP, day DATE, ok BOOLEAN, small SMALLINT, x DOUBLE, half DOUBLE,
                 exact DECIMAL(30,4), fixed DECIMAL(12,2), word VARCHAR, kind VARCHAR, u VARCHAR)
               WITH (event_time = 'at'); CREATE VIEW v AS SELECT id FROM t";
    let compiled = trueup_sql::compile(&[SourceFile { name: "t.sql".into(), text: sql.into() }]);
    let decoder = Decoder::new(Arc::clone(&compiled.unwrap().streams[0]));
    let on = |under: &str, logical: &str| json!({ "type": under, "logicalType": logical });
    let decimal = json!({ "type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 4 });
    let fixed = json!({ "type": "fixed", "name": "f", "size": 9, "logicalType": "decimal",
                        "precision": 12, "scale": 2 });
    let kind = json!({ "type": "enum", "name": "org.other.k", "symbols": ["a", "b"] });
    let types = [
        ("id", json!("long")),
        ("at", on("long", "timestamp-micros")),
        ("local", json!(["null", on("long", "local-timestamp-micros")])),
        ("millis", json!(["null", on("long", "timestamp-millis")])),
        ("day", json!(["null", on("int", "date")])),
        ("ok", json!(["null", "boolean"])),
        ("small", json!(["null", "int"])),
        ("x", json!(["null", "double"])),
        ("half", json!(["null", "float"])),
        ("exact", json!(["null", decimal])),
        ("fixed", json!(["null", fixed])),
        ("word", json!(["null", "string"])),
        ("kind", json!(["null", kind])),
        ("u", json!(["null", on("string", "uuid")])),
    ];
    let field = |(name, ty): (&str, Value)| json!({ "name": name, "type": ty });
    let fields: Vec<Value> = types.map(field).into();
    let schema = json!({ "type": "record", "name": "org.acme.T", "fields": fields });
    let whole = json!({
        "id": i64::MAX, "at": "2026-11-24T10:00:00.123456Z", "local": "1969-12-31T23:59:59.5Z",
        "millis": "2026-11-24T10:00:00.123Z", "day": "1969-07-20", "ok": false, "small": -32768,
        "x": -5e-324, "half": 0.5, "exact": "-12345678901234567890123456.7891",
        "fixed": "-9999999999.99", "word": "é\u{1f600}", "kind": "b",
        "u": "018f6b5e-0000-7000-8000-000000000001",
    });
    let bare = json!({ "id": -1, "at": "2026-11-24T10:00:00Z" });
    let rows: Vec<String> = [&whole, &bare].map(Value::to_string).into();
    let wanted = decoder.json_rows(&rows).unwrap();
    assert_eq!(wanted.bad, []);
    for (framing, named, ids) in
        [("bare", true, 0), ("single-object", true, 0), ("confluent", false, u32::MAX)]
    {
        let parsed = || AvroSchema::parse("t.avsc", &schema.to_string()).unwrap();
        let named = if named { vec![parsed()] } else { Vec::new() };
        let ids = if ids > 0 { vec![(ids, parsed())] } else { Vec::new() };
        let avro = AvroSchemas::new("avro.t", named, ids);
        let rows = written(&schema, framing, u32::MAX, &[whole.clone(), bare.clone()]);
        let found = decoder.avro_rows(&avro, &rows).unwrap();
        assert_eq!(found.bad, [], "{framing}");
        assert_eq!(found.batch, wanted.batch, "{framing}");
    }
}
