//! The embedded store against the memory store: the same calls, the same answers, whatever is in
//! memory, journalled or filed, and however often it is opened again.

use proptest::prelude::*;
use trueup_store::testing::{Disk, block_on};
use trueup_store::{
    Append, At, BASE_MARK, Batch, Checkpoint, Detail, Durability, Early, EmbeddedStore,
    MemoryStore, Options, Space, Store, Swap, Value,
};

#[derive(Clone, Debug)]
enum Call {
    /// (space, key, record) ...
    Append(Vec<(u8, u8, Vec<u8>)>, bool),
    /// (space, key, base, how many bytes of the tail are kept) ...
    Swap(Vec<(u8, u8, Vec<u8>, usize)>),
    /// (space, key, record) ..., room
    Record(Vec<(u8, u8, Vec<u8>)>, usize),
    DropSpace(u8),
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    let marked = |record: &Vec<u8>| record.first() == Some(&BASE_MARK);
    let record = bytes(30).prop_filter("it marks a base", move |record| !marked(record));
    let append = prop::collection::vec((0..2u8, 0..6u8, record.clone()), 0..8);
    let early = prop::collection::vec((0..2u8, 0..6u8, record), 0..4);
    let swap = prop::collection::vec((0..2u8, 0..6u8, bytes(20), 0..40usize), 1..4);
    prop_oneof![
        8 => (append, any::<bool>()).prop_map(|(appends, synced)| Call::Append(appends, synced)),
        4 => swap.prop_map(Call::Swap),
        3 => (early, 0..60usize).prop_map(|(copies, room)| Call::Record(copies, room)),
        1 => (0..2u8).prop_map(Call::DropSpace),
        2 => Just(Call::Reopen),
    ]
}

fn space(nth: u8) -> Space {
    Space::from([nth; 32])
}

fn keys() -> Vec<[u8; 1]> {
    (0..6u8).map(|key| [key]).collect()
}

/// What a caller sees: values, offsets, keys in pieces, how many there are.
fn seen(store: &dyn Store) -> impl PartialEq + std::fmt::Debug {
    let keys = keys();
    let ats = |nth: u8| keys.iter().map(move |key| At { space: space(nth), key });
    let ats: Vec<At<'_>> = [0, 1].into_iter().flat_map(ats).collect();
    let reads = block_on(store.get(&ats)).expect("it answers");
    let value = |read: trueup_store::Read| (read.value, read.meta.checkpoints.clone());
    let values: Vec<_> = reads.into_iter().map(value).collect();
    let walk = |nth: u8| {
        let mut all: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = all.last().map(Vec::as_slice);
            let some = block_on(store.keys(space(nth), after, 2)).expect("it answers");
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    };
    let count = block_on(store.stats()).expect("it answers").keys;
    (values, [0, 1].map(walk), block_on(store.spaces()).expect("it answers"), count)
}

fn run(store: &dyn Store, nth: u64, call: &Call) -> String {
    let stand = block_on(store.look(&[])).expect("it answers").stands;
    match call {
        Call::Append(appends, synced) => {
            let keys: Vec<[u8; 1]> = appends.iter().map(|(_, key, _)| [*key]).collect();
            let appends: Vec<_> = appends
                .iter()
                .zip(&keys)
                .map(|((nth, _, record), key)| Append {
                    at: At { space: space(*nth), key },
                    record,
                })
                .collect();
            let said = Checkpoint { source: 0, partition: 0, offset: nth, fresh_us: 0 };
            let durability = if *synced { Durability::Synced } else { Durability::Buffered };
            let checkpoints = [(space(0), said)];
            let batch = Batch {
                appends: &appends,
                checkpoints: &checkpoints,
                durability,
                ..Batch::under(&stand)
            };
            format!("{:?}", block_on(store.append(&batch)).expect("it appends"))
        }
        Call::Swap(swaps) => {
            let read = |nth: u8, key: u8| {
                let at = At { space: space(nth), key: &[key] };
                block_on(store.get(&[at])).expect("it answers").remove(0).value.unwrap_or_default()
            };
            let values: Vec<Value> = swaps.iter().map(|(nth, key, ..)| read(*nth, *key)).collect();
            let keys: Vec<[u8; 1]> = swaps.iter().map(|(_, key, ..)| [*key]).collect();
            let swaps: Vec<Swap<'_>> = swaps
                .iter()
                .zip(&values)
                .zip(&keys)
                .map(|(((nth, _, base, kept), replaced), key)| {
                    let at = At { space: space(*nth), key };
                    let kept = &replaced.tail()[..(*kept).min(replaced.tail().len())];
                    Swap { epoch: stand.as_slice()[0].epoch, at, replaced, base, kept }
                })
                .collect();
            format!("{:?}", block_on(store.swap(&swaps)).expect("it swaps"))
        }
        Call::Record(copies, room) => {
            let keys: Vec<[u8; 1]> = copies.iter().map(|(_, key, _)| [*key]).collect();
            let ats = copies.iter().zip(&keys);
            let ats: Vec<At<'_>> =
                ats.map(|((nth, ..), key)| At { space: space(*nth), key }).collect();
            let appends = ats.iter().zip(copies);
            let appends: Vec<Append<'_>> =
                appends.map(|(&at, (_, _, record))| Append { at, record }).collect();
            let early = Early { appends: &appends, expiry: &[], room: *room };
            let recorded = block_on(store.record(&ats, &early, Detail::Positions));
            let recorded = recorded.expect("it records");
            let values: Vec<_> = recorded.reads.into_iter().map(|read| read.value).collect();
            format!("{values:?} {:?}", recorded.appended)
        }
        Call::DropSpace(nth) => {
            block_on(store.drop_space(space(*nth))).expect("it drops");
            String::new()
        }
        Call::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_embedded_store_answers_as_the_memory_store_does(
        calls in prop::collection::vec(call(), 0..40),
        rows_bytes in prop_oneof![Just(0usize), Just(600), Just(1_500), Just(128 << 20)],
    ) {
        let disk = Disk::default();
        let options = Options { rows_bytes, verify: false, ..Options::STATE };
        let open = || EmbeddedStore::open_on(Box::new(disk.clone()), options).expect("it opens");
        let (memory, mut embedded) = (MemoryStore::new(), open());
        for (nth, call) in calls.iter().enumerate() {
            if let Call::Reopen = call {
                drop(embedded);
                embedded = open();
            }
            let told = run(&embedded, nth as u64, call);
            prop_assert_eq!(told, run(&memory, nth as u64, call), "{:?}", call);
            prop_assert!(seen(&embedded) == seen(&memory), "after {call:?}");
        }
    }
}
