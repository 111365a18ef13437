//! Short words for what the tests do to a store, and a small pipeline whose right state is known at
//! every offset.

use trueup_store::testing::{Disk, block_on};
use trueup_store::{
    Append, At, Batch, Checkpoint, EmbeddedStore, Lot, Options, Space, Store, StoreError, Swap,
};

const SPACE: [u8; 32] = [3; 32];
/// Keys of the pipeline; the event of offset n goes to key n modulo this.
const KEYS: u64 = 7;

pub(crate) fn at(key: &str) -> At<'_> {
    At { space: Space::from(SPACE), key: key.as_bytes() }
}

/// Appends one record under the present stand, with its offset as the checkpoint.
pub(crate) fn append(
    store: &dyn Store,
    key: &str,
    record: &str,
    offset: u64,
) -> Result<(), StoreError> {
    let under = block_on(store.look(&[]))?.stands;
    let checkpoint = Checkpoint { source: 0, partition: 0, offset, fresh_us: 0 };
    let batch = Batch {
        appends: &[Append { at: at(key), record: record.as_bytes() }],
        checkpoints: &[(Space::from(SPACE), checkpoint)],
        ..Batch::under(&under)
    };
    block_on(store.append(&batch)).map(drop)
}

pub(crate) fn content(store: &dyn Store, key: &str) -> Result<String, StoreError> {
    let value = block_on(store.get(&[at(key)]))?.remove(0).value.unwrap_or_default();
    Ok(String::from_utf8_lossy(&[value.base(), value.tail()].concat()).into_owned())
}

pub(crate) fn applied(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    Ok(block_on(store.look(&[SPACE.into()]))?.metas[0].offset(0, 0))
}

fn key_of(offset: u64) -> String {
    format!("key {}", offset % KEYS)
}

/// Long enough that the tests' stores are deeper than one page.
fn record_of(offset: u64) -> String {
    format!("<{offset}{}>", ".".repeat(150))
}

/// Applies the event of an offset.
pub(crate) fn apply(store: &dyn Store, offset: u64) -> Result<(), StoreError> {
    append(store, &key_of(offset), &record_of(offset), offset)
}

/// Compacts the key of an offset: base and all of the tail but the last record become the new base.
pub(crate) fn compact(store: &dyn Store, offset: u64) -> Result<(), StoreError> {
    let key = key_of(offset);
    let read = block_on(store.get(&[at(&key)]))?.remove(0);
    let Some(replaced) = read.value else { return Ok(()) };
    let (folded, kept) =
        replaced.tail().split_at(replaced.tail().len().saturating_sub(record_of(offset).len()));
    let base = [replaced.base(), folded].concat();
    let epoch = read.stand.epoch;
    let swap = Swap { epoch, at: at(&key), replaced: &replaced, base: &base, kept };
    block_on(store.swap(&[swap])).map(drop)
}

/// What each key must hold when everything below `applied` was applied once and in order.
pub(crate) fn assert_state_agrees_with_checkpoint(store: &dyn Store) -> u64 {
    let applied = applied(store).expect("the store answers").map_or(0, |offset| offset + 1);
    for key in 0..KEYS {
        let expected: String = (0..applied).filter(|n| n % KEYS == key).map(record_of).collect();
        let found = content(store, &key_of(key)).expect("the store answers");
        assert_eq!(found, expected, "key {key}, {applied} applied");
    }
    applied
}

pub(crate) fn open_on(disk: &Disk) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open_on(Box::new(disk.clone()), small_cache())
}

/// A cache that does not hold the tests' stores, so that reads and writes reach the disk, and room
/// for a dozen rows in memory, so that they are filed all the time.
pub(crate) fn small_cache() -> Options {
    Options { cache_bytes: 64 << 10, verify: false, rows_bytes: 2 << 10 }
}

/// Records of known content: offset and length decide every byte.
pub(crate) fn lot(offsets: std::ops::Range<u64>) -> Lot {
    let mut lot = Lot::default();
    for offset in offsets {
        lot.push(offset as i64, &payload(offset)).expect("it is small");
    }
    lot
}

pub(crate) fn payload(offset: u64) -> Vec<u8> {
    (0..offset % 300).map(|nth| (offset + nth) as u8).collect()
}
