//! Files as each version of the layout wrote them, opened by today's code.
//!
//! `tests/fixtures/v1` holds a `state.redb` with filed rows, a base, rows that only the journal
//! knows, a removed key, checkpoints and a marker; and a `log.redb` with two streams, one of them
//! trimmed, and dead letters. Their bytes are the database's and differ with each run, so they are
//! compared by what they say.
//!
//! For a version 2: raise `FORMAT` of the file, keep what reads 1 (or a migration), write new files
//! with `UPDATE_FIXTURES=1 cargo nextest run --release --workspace --all-features fixtures` into
//! `v2`, add `"v2"` to [`VERSIONS`], and leave those of `v1` as they are.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use trueup_store::testing::block_on;
use trueup_store::{
    Append, At, Batch, Checkpoint, DeadLetter, Durability, EmbeddedStore, Log, Lot, Marker,
    Options, Space, Store, Swap, Value,
};

/// All versions that are opened, the present one last.
const VERSIONS: &[&str] = &["v1"];

fn directory(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn space(nth: u8) -> Space {
    Space::from([nth; 32])
}

fn at(nth: u8, key: &[u8]) -> At<'_> {
    At { space: space(nth), key }
}

fn append(store: &EmbeddedStore, offset: u64, appends: &[(u8, &[u8], &[u8])]) {
    let under = block_on(store.look(&[])).expect("it answers").stands;
    let appends: Vec<Append<'_>> =
        appends.iter().map(|(nth, key, record)| Append { at: at(*nth, key), record }).collect();
    let said = Checkpoint { source: 1, partition: 2, offset, fresh_us: 1_000 + offset as i64 };
    let checkpoints = [(space(1), said)];
    let markers = [(space(1), Marker::Set(-5))];
    let durability = Durability::Synced;
    let batch = Batch {
        appends: &appends,
        checkpoints: &checkpoints,
        markers: &markers,
        durability,
        ..Batch::under(&under)
    };
    block_on(store.append(&batch)).expect("it appends");
}

fn swap(store: &EmbeddedStore, nth: u8, key: &[u8], base: &[u8]) {
    let read = block_on(store.get(&[at(nth, key)])).expect("it answers").remove(0);
    let (epoch, replaced) = (read.stand.epoch, read.value.expect("it was appended to"));
    let swap = Swap { epoch, at: at(nth, key), replaced: &replaced, base, kept: b"" };
    assert_eq!(block_on(store.swap(&[swap])).expect("it swaps"), [true]);
}

fn write_state(dir: &Path) {
    let filing = Options { rows_bytes: 0, ..Options::STATE };
    let store = EmbeddedStore::open(dir, filing).expect("it opens");
    append(&store, 7, &[(1, b"user", b"one"), (2, b"", b"other"), (1, b"gone", b"x")]);
    swap(&store, 1, b"user", b"folded");
    append(&store, 8, &[(1, b"user", b"two")]);
    drop(store);
    let store = EmbeddedStore::open(dir, Options::STATE).expect("it opens");
    append(&store, 9, &[(1, b"user", b"three"), (1, b"young", b"four")]);
    swap(&store, 1, b"gone", b"");
    block_on(store.sync()).expect("it syncs");
}

fn write_log(dir: &Path) {
    let log = Log::open(dir, Options::LOG).expect("it opens");
    for (stream, records) in [("pay", 5), ("login", 1)] {
        let mut lot = Lot::default();
        (0..records).for_each(|nth| lot.push(100 + nth, &[nth as u8; 3]).expect("it is small"));
        log.append(stream, lot).expect("it appends");
    }
    log.trim("pay", 2).expect("it trims");
    let letter = DeadLetter {
        position: Some((0, 3)),
        time_us: None,
        reason: "no time".into(),
        bytes: b"{}".to_vec(),
    };
    log.bury("pay", vec![letter]).expect("it buries");
}

/// A copy: opening writes.
fn copy_of(version: &str, file: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory for the test");
    let from = directory(version).join(file);
    std::fs::copy(&from, dir.path().join(file))
        .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    dir
}

/// Writes the files of the present version, if it is asked for.
fn update(file: &str, write: impl Fn(&Path)) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let dir = TempDir::new().expect("a directory");
        write(dir.path());
        let into = directory(VERSIONS[VERSIONS.len() - 1]);
        std::fs::create_dir_all(&into).expect("a place to write");
        std::fs::copy(dir.path().join(file), into.join(file)).expect("a place to write");
    }
}

#[test]
fn a_state_file_of_every_released_version_opens_with_everything_in_it() {
    update("state.redb", write_state);
    for version in VERSIONS {
        let dir = copy_of(version, "state.redb");
        let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
        let keys = [at(1, b"user"), at(2, b""), at(1, b"young"), at(1, b"gone")];
        let reads = block_on(store.get(&keys)).expect("it answers");
        let values: Vec<_> = reads.iter().map(|read| read.value.clone()).collect();
        let expected = [
            Some(Value::new(b"folded", b"twothree")),
            Some(Value::new(b"", b"other")),
            Some(Value::new(b"", b"four")),
            None,
        ];
        assert_eq!(values, expected, "{version}");
        let said = Checkpoint { source: 1, partition: 2, offset: 9, fresh_us: 1_009 };
        assert_eq!(reads[0].meta.checkpoints, [said], "{version}");
        assert_eq!(reads[0].meta.complete_since_us, Some(-5), "{version}");
        assert_eq!(block_on(store.stats()).expect("it answers").keys, 3, "{version}");
    }
}

#[test]
fn a_log_of_every_released_version_opens_with_everything_in_it() {
    update("log.redb", write_log);
    for version in VERSIONS {
        let dir = copy_of(version, "log.redb");
        let log =
            Log::open(dir.path(), Options { verify: true, ..Options::LOG }).expect("it opens");
        let records = log.read("pay", 2, 10, usize::MAX).expect("it answers");
        let records: Vec<_> = records
            .into_iter()
            .map(|record| (record.offset, record.time_us, record.payload))
            .collect();
        let expected = [2, 3, 4].map(|nth| (nth, 100 + nth as i64, vec![nth as u8; 3]));
        assert_eq!(records, expected, "{version}");
        assert!(log.read("pay", 1, 10, usize::MAX).is_err(), "{version}: trimmed");
        assert_eq!(log.streams().expect("it answers"), ["login", "pay"], "{version}");
        let letters = log.dead_letters("pay", None, 10).expect("it answers");
        assert_eq!(letters.len(), 1, "{version}");
        assert_eq!(
            (letters[0].1.position, letters[0].1.reason.as_str()),
            (Some((0, 3)), "no time")
        );
    }
}
