//! The logs that events go to: real servers, and the command's own producers.

use crate::broker::{Broker, fresh};
use crate::nats_server::NatsServer;
use async_nats::jetstream::stream::Config;
use serde_json::json;
use std::sync::Arc;
use trueup::ingest::source::{
    KafkaProducer, KafkaSettings, NatsProducer, RedisStreamProducer, RedisStreamSettings,
};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::RedisServer;

/// Partitions of each log.
const PARTITIONS: u32 = 2;

/// Kinds of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Nats,
    RedisStream,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Kafka, Kind::Nats, Kind::RedisStream];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kafka => "kafka",
            Kind::Nats => "nats",
            Kind::RedisStream => "redis-stream",
        }
    }
}

/// A running log.
#[allow(dead_code, reason = "a server runs for as long as it is held")]
pub(crate) enum Log {
    Kafka(Broker, Arc<KafkaProducer>, String),
    Nats(NatsServer, NatsProducer, String),
    RedisStream(RedisServer, RedisStreamProducer, String),
}

impl Log {
    pub(crate) fn start(kind: Kind) -> Log {
        match kind {
            Kind::Kafka => {
                let broker = Broker::start();
                let (topic, group) = (fresh("events"), fresh("group"));
                broker.make_topic(&topic, PARTITIONS);
                // A partition's events of some calls are one batch: this broker lists all batches
                // at each fetch, and with smaller ones it would be its lists that are measured.
                let together = [("batch.num.messages", "10000"), ("linger.ms", "50")];
                let settings = broker.settings_with(&topic, &group, &together);
                let producer = KafkaProducer::open(settings).unwrap();
                let url = format!("kafka://{}/{topic}?group={group}", broker.address());
                assert!(KafkaSettings::parse(&url, [].into()).is_ok());
                Log::Kafka(broker, Arc::new(producer), url)
            }
            Kind::Nats => {
                let server = NatsServer::start();
                server.make_stream("events", Config::default());
                let producer = NatsProducer::open(server.settings("events", PARTITIONS));
                let url = server.url("events", PARTITIONS);
                Log::Nats(server, producer, url)
            }
            Kind::RedisStream => {
                let server = RedisServer::plain();
                let url = format!(
                    "redis-stream://127.0.0.1:{}/events?partitions={PARTITIONS}",
                    server.port()
                );
                let settings = RedisStreamSettings::parse(&url).unwrap();
                Log::RedisStream(server, RedisStreamProducer::open(settings).unwrap(), url)
            }
        }
    }

    /// The setting `source`, and the lines of settings that go with it.
    pub(crate) fn settings(&self) -> String {
        match self {
            Log::Kafka(_, _, url) => {
                format!("source = '{url}'\n[kafka]\n'fetch.wait.max.ms' = '6'\n")
            }
            Log::Nats(_, _, url) | Log::RedisStream(_, _, url) => format!("source = '{url}'\n"),
        }
    }

    /// Sends events, id, card and merchant of each, and returns when the log has all of them.
    pub(crate) async fn send(&self, events: &[(u64, u64, u64)]) {
        let at = Timestamp(crate::scene::now_us()).to_string();
        let payload = |&(id, card, merchant): &(u64, u64, u64)| {
            let (key, cents) = (id.to_string(), id % 10_000);
            let amount = format!("{}.{:02}", cents / 100, cents % 100);
            let event = json!({ "id": id, "at": at, "card": card, "merchant": merchant,
                                "amount": amount });
            (key, event.to_string())
        };
        let records: Vec<(String, String)> = events.iter().map(payload).collect();
        match self {
            Log::Kafka(_, producer, _) => {
                let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
                for (key, event) in &records {
                    let done = done.clone();
                    // Whoever waits below is still there.
                    let sent = move |sent: Result<_, _>| drop(done.send(sent.map(drop)));
                    producer.send(key.as_bytes(), event.as_bytes(), Box::new(sent)).unwrap();
                }
                for _ in &records {
                    all.recv().await.unwrap().unwrap();
                }
            }
            Log::Nats(_, producer, _) => drop(producer.send(&bytes(&records)).await.unwrap()),
            Log::RedisStream(_, producer, _) => {
                producer.send(&bytes(&records)).await.unwrap();
            }
        }
    }
}

fn bytes(records: &[(String, String)]) -> Vec<(&[u8], &[u8])> {
    records.iter().map(|(key, event)| (key.as_bytes(), event.as_bytes())).collect()
}
