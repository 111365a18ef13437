//! What a single server can do to its state, and what a writer and a reader then see.

use std::fs;
use std::time::{Duration, Instant};

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{RedisServer, Setup};
use trueup_store::{Store, StoreError, Swap};

use super::support::{
    fresh, is_rewound, look_when_up, moved_on, open, read, stands, write, write_when_up,
};
use crate::support::{applied, at, content};

/// The harm: a flushed store answers 0 for a user with a history.
#[test]
fn a_flush_reads_as_nothing_known_and_the_writer_rewinds() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    assert_eq!(read(&store, "a").expect("it answers").meta.complete_since_us, Some(i64::MIN));

    server.command("FLUSHALL");
    let after = read(&store, "a").expect("it answers");
    assert_eq!((after.value, after.stand.epoch), (None, 0));
    assert_eq!((after.meta.complete_since_us, after.meta.fresh_us), (None, None));

    let refused = write(&store, &under, "a", "two", Some(2));
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (64, 64));
    assert_eq!(now.metas[0].checkpoints, []);
    write(&store, &now.stands, "a", "one", Some(1)).expect("it begins again");
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
}

/// The harm: what a zombie writer of an older epoch appends after a flush is counted.
#[test]
fn a_writer_that_slept_through_a_flush_harms_nobody() {
    let server = RedisServer::plain();
    let options = fresh();
    let (zombie, other) = (open(&server.url(), options.clone()), open(&server.url(), options));
    let old = stands(&zombie);
    write(&zombie, &old, "a", "old", Some(1)).expect("it appends");
    server.command("FLUSHALL");
    let new = stands(&other);
    write(&other, &new, "a", "new", Some(0)).expect("it appends");
    // Its connection did not break, so it appends; its checkpoint is refused.
    write_when_up(&zombie, &old, "a", "late").expect_err("its marker is refused");
    let refused = write(&zombie, &old, "a", "late", Some(7));
    assert!(is_rewound(&refused), "{refused:?}");
    assert_eq!(content(&other, "a").as_deref(), Ok("new"));
    assert_eq!(applied(&other), Ok(Some(0)));
}

/// The harm: a compaction that read before a flush puts the old history over the new one.
#[test]
fn a_flush_between_read_and_swap_leaves_the_new_value_alone() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "a", "same", Some(1)).expect("it appends");
    let before = read(&store, "a").expect("it answers");
    server.command("FLUSHALL");
    write(&store, &stands(&store), "a", "same", Some(1)).expect("it appends");
    let replaced = before.value.expect("it was appended");
    let (epoch, base) = (before.stand.epoch, b"[all that was before]");
    let swap = Swap { epoch, at: at("a"), replaced: &replaced, base, kept: b"" };
    assert_eq!(block_on(store.swap(&[swap])), Ok(vec![false]));
    assert_eq!(content(&store, "a").as_deref(), Ok("same"));
}

/// The harm: a server that restarts with an older dump has lost appends that count as applied.
#[test]
fn a_restart_with_an_older_dump_rewinds_the_writer_to_its_checkpoint() {
    let mut server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    server.command("SAVE");
    write(&store, &under, "a", "two", Some(2)).expect("it appends");
    server.restart();
    let refused = write_when_up(&store, &under, "a", "three");
    assert!(is_rewound(&refused), "{refused:?}");
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (64, 0), "the same epoch, another incarnation");
    assert_eq!(now.metas[0].offset(0, 0), Some(1));
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
    // A swap of what was read before finds other bytes; one of what is there now is done.
    write(&store, &now.stands, "a", "two", Some(2)).expect("it appends");
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwo"));
}

/// The harm: an append-only file that was cut at any byte has lost appends that count as applied.
#[test]
fn an_append_only_file_cut_at_any_byte_never_leaves_a_checkpoint_without_its_appends() {
    let mut server = RedisServer::start(Setup::with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--aof-use-rdb-preamble",
        "no",
        "--aof-load-truncated",
        "yes",
    ]));
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    for nth in 1..=20 {
        write(&store, &under, "a", &format!("<{nth}>"), Some(nth)).expect("it appends");
    }
    server.kill();
    let file = server.newest_aof();
    let whole = fs::read(&file).expect("the file is there");
    let cuts = (1..=4000).step_by(401);
    for cut in cuts.filter(|cut| *cut < whole.len()) {
        server.kill();
        fs::write(&file, &whole[..whole.len() - cut]).expect("the file is written");
        server.restart();
        let look = look_when_up(&store);
        let offset = look.metas[0].offset(0, 0).unwrap_or(0);
        let held = content(&store, "a").expect("it answers");
        assert!(held.matches('<').count() as u64 >= offset, "cut {cut}: {held} at {offset}");
        println!("cut {cut}: checkpoint {offset}, {} records", held.matches('<').count());
    }
}

/// The harm: reads pile up behind a server that hangs, each longer than a payment can wait.
#[test]
fn a_frozen_server_costs_each_call_its_timeout_and_no_more() {
    let server = RedisServer::plain();
    let mut options = fresh();
    options.write_timeout = Duration::from_millis(400);
    let store = open(&server.url(), options);
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    server.freeze();
    let slow = Duration::from_millis(250 + 150);
    for _ in 0..5 {
        let (began, answer) = (Instant::now(), read(&store, "a"));
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
        assert!(began.elapsed() < slow, "{:?}", began.elapsed());
    }
    let (began, refused) = (Instant::now(), write(&store, &under, "a", "two", Some(2)));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    server.thaw();
    let now = look_when_up(&store);
    assert_eq!(moved_on(&under, &now.stands), (0, 0), "nothing was lost");
    let answer = write_when_up(&store, &under, "a", "two");
    assert_eq!(answer, Ok(()));
    let held = content(&store, "a").expect("it answers");
    assert!(held.starts_with("one") && held.ends_with("two"), "{held}");
    assert!(store.counts().timeouts >= 2);
}

/// The harm: a full server ends the worker, or loses what it says it took.
#[test]
fn a_full_server_refuses_writes_answers_reads_and_goes_on_when_there_is_room() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    server.command("CONFIG SET maxmemory 1mb");
    let refused = write(&store, &under, "a", "two", Some(2));
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert!(refused.expect_err("it is full").advice().retry);
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
    assert_eq!(applied(&store), Ok(Some(1)));
    server.command("CONFIG SET maxmemory 0");
    write(&store, &under, "a", "two", Some(2)).expect("there is room again");
    assert_eq!(content(&store, "a").as_deref(), Ok("onetwo"));
}

#[test]
fn scripts_that_a_server_has_forgotten_are_sent_whole() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    let under = stands(&store);
    server.command("SCRIPT FLUSH");
    write(&store, &under, "a", "one", Some(1)).expect("it appends");
    server.command("SCRIPT FLUSH");
    assert_eq!(content(&store, "a").as_deref(), Ok("one"));
    server.command("SCRIPT FLUSH");
    assert_eq!(moved_on(&under, &stands(&store)), (0, 0));
}
