//! The command as a process of its own, its Redis, and questions to it.

use crate::command::Running;
use crate::log::{Kind, Log};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use trueup::client::Client;
use trueup_sql::decode::timestamp;
use trueup_store::testing::servers::RedisServer;

/// Four windows over two groups.
const DEFINITION: &str = include_str!("../four_windows.sql");

/// What is running.
pub(crate) struct Scene {
    redis: RedisServer,
    client: Client,
    /// Goes with it.
    _running: Running,
}

/// What the server says of a card.
pub(crate) struct Answer {
    pub(crate) count: i64,
    pub(crate) as_of_us: i64,
}

impl Scene {
    /// A log, and the command on it.
    pub(crate) fn start(kind: Kind) -> (Scene, Log) {
        let (redis, log) = (RedisServer::plain(), Log::start(kind));
        let settings = format!(
            "definitions = 'risk.sql'\nstore = '{}'\nlisten = '127.0.0.1:0'\n{}",
            redis.url(),
            log.settings()
        );
        let running = Running::start(&settings, DEFINITION, None);
        let client = running.client(4);
        (Scene { redis, client, _running: running }, log)
    }

    /// Asks for a card.
    pub(crate) async fn ask(&self, card: u64) -> Answer {
        let body = json!({ "keys": [{ "card": card }], "columns": ["n_hour"] }).to_string();
        let json = Some("application/json");
        let path = "/v1/features/risk";
        let reply = self.client.request(Method::POST, path, json, Bytes::from(body)).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        let row = &reply["rows"][0];
        let as_of = row["as_of"]["card"].as_str().and_then(|at| timestamp(at).ok());
        Answer {
            count: row["features"]["n_hour"].as_i64().unwrap_or(0),
            as_of_us: as_of.map_or(i64::MIN, |at| at.0),
        }
    }

    /// What Redis has done so far.
    pub(crate) fn redis(&self) -> Work {
        let mut by_command = BTreeMap::new();
        for line in self.redis.text("INFO commandstats").lines() {
            let Some((name, said)) = line.strip_prefix("cmdstat_").and_then(|l| l.split_once(':'))
            else {
                continue;
            };
            let number = |what: &str| -> u64 {
                let found = said.split(',').find_map(|part| part.strip_prefix(what));
                found.expect("it is there").parse().expect("a number")
            };
            by_command.insert(name.to_owned(), (number("calls="), number("usec=")));
        }
        Work(by_command)
    }
}

/// Calls and microseconds of Redis' commands.
pub(crate) struct Work(BTreeMap<String, (u64, u64)>);

impl Work {
    pub(crate) fn since(mut self, before: &Work) -> Work {
        for (name, (calls, us)) in &mut self.0 {
            let (calls_before, us_before) = before.0.get(name).copied().unwrap_or_default();
            *calls -= calls_before;
            *us -= us_before;
        }
        self
    }

    /// Commands that took a thousandth of the time or more. Those that scripts call are also in
    /// the scripts' time (`evalsha`), which is checkpoints' and compactions'.
    pub(crate) fn print(&self, took: Duration) {
        for (name, (calls, us)) in &self.0 {
            let share = *us as f64 / 1e6 / took.as_secs_f64();
            if share >= 0.001 {
                println!("  redis {name:12} {calls:9} calls {:6.2} % of the time", share * 100.0);
            }
        }
    }
}

pub(crate) fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}
