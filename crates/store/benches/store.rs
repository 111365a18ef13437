//! What the verbs cost: `cargo bench --workspace --all-features --bench store`.

use divan::{Bencher, counter::ItemsCount};
use tempfile::TempDir;
use trueup_store::testing::block_on;
use trueup_store::{
    Append, At, Batch, Checkpoint, EmbeddedStore, Log, Lot, MemoryStore, Options, Space, Store,
    Swap, Value,
};

/// Keys that the stores hold.
const KEYS: u64 = 50_000;
/// A folded state of some hundred events.
const BASE: &[u8] = &[7; 2800];
/// Records behind it.
const TAIL: &[u8] = &[8; 200];
/// One event as a group needs it.
const RECORD: &[u8] = &[9; 25];
/// One as a demo's group needs it, with an id, a position and some columns.
const REPLAYED: &[u8] = &[9; 60];
/// An event as it is pushed.
const EVENT: &[u8] = &[b'e'; 150];

fn main() {
    divan::main();
}

/// Keys as they come: all over the place.
fn key(nth: u64) -> [u8; 8] {
    (nth % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn space(nth: u8) -> Space {
    Space::from([nth; 32])
}

fn fill<S: Store>(store: &S) {
    let under = block_on(store.look(&[])).expect("it answers").stands;
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    for nth in [1, 2] {
        for keys in keys.chunks(10_000) {
            let at = |key| At { space: space(nth), key };
            let append = |record| move |key| Append { at: at(key), record };
            let first: Vec<_> = keys.iter().map(|key| append(&b"first"[..])(&key[..])).collect();
            let batch = Batch { appends: &first, ..Batch::under(&under) };
            block_on(store.append(&batch)).expect("it appends");
            let replaced = &Value::new(b"", b"first");
            let swap = |key| Swap {
                epoch: under.as_slice()[0].epoch,
                at: at(key),
                replaced,
                base: BASE,
                kept: TAIL,
            };
            let swaps: Vec<_> = keys.iter().map(|key| swap(&key[..])).collect();
            block_on(store.swap(&swaps)).expect("it swaps");
        }
    }
    block_on(store.sync()).expect("it syncs");
}

fn embedded() -> (TempDir, EmbeddedStore) {
    let dir = TempDir::new().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
    fill(&store);
    (dir, store)
}

/// One request: two groups' values of 3 kB, with their metas.
fn get(bencher: Bencher<'_, '_>, store: &dyn Store) {
    let mut nth = 0;
    bencher.bench_local(|| {
        nth += 1;
        let (user, card) = (key(nth), key(nth * 7));
        let wanted = [At { space: space(1), key: &user }, At { space: space(2), key: &card }];
        let reads = block_on(store.get(&wanted)).expect("it answers");
        assert_eq!(reads[0].value.as_ref().map(|value| value.base().len()), Some(BASE.len()));
        reads
    });
}

#[divan::bench(sample_count = 1000, sample_size = 20)]
fn get_two_keys_embedded(bencher: Bencher<'_, '_>) {
    let (_dir, store) = embedded();
    get(bencher, &store);
}

#[divan::bench(sample_count = 1000, sample_size = 20)]
fn get_two_keys_memory(bencher: Bencher<'_, '_>) {
    let store = MemoryStore::new();
    fill(&store);
    get(bencher, &store);
}

/// Records per second of a worker that appends batches of so many events, each to two keys, with
/// their checkpoint, and syncs after each tenth batch. Large batches are a replay's: each page is
/// written once for many records.
#[divan::bench(args = [100, 1000, 20_000], sample_count = 60, sample_size = 1)]
fn append_batch_embedded(bencher: Bencher<'_, '_>, events: u64) {
    let (_dir, store) = embedded();
    let under = block_on(store.look(&[])).expect("it answers").stands;
    let mut nth = 0;
    bencher.counter(ItemsCount::new(events * 2)).bench_local(|| {
        nth += 1;
        let keys: Vec<_> = (nth * events..(nth + 1) * events).map(key).collect();
        let both = keys.iter().flat_map(|key| [1, 2].map(|nth| At { space: space(nth), key }));
        let appends: Vec<_> = both.map(|at| Append { at, record: RECORD }).collect();
        let said = Checkpoint { source: 0, partition: 0, offset: nth * events, fresh_us: 0 };
        let checkpoints = [1, 2].map(|nth| (space(nth), said));
        let batch = Batch { appends: &appends, checkpoints: &checkpoints, ..Batch::under(&under) };
        block_on(store.append(&batch)).expect("it appends");
        if nth % 10 == 0 {
            block_on(store.sync()).expect("it syncs");
        }
    });
}

/// A replay into an empty store as the pipeline does it: batches of so many events, each to a key
/// of four groups, and a compaction of every key whose tail has outgrown its bound. Records a
/// second, compactions included; the first batches find small rows, the last ones find full ones.
#[divan::bench(args = [1024, 4096, 16_384], sample_count = 1, sample_size = 1)]
fn replay_embedded(bencher: Bencher<'_, '_>, events: u64) {
    const EVENTS: u64 = 400_000;
    const GROUPS: u8 = 4;
    let batches = EVENTS / events;
    let records = batches * events * u64::from(GROUPS);
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        let dir = TempDir::new().expect("a directory");
        let store = EmbeddedStore::open(dir.path(), Options::STATE).expect("it opens");
        for nth in 0..batches {
            replay_batch(&store, nth, events, GROUPS);
        }
        block_on(store.sync()).expect("it syncs");
    });
}

