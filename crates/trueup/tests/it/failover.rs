//! Failovers of real Redis servers that lose acknowledged writes, and how much they lost.
//!
//! A replica that cannot log in to its primary gets nothing more of what that one takes. After a
//! while under load it takes the primary's place, and what it had not got is gone.

use std::fmt;
use std::time::Duration;
use trueup_store::RedisStore;
use trueup_store::testing::servers::{Cluster, RedisServer, Sentinels, wait_until};

/// How long the primary takes writes that no replica gets.
const ALONE: Duration = Duration::from_millis(500);

/// How a replica comes to take the primary's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failover {
    /// The primary dies, and is started again later.
    Kill,
    /// The primary sleeps, and wakes up as one that still takes itself for the primary.
    Freeze,
    /// The replica is told to, and asks the other primaries.
    Force,
    /// The replica is told to, and asks nobody.
    Takeover,
}

impl Failover {
    pub(crate) const ALL: [Failover; 4] =
        [Failover::Kill, Failover::Freeze, Failover::Force, Failover::Takeover];
}

/// What failovers lost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    failovers: usize,
    with_losses: usize,
    /// Of the stream of writes from primary to replica: what the primary had written into it, by
    /// its own word shortly before, behind the place where the promoted one stood.
    pub(crate) bytes: u64,
}

impl Lost {
    fn of(bytes: u64) -> Lost {
        Lost { failovers: 1, with_losses: usize::from(bytes > 0), bytes }
    }

    pub(crate) fn add(&mut self, other: Lost) {
        self.failovers += other.failovers;
        self.with_losses += other.with_losses;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { failovers, with_losses, bytes } = self;
        write!(
            f,
            "{failovers} failovers, {with_losses} of which lost writes: {bytes} bytes of them"
        )
    }
}

/// Another server becomes the primary; sentinels see to it.
pub(crate) fn of_sentinels(all: &mut Sentinels, how: Failover) -> Lost {
    let old = all.primary();
    let others: Vec<usize> = (0..all.servers.len()).filter(|&nth| nth != old).collect();
    wait_until("replicas follow", || others.iter().all(|&nth| follows(&all.servers[nth])));
    others.iter().for_each(|&nth| lock_out(&all.servers[nth]));
    let had = alone(&all.servers[old]);
    match how {
        Failover::Kill => all.servers[old].kill(),
        _ => all.servers[old].freeze(),
    }
    let new = all.wait_for_another_than(old);
    let lost = had.saturating_sub(promoted_at(&all.servers[new]));
    others.iter().for_each(|&nth| let_in(&all.servers[nth]));
    match how {
        Failover::Kill => all.servers[old].restart(),
        _ => all.servers[old].thaw(),
    }
    Lost::of(lost)
}

/// The replica of the node that has a bucket becomes a primary.
pub(crate) fn of_cluster(all: &mut Cluster, how: Failover, bucket: usize) -> Lost {
    all.wait_until_whole();
    let old = all.owner(RedisStore::slot(bucket));
    let port = all.nodes[old].port();
    let is_its_replica = |node: &RedisServer| {
        let said = replication(node);
        said.contains("role:slave") && said.contains(&format!("master_port:{port}\r"))
    };
    let new = all.nodes.iter().position(is_its_replica).expect("every primary has a replica");
    let third = (0..all.nodes.len()).find(|&nth| nth != old && nth != new).expect("more nodes");
    lock_out(&all.nodes[new]);
    let had = alone(&all.nodes[old]);
    match how {
        Failover::Kill => all.nodes[old].kill(),
        Failover::Freeze => all.nodes[old].freeze(),
        Failover::Force => drop(all.nodes[new].command("CLUSTER FAILOVER FORCE")),
        Failover::Takeover => drop(all.nodes[new].command("CLUSTER FAILOVER TAKEOVER")),
    }
    all.wait_for_primary(new, third);
    let lost = had.saturating_sub(promoted_at(&all.nodes[new]));
    let_in(&all.nodes[new]);
    match how {
        Failover::Kill => all.nodes[old].restart(),
        Failover::Freeze => all.nodes[old].thaw(),
        _ => {}
    }
    all.wait_until_whole();
    Lost::of(lost)
}

fn follows(replica: &RedisServer) -> bool {
    replication(replica).contains("master_link_status:up")
}

/// What a server says; one that changes its part closes connections meanwhile.
fn replication(server: &RedisServer) -> String {
    let mut said = None;
    wait_until("a server says what its part is", || {
        let answer = server.try_command("INFO replication");
        said = answer.ok().and_then(|answer| redis::from_redis_value(answer).ok());
        said.is_some()
    });
    said.expect("it was waited for")
}

/// From its next connection on a replica does not get in.
fn lock_out(replica: &RedisServer) {
    replica.command("CONFIG SET masterauth wrong");
}

fn let_in(replica: &RedisServer) {
    let words = ["CONFIG", "SET", "masterauth", ""];
    replica.try_args(&words).expect("the server takes a setting");
}

/// Ends the connections of a primary's replicas, lets it take writes for a while, and says how far
/// it has come.
fn alone(primary: &RedisServer) -> u64 {
    primary.command("CLIENT KILL TYPE slave");
    std::thread::sleep(ALONE);
    number(primary, "master_repl_offset:")
}

/// Where a promoted replica stood when it stopped to follow.
fn promoted_at(server: &RedisServer) -> u64 {
    number(server, "second_repl_offset:").saturating_sub(1)
}

fn number(server: &RedisServer, name: &str) -> u64 {
    let said = replication(server);
    let line = said.lines().find_map(|line| line.strip_prefix(name)).expect("it is in INFO");
    line.trim().parse().expect("a number")
}
