//! A cluster of three primaries with a replica each.

use redis::Value;

use super::process::{RedisServer, Setup};
use super::wait_until;

const PRIMARIES: usize = 3;
const SLOTS: usize = 16384;

/// Three primaries, then their replicas in the same order, at the start.
#[derive(Debug)]
pub struct Cluster {
    /// All nodes.
    pub nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// When it does not come about.
    pub fn start(setup: &Setup) -> Self {
        let mut setup = setup.clone();
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
        setup.args.extend(args.map(str::to_owned));
        let nodes: Vec<RedisServer> =
            (0..2 * PRIMARIES).map(|_| RedisServer::start(setup.clone())).collect();
        let cluster = Self { nodes };
        cluster.join();
        cluster
    }

    fn join(&self) {
        for (nth, node) in self.nodes.iter().enumerate() {
            node.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", nth + 1));
            node.command(&format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port()));
        }
        for (nth, node) in self.nodes[..PRIMARIES].iter().enumerate() {
            let slots = nth * SLOTS / PRIMARIES..(nth + 1) * SLOTS / PRIMARIES;
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            node.command(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
        }
        wait_until("all nodes know each other", || {
            self.nodes.iter().all(|node| node.text("CLUSTER NODES").lines().count() == 6)
        });
        for (nth, replica) in self.nodes[PRIMARIES..].iter().enumerate() {
            let primary = self.id(nth);
            wait_until("a replica knows its primary", || {
                replica.try_command(&format!("CLUSTER REPLICATE {primary}")).is_ok()
            });
        }
        self.wait_until_whole();
    }

    /// Waits until every running node says that the cluster serves, and replicas follow.
    pub fn wait_until_whole(&self) {
        let said = |node: &RedisServer, command: &str, text: &str| match node.try_command(command) {
            Ok(answer) => {
                redis::from_redis_value::<String>(answer).is_ok_and(|answer| answer.contains(text))
            }
            Err(_) => false,
        };
        wait_until("the cluster serves", || {
            self.nodes.iter().all(|node| {
                let follows = said(node, "INFO replication", "role:master")
                    || said(node, "INFO replication", "master_link_status:up");
                follows && said(node, "CLUSTER INFO", "cluster_state:ok")
            })
        });
    }

    /// The id of a node.
    pub fn id(&self, nth: usize) -> String {
        self.nodes[nth].text("CLUSTER MYID")
    }

    /// The URL of a store on it, by its first nodes.
    pub fn url(&self) -> String {
        let seeds: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", seeds.join(","))
    }

    /// The number of the node that has a slot.
    ///
    /// # Panics
    /// When none says so.
    pub fn owner(&self, slot: u16) -> usize {
        let mine = |node: &RedisServer| {
            node.text("INFO replication").contains("role:master")
                && node.text("CLUSTER NODES").lines().any(|line| {
                    line.contains("myself")
                        && line.split(' ').skip(8).any(|range| {
                            let (first, last) = range.split_once('-').unwrap_or((range, range));
                            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
                            bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
                        })
                })
        };
        self.nodes.iter().position(mine).expect("a slot has an owner")
    }

    /// Waits until a node is a primary, and another one knows it.
    pub fn wait_for_primary(&self, nth: usize, known_to: usize) {
        let id = self.id(nth);
        wait_until("a node is a primary", || {
            self.nodes[nth].text("INFO replication").contains("role:master")
                && self.nodes[known_to].text("CLUSTER NODES").lines().any(|line| {
                    line.starts_with(&id) && line.contains("master") && !line.contains("fail")
                })
        });
    }

    /// Tells source and target that a slot is on its way.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        self.nodes[to].command(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        self.nodes[from].command(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
    }

    /// Moves up to `most` keys of a slot that is on its way; how many it were.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> usize {
        let keys = self.nodes[from].command(&format!("CLUSTER GETKEYSINSLOT {slot} {most}"));
        let Value::Array(keys) = keys else { return 0 };
        for key in &keys {
            let Value::BulkString(key) = key else { continue };
            self.move_key(key, from, to);
        }
        keys.len()
    }

    /// Moves one key of a slot that is on its way.
    ///
    /// # Panics
    /// When it does not move.
    pub fn move_key(&self, key: &[u8], from: usize, to: usize) {
        let port = self.nodes[to].port().to_string();
        let words =
            [b"MIGRATE", &b"127.0.0.1"[..], port.as_bytes(), key, b"0", b"5000", b"REPLACE"];
        self.nodes[from].try_args(&words).expect("a key moves");
    }

    /// Tells everybody that a slot has arrived.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let target = self.id(to);
        for nth in [to, from] {
            self.nodes[nth].command(&format!("CLUSTER SETSLOT {slot} NODE {target}"));
        }
    }

    /// Moves a slot whole.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_keys(slot, from, to, 100) > 0 {}
        self.end_move(slot, from, to);
    }
}
