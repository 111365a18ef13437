//! A process of the command with everything that it can have outside: Redis behind a password,
//! events from Kafka's protocol and NATS, a PostgreSQL, a token; all of their secrets are canaries.

use crate::broker::{Broker, PATIENT, SINGLY, fresh};
use crate::nats_server::{self, NatsServer};
use crate::pipeline::{Running, now_us};
use crate::postgres_server::PostgresServer;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use std::fs::File;
#[cfg(feature = "otel")]
use std::io::{Read, Write};
use std::process::{Command, Stdio};
#[cfg(feature = "otel")]
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trueup::client::{Client, ClientOptions};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::{PATIENCE, RedisServer, Setup};

/// How every secret begins.
pub(super) const SECRET: &str = "kanari-geheim";
pub(super) const TOKEN: &str = "kanari-geheim-token-0123456789";
const REDIS_PASSWORD: &str = "kanari-geheim-redis";

pub(super) const CARD: &str = "kanari-card";
pub(super) const MERCHANT: &str = "kanari-merchant";
pub(super) const AMOUNT: &str = "7351942.86";

pub(super) const SQL: &str = "
CREATE TABLE payments (
  id VARCHAR PRIMARY KEY, at TIMESTAMP NOT NULL, card VARCHAR NOT NULL, account BIGINT,
  merchant VARCHAR, amount DECIMAL(12,2), score DOUBLE, day DATE
) WITH (event_time = 'at', lateness = '1 hour');
CREATE TABLE logins (
  id VARCHAR PRIMARY KEY, at TIMESTAMP NOT NULL, card VARCHAR NOT NULL
) WITH (event_time = 'at', lateness = '1 hour');
CREATE VIEW risk AS
SELECT id, amount,
  count(*) OVER hour AS n, sum(amount) OVER hour AS total, max(merchant) OVER hour AS merchant_max,
  count(*) OVER of_account AS account_n,
  count(*) OVER at_merchant AS merchant_n, sum(amount) OVER ever AS amount_ever,
  (SELECT count(*) FROM logins WHERE logins.card = payments.card
     AND logins.at BETWEEN payments.at - INTERVAL '1 hour' AND payments.at) AS logins
