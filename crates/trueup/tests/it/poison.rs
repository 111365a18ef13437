//! Records that bring down what reads them. The harm is a stream that one record stops for ever, a
//! worker that is dead while its process looks healthy, and an innocent record that is blamed.
//!
//! The records stand in a local log before the command begins, as a broker would hold them: nobody
//! has looked into them. Which of them is poison is said by `TRUEUP_POISON`; see `trueup::fault`.

use crate::child;
use crate::pay::{Payment, START_US, counts_are_right};
use crate::support::{Server, options};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use trueup::node::NodeOptions;
use trueup::place::{Place, RedisPlace};
use trueup_core::testing::Dice;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{DeadLetter, Log, Lot, Options};

/// What makes a record poison.
const POISON: &str = "hemlock";

/// Payments beside it: more than one batch.
const PAYMENTS: i64 = 6_000;

/// The state and the log, in a test's folder.
const STATE: &str = "state";

/// Signals, as Unix numbers them.
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// A folder with the definitions, and a log of all payments with these records before some of them.
fn folder(between: &[(i64, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pay.sql"), include_str!("pay.sql")).unwrap();
    let log = Log::open(&folder.path().join(STATE), Options::LOG).unwrap();
    let mut lot = Lot::default();
    let now = START_US + 20 * 86_400_000_000;
    for id in 0..PAYMENTS {
        for (_, record) in between.iter().filter(|(before, _)| *before == id) {
            lot.push(now, record).unwrap();
        }
        lot.push(now, Payment::of(id).json().to_string().as_bytes()).unwrap();
    }
    log.append("payments", lot).unwrap();
    folder
}

/// A payment that is like any other, but for what it says.
fn poison() -> Vec<u8> {
    let mut payment = Payment::of(PAYMENTS).json();
    payment["note"] = POISON.into();
    payment.to_string().into_bytes()
}

/// The command, as a supervisor would start it.
fn ingest(folder: &Path, store: &str, poison: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command
        .args(["ingest", "--definitions", "pay.sql", "--store", store, "--data", STATE])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.envs(poison.map(|how| ("TRUEUP_POISON", format!("{how}:{POISON}"))));
    command
}

fn letters(folder: &Path) -> Vec<DeadLetter> {
    let log = Log::open(&folder.join(STATE), Options::LOG).unwrap();
    let letters = log.dead_letters("payments", None, 10).unwrap();
    letters.into_iter().map(|(_, letter)| letter).collect()
}

/// Restarts the command until it ends well; how often it died before.
fn supervise(folder: &Path, store: &str) -> usize {
    for deaths in 0.. {
        let ended = ingest(folder, store, Some("abort")).status().unwrap();
        if ended.success() {
            return deaths;
        }
        assert_eq!(ended.signal(), Some(SIGABRT), "it dies of the poison alone");
        assert!(deaths < 10, "one record stops the stream for ever");
    }
    unreachable!("it ends well or the test fails")
}

#[track_caller]
fn assert_the_poison(letter: &DeadLetter, offset: u64, why: &str) {
    assert_eq!(letter.position, Some((0, offset)));
    assert_eq!(letter.bytes, poison());
    assert!(letter.reason.starts_with(why), "{}", letter.reason);
}

/// The state in a folder holds all payments, and nothing else.
async fn assert_all_payments(folder: &Path) {
    let server = child::Server::start(&folder.join(STATE), None).unwrap();
    assert!(counts_are_right(&server.client, PAYMENTS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_panics_is_a_dead_letter_and_stops_nobody() {
    let poison = poison();
    let folder = folder(&[(100, &poison), (5_000, &poison)]);
    let store = format!("embedded:{STATE}");
    assert!(ingest(folder.path(), &store, Some("panic")).status().unwrap().success());
    let letters = letters(folder.path());
    assert_eq!(letters.len(), 2);
    assert_the_poison(&letters[0], 100, "panicked: poisoned on cue");
    assert_the_poison(&letters[1], 5_001, "panicked: poisoned on cue");
    assert_all_payments(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_ends_the_process_again_and_again_does_not_stop_the_stream_for_ever() {
    let poison = poison();
    let folder = folder(&[(4_500, &poison)]);
    let deaths = supervise(folder.path(), &format!("embedded:{STATE}"));
    assert!(deaths <= 4, "the batch, and three times the record: {deaths}");
    let letters = letters(folder.path());
    assert_eq!(letters.len(), 1);
    assert_the_poison(&letters[0], 4_500, "quarantined: the process ended 3 times");
    assert_all_payments(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_where_the_state_is_in_redis() {
    let redis = RedisServer::plain();
    let poison = poison();
    let folder = folder(&[(4_500, &poison)]);
    assert!(supervise(folder.path(), &redis.url()) <= 4);
    assert_the_poison(&letters(folder.path())[0], 4_500, "quarantined: ");
    let (url, data) = (redis.url(), folder.path().join(STATE));
    let place = RedisPlace { url, prefix: None, password: None, ca_file: None, data };
    let max_staleness = Duration::MAX;
    let options = options(include_str!("pay.sql"));
    let options = NodeOptions { place: Place::Redis(place), max_staleness, ..options };
    let server = Server::start(options).await;
    assert!(counts_are_right(&server.client, PAYMENTS).await);
    server.stop().await;
}

/// It took the stack of whoever skipped it, and with it the process.
#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_json_is_a_dead_letter_and_kills_nothing() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let nested = deep("[", "]");
    let column = format!("{{\"id\": 1, \"at\": {nested}}}");
    let objects = deep("{\"id\":", "}");
    let folder =
        folder(&[(10, nested.as_bytes()), (20, column.as_bytes()), (30, objects.as_bytes())]);
    let ended = ingest(folder.path(), &format!("embedded:{STATE}"), None).status().unwrap();
    assert!(ended.success(), "{ended}");
    let offsets: Vec<_> = letters(folder.path()).iter().map(|letter| letter.position).collect();
    assert_eq!(offsets, [Some((0, 10)), Some((0, 21)), Some((0, 32))]);
    assert_all_payments(folder.path()).await;
}

/// A machine that is restarted often would lose its events to the dead letters, one by one.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_often_takes_no_innocent_record_for_poison() {
    const KILLS: u64 = 40;
    let folder = folder(&[]);
    let store = format!("embedded:{STATE}");
    let began = Instant::now();
    let dry = self::folder(&[]);
    assert!(ingest(dry.path(), &store, None).status().unwrap().success());
    let whole_ms = began.elapsed().as_millis() as u64;
    let mut dice = Dice::new(11);
    let (mut killed, mut in_hand) = (0, 0);
    for _ in 0..KILLS {
        let mut process = ingest(folder.path(), &store, None).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(dice.below(whole_ms + 1)));
        process.kill().unwrap();
        let ended: ExitStatus = process.wait().unwrap();
        killed += usize::from(ended.signal() == Some(SIGKILL));
        in_hand += usize::from(is_in_hand(&folder.path().join(STATE)));
    }
    println!("{killed} of {KILLS} killed, {in_hand} with records in hand");
    assert!(ingest(folder.path(), &store, None).status().unwrap().success());
    assert_eq!(letters(folder.path()), []);
    assert_all_payments(folder.path()).await;
}

/// Whether the last process ended while it worked records out.
fn is_in_hand(state: &Path) -> bool {
    let files = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let mut texts = files
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("in-hand-"))
        })
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts.any(|text| {
        text.lines().take_while(|line| *line != "end").any(|line| line.starts_with("hand"))
    })
}
