//! Failovers behind Sentinel and in a cluster, with writes that were acknowledged and are gone.

use trueup_store::testing::servers::{Cluster, Sentinels, Setup, wait_until};

use super::cluster::bucket_of;
use super::support::{
    fresh, is_rewound, look_when_up, moved_on, open, read, stands, write, write_when_up,
};
use crate::support::content;

/// The harm: events that only the lost primary had count as applied for ever.
#[test]
fn a_sentinel_failover_that_lost_writes_rewinds_the_writer() {
    let mut servers = Sentinels::start(&Setup::default(), 1);
    let store = open(&servers.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    servers.servers[0].cut_off(&servers.servers[1]);
    write(&store, &under, "a", "two", Some(2)).expect("it appends");
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwo"));
    servers.servers[0].kill();
    servers.servers[1].thaw();
    assert_eq!(servers.wait_for_another_than(0), 1);

    let refused = write_when_up(&store, &under, "a", "three");
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (64, 0));
    assert_eq!(now.metas[0].offset(0, 0), Some(1), "the second write is lost, and known to be");
    let held = content(&store, "a").expect("it answers");
    assert_eq!(held, "one");
    write(&store, &now.stands, "a", "two", Some(2)).expect("it goes on");
}

#[test]
fn a_cluster_failover_that_lost_writes_rewinds_the_writer() {
    let mut cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    let bucket = bucket_of(&store, "a");
    let owner = cluster.owner(bucket.slot);
    cluster.nodes[owner].cut_off(&cluster.nodes[owner + 3]);
    write(&store, &under, "a", "two", Some(2)).expect("it appends");
    cluster.nodes[owner].kill();
    cluster.nodes[owner + 3].thaw();

    let refused = write_when_up(&store, &under, "a", "three");
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    let (elsewhere, begun) = moved_on(&under, &now.stands);
    assert!((10..=40).contains(&elsewhere), "a third of the buckets: {elsewhere}");
    assert_eq!(begun, 0, "a promoted replica has what its primary had");
    assert_eq!(now.metas[0].offset(0, 0), Some(1), "the least of all buckets");
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
    write(&store, &now.stands, "a", "two", Some(2)).expect("it goes on");
}

/// The harm: no connection breaks, so nobody looks, and a checkpoint speaks of what is gone.
#[test]
fn a_takeover_away_and_back_that_no_connection_notices_is_noticed() {
    let cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    let bucket = bucket_of(&store, "a");
    let owner = cluster.owner(bucket.slot);
    let other = owner + 3;
    cluster.nodes[owner].wait_for_replica(&cluster.nodes[other]);
    let role = |nth: usize, role: &str| {
        wait_until("a role", || cluster.nodes[nth].text("INFO replication").contains(role));
    };
    for (from, to) in [(owner, other), (other, owner)] {
        cluster.nodes[to].command("CLUSTER FAILOVER TAKEOVER");
        role(to, "role:master");
        role(from, "role:slave");
        wait_until("it follows", || {
            cluster.nodes[from].text("INFO replication").contains("master_link_status:up")
        });
    }
    let refused = write_when_up(&store, &under, "a", "two");
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands).1, 0);
    assert_eq!(now.metas[0].offset(0, 0), Some(1));
}

/// The harm: with most of the cluster gone, calls hang instead of failing.
#[test]
fn a_cluster_that_is_down_is_said_to_be() {
    let mut cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    let bucket = bucket_of(&store, "a");
    let owner = cluster.owner(bucket.slot);
    for nth in (0..6).filter(|nth| *nth != owner) {
        cluster.nodes[nth].kill();
    }
    wait_until("the minority gives up", || {
        cluster.nodes[owner].text("CLUSTER INFO").contains("cluster_state:fail")
    });
    let began = std::time::Instant::now();
    for _ in 0..10 {
        assert!(read(&store, "a").is_err());
    }
    assert!(write(&store, &under, "a", "two", Some(2)).is_err());
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
    (0..6).filter(|nth| *nth != owner).for_each(|nth| cluster.nodes[nth].restart());
    cluster.wait_until_whole();
    wait_until("reads go on", || read(&store, "a").is_ok());
}