FROM payments
WINDOW hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       of_account AS (PARTITION BY account ORDER BY at
                      RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       at_merchant AS (PARTITION BY merchant ORDER BY at
                       RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       ever AS (PARTITION BY merchant ORDER BY at
                RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)";

/// Tables that refuse a card which is no UUID, and an account that is no INTEGER, and whose
/// payments have amounts that the stream does not take.
const TABLES: &str = "
CREATE TABLE payments (
  id TEXT, at TIMESTAMPTZ, card UUID, account INTEGER, merchant TEXT, amount NUMERIC,
  score DOUBLE PRECISION, day DATE);
CREATE TABLE logins (id TEXT, at TIMESTAMPTZ, card TEXT);
INSERT INTO payments SELECT 'kanari-row', now() - interval '1 day 10 minutes',
  '00000000-0000-0000-0000-000000000001'::uuid, NULL, 'kanari-merchant', 7351942.86123, 0.5, NULL";

/// Of a trace that is recorded, so that every request is told to a collector.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A time so many seconds ago.
pub(super) fn ago(seconds: i64) -> String {
    Timestamp(now_us() - seconds * 1_000_000).to_string()
}

/// A payment so many seconds ago.
pub(super) fn payment(id: &str, seconds: i64) -> Value {
    json!({ "id": format!("kanari-{id}"), "at": ago(seconds), "card": CARD,
            "account": 4_929_871_102_345_678_i64, "merchant": MERCHANT, "amount": AMOUNT,
            "score": 0.815_392_640_7, "day": "2026-11-24" })
}

/// The process and what it needs.
pub(super) struct Scene {
    pub(super) redis: RedisServer,
    pub(super) broker: Broker,
    pub(super) database: PostgresServer,
    topic: String,
    process: Running,
    client: Client,
    address: String,
    folder: TempDir,
    _nats: NatsServer,
    #[cfg(feature = "otel")]
    collector: Collector,
}

impl Scene {
    pub(super) async fn start() -> Scene {
        let args = ["--requirepass", REDIS_PASSWORD].map(String::from).to_vec();
        let password = Some(REDIS_PASSWORD.to_owned());
        let redis = RedisServer::start(Setup { args, password, ..Setup::default() });
        let (broker, topic) = (Broker::start(), fresh("payments"));
        let (nats, logins) = (NatsServer::start(), nats_server::fresh());
        tokio::task::block_in_place(|| {
            broker.make_topic(&topic, 1);
            nats.make_stream(&logins, Default::default());
        });
        let database = PostgresServer::start().await;
        database.connect().await.batch_execute(TABLES).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "definitions = 'a.sql'\nlisten = '127.0.0.1:0'\nmax_staleness = '1d'\n\
             store = 'redis://:{REDIS_PASSWORD}@127.0.0.1:{}'\n\
             database = 'postgres://trueup@127.0.0.1:{}/postgres?sslmode=disable\
                         &password={SECRET}-database'\n\
             database_max_failures = 1000\nverify_sample = 0\ntoken_file = 'token'\n\
             [source]\npayments = 'kafka://{}/{topic}?group={}'\n\
             logins = 'nats://trueup:{SECRET}-nats@127.0.0.1:{}/{logins}?stream={logins}'\n\
             [kafka]\n'{}' = '{}'\n'{}' = '{}'\n'sasl.password' = '{SECRET}-kafka'\n",
            redis.port(),
            database.port(),
            broker.address(),
            fresh("group"),
            nats.port(),
            PATIENT.0,
            PATIENT.1,
            SINGLY.0,
            SINGLY.1,
        );
        for (name, text) in [("trueup.toml", &*settings), ("a.sql", SQL), ("token", TOKEN)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        command.arg("run").current_dir(folder.path()).env("TRUEUP_LOG", "trace");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        #[cfg(feature = "otel")]
        let collector = Collector::start();
        #[cfg(feature = "otel")]
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
        let process = Running::new(command.spawn().unwrap());
        let path = folder.path().join("log");
        let address = listening(&path).await;
        let (base_url, token) = (format!("http://{address}"), Some(TOKEN.to_owned()));
        let traceparent = Some(TRACEPARENT.to_owned());
        let options =
            ClientOptions { base_url, token, timeout: PATIENCE, traceparent, ..Default::default() };
        let (client, _nats) = (Client::new(&options).unwrap(), nats);
        Scene {
            redis,
            broker,
            database,
            topic,
            process,
            client,
            address,
            folder,
            _nats,
            #[cfg(feature = "otel")]
            collector,
        }
    }

    pub(super) async fn send(&self, verb: &str, path: &str, body: String) -> (StatusCode, String) {
        let (verb, media) = (verb.parse::<Method>().unwrap(), Some("application/json"));
        let reply = self.client.request(verb, path, media, Bytes::from(body)).await.unwrap();
        (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> String {
        self.send("POST", path, body.to_string()).await.1
    }

    pub(super) async fn get(&self, path: &str) -> String {
        self.send("GET", path, String::new()).await.1
    }

    /// What is answered to these bytes on a connection of their own.
    pub(super) async fn raw(&self, bytes: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        // It may be cut off, which is an answer too.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Asks until the answer is as it should be.
    pub(super) async fn wait_for(&self, what: &str, path: &str, holds: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.get(path).await;
            if holds(&said) {
                return;
            }
            assert!(Instant::now() < until, "waited in vain for {what}:\n{said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Puts records into the topic of payments, whatever they are.
    pub(super) fn produce(&self, records: impl Iterator<Item = String>) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.address()).set(SINGLY.0, SINGLY.1);
        let producer: BaseProducer = config.create().unwrap();
        for record in records {
            let record = BaseRecord::<(), str>::to(&self.topic).payload(&record);
            producer.send(record).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// What another command says in the same folder.
    pub(super) async fn trueup(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        command.args(arguments).current_dir(self.folder.path()).env("TRUEUP_LOG", "trace");
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Tells the process to stop and waits for it.
    pub(super) fn stop(&mut self) {
        self.process.signal("-TERM");
        self.process.wait();
    }

    /// All that the collector was sent.
    #[cfg(feature = "otel")]
    pub(super) fn spans(&self) -> String {
        String::from_utf8_lossy(&self.collector.sent.lock().unwrap()).into_owned()
    }

    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A collector that keeps what it is sent, as bytes: the texts of a span stand in them as they are.
#[cfg(feature = "otel")]
struct Collector {
    url: String,
    sent: Arc<Mutex<Vec<u8>>>,
}

#[cfg(feature = "otel")]
impl Collector {
    fn start() -> Collector {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&sent);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // Nothing more comes before it is answered.
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let mut piece = [0; 65_536];
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    kept.lock().unwrap().extend_from_slice(&piece[..count]);
                }
                // Who sent it may be gone.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Collector { url, sent }
    }
}

/// Where the process says that it listens.
async fn listening(log: &std::path::Path) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let line = said.lines().find_map(|line| line.strip_prefix("listening on http://"));
        if let Some(address) = line {
            return address.to_owned();
        }
        assert!(Instant::now() < until, "it does not listen:\n{said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
