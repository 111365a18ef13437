//! What an append costs when its key is long: a value of so many events, folded, and appends to it
//! without compaction.

use std::time::Instant;

use trueup_store::testing::servers::RedisServer;
use trueup_store::{Append, At, Batch, Grown, RedisStore, Space, Stands, Store, Swap};

use super::{median, open};

/// Events of a value.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Bytes that an event takes in a base.
const EVENT_BYTES: usize = 12;
const RECORD: [u8; 28] = [7; 28];
/// Values of each size, and appends to each of them in a round.
const KEYS: usize = 50;
const APPENDS: usize = 20;
const ROUNDS: usize = 11;

pub(super) async fn run(server: &RedisServer) {
    let store = open(server, "trueup").await;
    let stands = store.look(&[]).await.expect("it answers").stands;
    let keys: Vec<[u8; 8]> = (0..KEYS as u64).map(u64::to_be_bytes).collect();
    for (nth, events) in SIZES.iter().enumerate() {
        fill(&store, &stands, space(nth), &keys, events * EVENT_BYTES).await;
    }
    let mut took = vec![Vec::new(); SIZES.len()];
    for _ in 0..ROUNDS {
        for (nth, took) in took.iter_mut().enumerate() {
            let began = Instant::now();
            for _ in 0..APPENDS {
                append(&store, &stands, space(nth), &keys, &RECORD).await;
            }
            took.push(began.elapsed().as_secs_f64());
        }
    }
    println!("| events of the key | a record | of that at 10 events |\n|---|---|---|");
    for (nth, events) in SIZES.iter().enumerate() {
        let cost = median(took[nth].clone()) / (KEYS * APPENDS) as f64;
        let ratios = took[0].iter().zip(&took[nth]).map(|(small, this)| this / small).collect();
        println!("| {events} | {:.2} us | {:.2} |", cost * 1e6, median(ratios));
    }
}

fn space(nth: usize) -> Space {
    Space::from([1 + nth as u8; 32])
}

async fn append(
    store: &RedisStore,
    stands: &Stands,
    space: Space,
    keys: &[[u8; 8]],
    record: &[u8],
) -> Vec<Grown> {
    let appends: Vec<Append<'_>> =
        keys.iter().map(|key| Append { at: At { space, key }, record }).collect();
    let batch = Batch { appends: &appends, ..Batch::under(stands) };
    store.append(&batch).await.expect("it appends")
}

/// Gives each key a base of so many bytes.
async fn fill(store: &RedisStore, stands: &Stands, space: Space, keys: &[[u8; 8]], bytes: usize) {
    append(store, stands, space, keys, &RECORD).await;
    let base: Vec<u8> = (0..bytes).map(|nth| ((nth * 131) >> 3) as u8).collect();
    for key in keys {
        let at = At { space, key };
        let reads = store.get(&[at]).await.expect("it answers");
        let replaced = reads[0].value.as_ref().expect("it was appended");
        let swap = Swap { epoch: reads[0].stand.epoch, at, replaced, base: &base, kept: b"" };
        assert_eq!(store.swap(&[swap]).await, Ok(vec![true]));
    }
}
