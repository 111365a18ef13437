//! Each rule of writing, with what happens without it and with it. (`order` and `fold` are the
//! caller's.)

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{Cluster, RedisServer, Setup, wait_until};
use trueup_store::{RedisOptions, Rules, Store, StoreError, Swap};

use super::cluster::bucket_of;
use super::support::{fresh, is_rewound, look_when_up, open, read, stands, write, write_when_up};
use crate::support::{applied, at, content};

/// What a story ends with: without the rule, and with it.
fn check<T: PartialEq + std::fmt::Debug>(
    off: Rules,
    story: impl Fn(RedisOptions) -> T,
    without: T,
    with: T,
) {
    assert_eq!(story(fresh().with_rules(off)), without, "without the rule");
    // What makes other rules bite sooner stays as it was.
    let on = Rules { watch: off.watch, ..Rules::ALL };
    assert_eq!(story(fresh().with_rules(on)), with, "with the rule");
}

/// The harm: a reader sees a history with a hole, until the next checkpoint is refused.
#[test]
fn without_who_a_reader_sees_a_history_with_a_hole() {
    let story = |options| {
        let mut server = RedisServer::plain();
        let store = open(&server.url(), options);
        let under = stands(&store);
        write(&store, &under, "a", "one ", Some(1)).expect("it appends");
        server.command("SAVE");
        write(&store, &under, "a", "two ", Some(2)).expect("it appends");
        server.restart();
        wait_until("it answers", || read(&store, "a").is_ok());
        let batch = append_only(&store, &under, "three");
        (is_rewound(&batch), content(&store, "a").expect("it answers"))
    };
    let off = Rules { who: false, ..Rules::ALL };
    check(off, story, (false, "one three".to_owned()), (true, "one ".to_owned()));
}

/// Appends, without a marker or a checkpoint that could be refused.
fn append_only(
    store: &trueup_store::RedisStore,
    under: &trueup_store::Stands,
    record: &str,
) -> Result<(), StoreError> {
    let appends = &[trueup_store::Append { at: at("a"), record: record.as_bytes() }];
    let batch = trueup_store::Batch { appends, ..trueup_store::Batch::under(under) };
    let mut answer = block_on(store.append(&batch)).map(drop);
    wait_until("the server takes it or not", || {
        if matches!(answer, Err(StoreError::Unavailable { .. })) {
            answer = block_on(store.append(&batch)).map(drop);
        }
        !matches!(answer, Err(StoreError::Unavailable { .. }))
    });
    answer
}

/// The harm: after a failover that no connection notices, a checkpoint says that lost events are
/// applied, and they are never sent again.
#[test]
fn without_inc_a_checkpoint_speaks_of_appends_that_a_failover_lost() {
    let story = |options: RedisOptions| {
        let cluster = Cluster::start(&Setup::default());
        let store = open(&cluster.url(), options);
        let under = stands(&store);
        write(&store, &under, "a", "one ", Some(1)).expect("it appends");
        let owner = cluster.owner(bucket_of(&store, "a").slot);
        let (old, new) = (&cluster.nodes[owner], &cluster.nodes[owner + 3]);
        old.wait_for_replica(new);
        // The replica is sent to a primary that is not there, so it follows nobody for a while.
        new.command("CONFIG SET masterauth wrong");
        old.command("ACL SETUSER default resetpass >secret");
        drop(old.try_command("PING").expect_err("new connections need the password"));
        let mine = |words: &str| old.try_with_password("secret", words).expect("it answers");
        mine("CLIENT KILL TYPE slave");
        append_only(&store, &under, "two ").expect("the old connection goes on");
        new.command("CLUSTER FAILOVER TAKEOVER");
        let text = |words: &str| -> String { redis::from_redis_value(mine(words)).expect("text") };
        wait_until("the old one follows", || {
            text("INFO replication").contains("master_link_status:up")
        });
        new.command("CONFIG SET masterauth secret");
        mine("CLUSTER FAILOVER TAKEOVER");
        wait_until("it is the primary again", || text("INFO replication").contains("role:master"));
        wait_until("all agree", || {
            new.text("CLUSTER NODES")
                .lines()
                .any(|line| line.contains(&old.port().to_string()) && line.contains("master"))
        });
        let answer = write_when_up(&store, &under, "a", "three ")
            .and_then(|()| write(&store, &under, "a", "four", Some(4)));
        mine("ACL SETUSER default nopass");
        let lost = !content(&store, "a").expect("it answers").contains("two");
        (is_rewound(&answer), lost, look_when_up(&store).metas[0].offset(0, 0))
    };
    // Markers are checkpoints too, so `write` is refused with the rule.
    let off = Rules { inc: false, watch: false, ..Rules::ALL };
    check(off, story, (false, true, Some(4)), (true, true, Some(1)));
}

