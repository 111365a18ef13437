//! Bit flips in the files: the harm is a crash loop, or a wrong number that nobody questions.

use trueup_store::testing::{Disk, block_on};
use trueup_store::{EmbeddedStore, Log, Options, Store, StoreError, Value};

use crate::child::{as_child, next_number, spawn};
use crate::support::{applied, apply, at, compact, lot, payload};

/// Bytes between two flipped bits: odd, so that all places of a page are hit over the pages.
const STRIDE: usize = 7;
const EVENTS: u64 = 200;
/// Records of the log, in lots of a hundred: all of them are read after each flip.
const RECORDS: u64 = 300;
/// Bytes at the file's start that are read whatever they are.
const HEADER_BYTES: usize = 4096;

type Seen = (Vec<Option<Value>>, Option<u64>);

fn look_at_all(store: &EmbeddedStore) -> Result<Seen, StoreError> {
    let keys: Vec<String> = (0..7).map(|key| format!("key {key}")).collect();
    let places: Vec<_> = keys.iter().map(|key| at(key)).collect();
    let reads = block_on(store.get(&places))?;
    block_on(store.keys(places[0].space, None, 100))?;
    block_on(store.spaces())?;
    Ok((reads.into_iter().map(|read| read.value).collect(), applied(store)?))
}

/// A file with one bit flipped, for each of many bits. Holes of the file, which nobody reads, are
/// mostly left out.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Disk)> {
    let read =
        |place: &usize| bytes[*place] != 0 || *place < HEADER_BYTES || place.is_multiple_of(16);
    (0..bytes.len()).step_by(STRIDE).filter(read).map(|place| {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 << (place % 8);
        (place, Disk::holding(flipped))
    })
}

#[test]
fn a_store_verified_at_opening_refuses_or_answers_rightly_after_any_flipped_bit() {
    let options = Options::STATE;
    let disk = Disk::default();
    let sound = {
        let store = EmbeddedStore::open_on(Box::new(disk.clone()), options).expect("it opens");
        for offset in 0..EVENTS {
            apply(&store, offset).expect("a sound disk");
            if offset % 20 == 19 {
                compact(&store, offset).expect("a sound disk");
            }
        }
        block_on(store.sync()).expect("a sound disk");
        look_at_all(&store).expect("a sound disk")
    };
    let (mut refused, mut right) = (0, 0);
    for (place, disk) in flipped(&disk.bytes()) {
        let opened = EmbeddedStore::open_on(Box::new(disk), options);
        match opened.and_then(|store| look_at_all(&store)) {
            Err(_) => refused += 1,
            Ok(seen) => {
                assert_eq!(seen, sound, "bit flipped at {place}");
                right += 1;
            }
        }
    }
    println!("refused {refused}, right {right}");
    assert!(refused > 1_000, "{refused}");
}

/// A log of known records, as a file.
fn log_file() -> Vec<u8> {
    let disk = Disk::default();
    let log = Log::open_on(Box::new(disk.clone()), Options::LOG).expect("it opens");
    for first in (0..RECORDS).step_by(100) {
        log.append("pay", lot(first..first + 100)).expect("a sound disk");
    }
    drop(log);
    disk.bytes()
}

/// Whether a damaged log refuses, rather than answer; a wrong answer ends the test.
fn refuses(disk: Disk, options: Options, place: usize) -> bool {
    let opened = Log::open_on(Box::new(disk), options);
    let Ok(records) = opened.and_then(|log| log.read("pay", 0, usize::MAX, usize::MAX)) else {
        return true;
    };
    assert_eq!(records.len() as u64, RECORDS, "bit flipped at {place}");
    for record in &records {
        assert_eq!(record.payload, payload(record.offset), "bit flipped at {place}");
    }
    false
}

#[test]
fn a_log_verified_at_opening_refuses_or_answers_rightly_after_any_flipped_bit() {
    let options = Options { verify: true, ..Options::LOG };
    let file = log_file();
    let flips = flipped(&file).map(|(place, disk)| refuses(disk, options, place));
    let (refused, right): (Vec<bool>, Vec<bool>) = flips.partition(|refused| *refused);
    println!("refused {}, right {}", refused.len(), right.len());
    assert!(refused.len() > 1_000, "{}", refused.len());
}

/// Without verification the database may meet damage in its own pages while it handles damage, and
/// then Rust ends the process: no wrong answer, but an end. So children do this, and the next
/// begins behind the flip that ended the last.
#[test]
fn a_flipped_bit_in_a_log_that_is_not_verified_is_never_read_as_an_event() {
    if let Some(done) = as_child() {
        let done = done.parse().expect("the parent says a number");
        for (nth, (place, disk)) in flipped(&log_file()).enumerate().skip(done) {
            println!("flip {nth}");
            let refused = refuses(disk, Options::LOG, place);
            println!("outcome {}", u8::from(refused));
        }
        println!("outcome 2");
        return;
    }
    let (mut right, mut refused, mut ended) = (0, 0, 0);
    loop {
        let done = right + refused + ended;
        let name = "flips::a_flipped_bit_in_a_log_that_is_not_verified_is_never_read_as_an_event";
        let (mut child, mut said) = spawn(name, done.to_string().as_ref());
        let last = loop {
            match next_number(&mut said, "outcome ") {
                Some(0) => right += 1,
                Some(1) => refused += 1,
                last => break last,
            }
        };
        let status = child.wait().expect("the child ends");
        if last == Some(2) {
            break;
        }
        // A failed assertion, that is, a wrong answer, exits with a code; an abort has none.
        assert_eq!(status.code(), None, "a wrong answer at flip {}", right + refused + ended);
        ended += 1;
        assert!(ended < 200, "too many flips end the process");
    }
    println!("refused {refused}, right {right}, process ended {ended}");
    assert!(refused > 1_000, "{refused}");
}
