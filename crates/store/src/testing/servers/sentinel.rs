//! A primary with replicas, and three sentinels that agree on who is the primary.

use super::process::{RedisServer, Setup};
use super::{wait_until, wait_within};
use std::time::Duration;

/// Longest wait for a failover: sentinels that were not scheduled for two seconds do nothing for
/// 30 (they call it TILT), and the next try after one that failed comes 8 s later.
const FAILOVER: Duration = Duration::from_secs(90);

/// How the sentinels call the primary.
const NAME: &str = "main";

/// Servers and their sentinels.
#[derive(Debug)]
pub struct Sentinels {
    /// The primary first, at the start.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts a primary, `replicas` and three sentinels, and waits until they know of each other.
    ///
    /// # Panics
    /// When it does not come about.
    pub fn start(setup: &Setup, replicas: usize) -> Self {
        let mut servers = vec![RedisServer::start(setup.clone())];
        let primary = servers[0].port();
        for _ in 0..replicas {
            let mut replica = setup.clone();
            let follow = ["--replicaof", "127.0.0.1", &primary.to_string()].map(str::to_owned);
            replica.args.extend(follow);
            servers.push(RedisServer::start(replica));
        }
        wait_until("replicas follow", || {
            servers[1..].iter().all(|r| r.text("INFO replication").contains("link_status:up"))
        });
        let lines = [
            format!("sentinel monitor {NAME} 127.0.0.1 {primary} 2"),
            format!("sentinel down-after-milliseconds {NAME} 700"),
            format!("sentinel failover-timeout {NAME} 4000"),
        ];
        let sentinels = (0..3).map(|_| {
            let file = Some(lines.to_vec());
            let args = vec!["--sentinel".to_owned()];
            RedisServer::start(Setup { args, file, ..setup.clone() })
        });
        let started = Self { sentinels: sentinels.collect(), servers };
        wait_until("sentinels know each other and the replicas", || {
            started.sentinels.iter().all(|sentinel| {
                let all = sentinel.text("INFO sentinel");
                all.contains(&format!("slaves={replicas},sentinels=3")) && all.contains("status=ok")
            })
        });
        started
    }

    /// The URL of a store on it.
    pub fn url(&self) -> String {
        let seeds: Vec<String> =
            self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-sentinel://{}/{NAME}", seeds.join(","))
    }

    /// The number of the server that most sentinels call the primary.
    ///
    /// # Panics
    /// When they name one that is none of these.
    pub fn primary(&self) -> usize {
        let named = |sentinel: &RedisServer| {
            let ask = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
            let answer = sentinel.command(&ask);
            let (_, port): (String, u16) = redis::from_redis_value(answer).expect("an address");
            self.servers.iter().position(|server| server.port() == port).expect("one of ours")
        };
        let mut votes: Vec<usize> = self.sentinels.iter().map(named).collect();
        votes.sort_unstable();
        votes[1]
    }

    /// Waits until another server than this is the primary.
    pub fn wait_for_another_than(&self, old: usize) -> usize {
        let is_primary =
            |nth: usize| self.servers[nth].text("INFO replication").contains("role:master");
        wait_within(FAILOVER, "a failover", || {
            let primary = self.primary();
            primary != old && is_primary(primary)
        });
        self.primary()
    }
}