/// The harm: a zombie writer's checkpoint, from before a flush, says that a new bucket has what
/// went with the flush.
#[test]
fn without_epoch_a_zombies_checkpoint_speaks_of_what_a_flush_took() {
    let story = |options: RedisOptions| {
        let server = RedisServer::plain();
        let (zombie, other) = (open(&server.url(), options.clone()), open(&server.url(), options));
        let old = stands(&zombie);
        write(&zombie, &old, "a", "one ", Some(1)).expect("it appends");
        server.command("FLUSHALL");
        write(&other, &stands(&other), "b", "new", Some(0)).expect("it appends");
        let answer = write(&zombie, &old, "a", "two", Some(2));
        let seen = content(&other, "a").expect("it answers");
        (is_rewound(&answer), seen, applied(&other).expect("it answers"))
    };
    let off = Rules { epoch: false, ..Rules::ALL };
    check(off, story, (false, "two".to_owned(), Some(2)), (true, String::new(), Some(0)));
}

/// The harm: a compaction that folded records of a lost timeline replaces others, which are gone.
#[test]
fn without_bytes_a_swap_replaces_records_that_were_never_folded() {
    let story = |options: RedisOptions| {
        let mut server = RedisServer::plain();
        let store = open(&server.url(), options);
        let under = stands(&store);
        write(&store, &under, "a", "one ", Some(1)).expect("it appends");
        server.command("SAVE");
        write(&store, &under, "a", "two ", Some(2)).expect("it appends");
        let before = read(&store, "a").expect("it answers");
        server.restart();
        let now = look_when_up(&store);
        write(&store, &now.stands, "a", "new ", None).expect("it appends");
        let replaced = before.value.expect("it was appended");
        let epoch = before.stand.epoch;
        let swap = Swap { epoch, at: at("a"), replaced: &replaced, base: b"[one two]", kept: b"" };
        let done = block_on(store.swap(&[swap])).expect("it answers")[0];
        (done, content(&store, "a").expect("it answers"))
    };
    let off = Rules { bytes: false, ..Rules::ALL };
    check(off, story, (true, "[one two]".to_owned()), (false, "one new ".to_owned()));
}

/// The harm: keys that moved first went with their new node's failover; the stand, which moved
/// last, vouches for them, so a user with a history reads as one without.
#[test]
fn without_seen_a_user_whose_key_was_lost_in_a_move_reads_as_new() {
    let story = |options: RedisOptions| {
        let mut cluster = Cluster::start(&Setup::default());
        let store = open(&cluster.url(), options.clone());
        write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
        let bucket = bucket_of(&store, "a");
        let from = cluster.owner(bucket.slot);
        let (to, promoted) = ((from + 1) % 3, (from + 1) % 3 + 3);
        drop(store);

        cluster.nodes[to].cut_off(&cluster.nodes[promoted]);
        cluster.begin_move(bucket.slot, from, to);
        let pattern = format!("KEYS {}:{{b{}}}:*:v:*", options.prefix, bucket.number);
        let names: Vec<String> =
            redis::from_redis_value(cluster.nodes[from].command(&pattern)).expect("names");
        cluster.move_key(names[0].as_bytes(), from, to);
        cluster.nodes[to].kill();
        cluster.nodes[promoted].thaw();
        cluster.wait_for_primary(promoted, from);
        cluster.begin_move(bucket.slot, from, promoted);
        while cluster.move_keys(bucket.slot, from, promoted, 10) > 0 {}
        cluster.end_move(bucket.slot, from, promoted);
        wait_until("the cluster serves", || {
            cluster.nodes[from].text("CLUSTER INFO").contains("cluster_state:ok")
        });

        let store = open(&cluster.url(), options);
        look_when_up(&store);
        let after = read(&store, "a").expect("it answers");
        (after.value.is_some(), after.meta.complete_since_us)
    };
    let off = Rules { seen: false, ..Rules::ALL };
    check(off, story, (false, Some(i64::MIN)), (false, None));
}

/// The harm: one who takes a space over finds in it, later, what another writer still says.
#[test]
fn after_a_fence_a_writer_that_looked_before_is_refused_until_it_looks_again() {
    let server = RedisServer::plain();
    let options = fresh();
    let (old, new) = (open(&server.url(), options.clone()), open(&server.url(), options));
    let under = stands(&old);
    write(&old, &under, "a", "one", Some(1)).expect("it appends");
    block_on(new.fence()).expect("it answers");
    assert!(is_rewound(&write(&old, &under, "a", "two", Some(2))));
    let meta = block_on(new.look(&[at("a").space])).expect("it answers").metas.remove(0);
    assert_eq!(meta.offset(0, 0), Some(1), "what it said did not count");
    write(&old, &stands(&old), "a", "two", Some(2)).expect("it has looked");
    write(&new, &stands(&new), "a", "three", Some(3)).expect("the other one goes on");
}
