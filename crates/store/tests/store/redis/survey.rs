//! Surveys: what a person is told of servers and buckets, and that asking changes nothing.

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup, wait_until};
use trueup_store::{BucketState, RedisOptions, RedisStore, Store, StoreError, Survey};

use super::cluster::bucket_of;
use super::support::{fresh, look_when_up, open, stands, write};
use crate::support::at;

fn survey(store: &RedisStore) -> Survey {
    block_on(store.survey(&[at("").space])).expect("it answers")
}

fn survey_when_up(store: &RedisStore) -> Survey {
    wait_until("the server answers", || block_on(store.survey(&[])).is_ok());
    survey(store)
}

fn count(survey: &Survey, state: BucketState) -> usize {
    survey.buckets.iter().filter(|bucket| bucket.state == state).count()
}

/// The harm: whoever looks at a server under a prefix that is wrong by a letter makes a store
/// there.
#[test]
fn a_survey_of_a_server_that_was_never_used_leaves_it_empty() {
    let server = RedisServer::plain();
    let found = survey(&open(&server.url(), fresh()));
    assert_eq!(count(&found, BucketState::Empty), 64);
    assert_eq!(found.common(0), Default::default());
    assert_eq!(server.text("DBSIZE"), "0");
    let [only] = &found.servers[..] else { panic!("one server: {:?}", found.servers) };
    assert_eq!(only.place, format!("127.0.0.1:{}", server.port()));
    assert!(only.software.starts_with("Redis ") && only.used_bytes > Some(0), "{only:?}");
}

/// The harm: the one who is paged takes a server that came back with less for the one it was, or
/// the question itself hides from the workers that they have to go back.
#[test]
fn a_restarted_server_is_unseen_until_a_writer_has_looked() {
    let kept = Setup::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut server = RedisServer::start(kept);
    let options = fresh();
    let store = open(&server.url(), options.clone());
    write(&store, &stands(&store), "a", "one", Some(7)).expect("it appends");
    assert_eq!(count(&survey(&store), BucketState::Sound), 64);
    server.restart();
    let watcher = open(&server.url(), options);
    for _ in 0..2 {
        let found = survey_when_up(&watcher);
        assert_eq!(count(&found, BucketState::Unseen), 64);
        assert_eq!(found.common(0).offset(0, 0), Some(7));
    }
    look_when_up(&store);
    assert_eq!(count(&survey(&watcher), BucketState::Sound), 64);
    server.command("FLUSHALL");
    assert_eq!(count(&survey(&watcher), BucketState::Empty), 64);
    server.kill();
    let gone = block_on(watcher.survey(&[]));
    assert!(matches!(gone, Err(StoreError::Unavailable { .. })), "{gone:?}");
}

#[test]
fn a_cluster_tells_which_buckets_are_where_and_which_are_on_their_way() {
    let cluster = Cluster::start(&Setup::default());
    let store = open(&cluster.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(7)).expect("it appends");
    let found = survey(&store);
    assert_eq!((found.servers.len(), count(&found, BucketState::Sound)), (3, 64));
    let bucket = bucket_of(&store, "a");
    let owner = cluster.owner(bucket.slot);
    let place =
        |survey: &Survey| survey.servers[survey.buckets[bucket.number].server].place.clone();
    assert_eq!(place(&found), format!("127.0.0.1:{}", cluster.nodes[owner].port()));
    let to = (owner + 1) % 3;
    cluster.begin_move(bucket.slot, owner, to);
    assert_eq!(survey(&store).buckets[bucket.number].state, BucketState::Moving);
}

/// The harm: two environments on one server are taken for two, or two that keep nothing for alike.
#[test]
fn servers_say_how_they_are_set_up_and_which_life_they_are() {
    let kept = Setup::with(&["--appendonly", "yes", "--min-replicas-to-write", "1"]);
    let (durable, plain) = (RedisServer::start(kept), RedisServer::plain());
    let policies = |server: &RedisServer, options: RedisOptions| {
        let all = block_on(open(&server.url(), options).policies()).expect("it answers");
        let [one] = &all[..] else { panic!("one server: {all:?}") };
        one.clone()
    };
    let one = policies(&durable, fresh());
    assert_eq!(one.persistence.as_deref(), Some("append-only file"));
    assert_eq!((one.replicas, one.min_replicas), (Some(0), Some(1)));
    let (options, other) = (fresh(), fresh());
    let two = policies(&plain, options.clone());
    assert_eq!(two.persistence.as_deref(), Some("nothing"));
    assert_eq!((two.min_replicas, two.eviction.as_str()), (Some(0), "noeviction"));
    assert!(two.time_us > Some(0), "{two:?}");
    assert_ne!(one.life, two.life);
    let again = policies(&plain, options);
    assert_eq!((&again.life, &again.part), (&two.life, &two.part));
    let beside = policies(&plain, other);
    assert_eq!(beside.life, two.life);
    assert_ne!(beside.part, two.part);
}

/// The harm: a user with just the rights that the store needs cannot be examined at all.
#[test]
fn a_user_who_may_not_ask_for_settings_is_told_the_rest() {
    let server = RedisServer::plain();
    server.command("ACL SETUSER default -config");
    let all = block_on(open(&server.url(), fresh()).policies()).expect("it answers");
    assert_eq!((&all[0].persistence, all[0].min_replicas), (&None, None));
    assert_eq!((all[0].eviction.as_str(), all[0].replicas), ("noeviction", Some(0)));
}