/// Tails above this are folded.
const TAIL_BYTES: usize = 1 << 10;

fn replay_batch(store: &EmbeddedStore, nth: u64, events: u64, groups: u8) {
    let under = block_on(store.look(&[])).expect("it answers").stands;
    let offsets = nth * events..(nth + 1) * events;
    // Each group has keys of its own; the multiplier mixes which of them an event meets.
    let keys: Vec<_> = offsets
        .flat_map(|offset| (1..=groups).map(move |group| (group, offset)))
        .map(|(group, offset)| {
            let mixed = offset.wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(u32::from(group));
            (group, key(mixed >> 8))
        })
        .collect();
    let at = |(group, key): &'_ (u8, [u8; 8])| -> (Space, [u8; 8]) { (space(*group), *key) };
    let places: Vec<_> = keys.iter().map(at).collect();
    let appends: Vec<_> = places
        .iter()
        .map(|(space, key)| Append { at: At { space: *space, key }, record: REPLAYED })
        .collect();
    let said = Checkpoint { source: 0, partition: 0, offset: (nth + 1) * events, fresh_us: 0 };
    let checkpoints: Vec<_> = (1..=groups).map(|group| (space(group), said)).collect();
    let batch = Batch { appends: &appends, checkpoints: &checkpoints, ..Batch::under(&under) };
    let grown = block_on(store.append(&batch)).expect("it appends");
    let mut large: Vec<At<'_>> = appends
        .iter()
        .zip(&grown)
        .filter(|(_, grown)| grown.tail_len > TAIL_BYTES)
        .map(|(append, _)| append.at)
        .collect();
    large.sort_unstable();
    large.dedup();
    let reads = block_on(store.get(&large)).expect("it answers");
    // A folded event takes a fifth of its record.
    let bases: Vec<Vec<u8>> = reads
        .iter()
        .map(|read| {
            let value = read.value.as_ref().expect("it was appended to");
            vec![7; value.base().len() + value.tail().len() / 5]
        })
        .collect();
    let swaps: Vec<_> = large
        .iter()
        .zip(&reads)
        .zip(&bases)
        .map(|((at, read), base)| Swap {
            epoch: under.as_slice()[0].epoch,
            at: *at,
            replaced: read.value.as_ref().expect("it was appended to"),
            base,
            kept: &[],
        })
        .collect();
    block_on(store.swap(&swaps)).expect("it swaps");
}

/// Compactions per second, in lots of 100 keys.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn swap_hundred_embedded(bencher: Bencher<'_, '_>) {
    let (_dir, store) = embedded();
    let epoch = block_on(store.look(&[])).expect("it answers").stands.as_slice()[0].epoch;
    let replaced = Value::new(BASE, TAIL);
    let mut nth = 0;
    bencher.counter(ItemsCount::new(100_u64)).bench_local(|| {
        nth += 1;
        let keys: Vec<_> = (nth * 100..(nth + 1) * 100).map(key).collect();
        let swap = |key| {
            let at = At { space: space(1), key };
            Swap { epoch, at, replaced: &replaced, base: BASE, kept: TAIL }
        };
        let swaps: Vec<_> = keys.iter().map(|key| swap(&key[..])).collect();
        let done = block_on(store.swap(&swaps)).expect("it swaps");
        assert!(done.iter().all(|done| *done));
        if nth % 10 == 0 {
            block_on(store.sync()).expect("it syncs");
        }
    });
}

/// A push of many events: durable when it returns.
#[divan::bench(args = [1, 100, 10_000], sample_count = 100, sample_size = 1)]
fn log_append(bencher: Bencher<'_, '_>, records: u64) {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), Options::LOG).expect("it opens");
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        let mut lot = Lot::default();
        for nth in 0..records {
            lot.push(nth as i64, EVENT).expect("it is small");
        }
        log.append("pay", lot).expect("it appends")
    });
}

/// A replay.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn log_read_ten_thousand(bencher: Bencher<'_, '_>) {
    let dir = TempDir::new().expect("a directory");
    let log = Log::open(dir.path(), Options::LOG).expect("it opens");
    let mut lot = Lot::default();
    for nth in 0..200_000 {
        lot.push(nth, EVENT).expect("it is small");
    }
    log.append("pay", lot).expect("it appends");
    let mut from = 0;
    bencher.counter(ItemsCount::new(10_000_u64)).bench_local(|| {
        from = (from + 10_000) % 190_000;
        log.read("pay", from, 10_000, usize::MAX).expect("it answers")
    });
}
