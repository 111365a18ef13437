//! Memory a key, as `MEMORY USAGE` says it: name and value with the server's own overhead.
//!
//! A base holds an event in 12.1 bytes (time, amount and id; `docs/benches.md`, Arithmetic), a
//! record in 28. Beside it the two-key layout, base and tail apart, and the sorted set.

use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use trueup_store::testing::servers::RedisServer;

use super::{connect, send};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Tenths of a byte that an event takes in a base.
const EVENT_TENTHS: usize = 121;
/// Before the base.
const HEADER_BYTES: usize = 14;
const RECORD_BYTES: usize = 28;
/// The worker's bounds on a tail: a quarter of the base, within these.
const MIN_TAIL_BYTES: usize = 2 << 10;
const MAX_TAIL_BYTES: usize = 64 << 10;
/// A value's name for a BIGINT key: prefix, bucket, epoch, digest, key.
const NAME: &str = "trueup:{b17}:0123456789abcdef:v:0123456789abcdef0123456789abcdef:123456789";

/// Events of a key that was never compacted.
const RECORDS: [usize; 3] = [10, 36, 73];

pub(super) async fn run(server: &RedisServer) {
    let mut bare = connect(server).await;
    println!("| events, never folded | one string | sorted set |\n|---|---|---|");
    for events in RECORDS {
        let used = usage(&mut bare, &[(0, events)]).await;
        println!("| {events} | {used} | {} |", sorted_set(&mut bare, events).await);
    }
    println!("| events | layout | folded | + 1 record | + 1 KiB | full tail | sorted set |");
    println!("|---|---|---|---|---|---|---|");
    for events in SIZES {
        let base = HEADER_BYTES + events * EVENT_TENTHS / 10;
        let full = (base / 4).clamp(MIN_TAIL_BYTES, MAX_TAIL_BYTES) / RECORD_BYTES;
        let tails = [0, 1, 1024 / RECORD_BYTES, full];
        let set = sorted_set(&mut bare, events).await;
        for (layout, apart) in [("one string", false), ("two keys", true)] {
            let mut cells = Vec::new();
            for records in tails {
                let values =
                    if apart { vec![(base, 0), (0, records)] } else { vec![(base, records)] };
                cells.push(usage(&mut bare, &values).await.to_string());
            }
            println!("| {events} | {layout} | {} | {set} |", cells.join(" | "));
        }
    }
}

/// Bytes of values, each set whole with so many bytes and then appended to record by record.
async fn usage(bare: &mut MultiplexedConnection, values: &[(usize, usize)]) -> u64 {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("FLUSHALL");
    // A value of nothing does not exist.
    let values: Vec<_> = values.iter().filter(|value| **value != (0, 0)).collect();
    for (nth, (bytes, records)) in values.iter().enumerate() {
        let name = format!("{NAME}{}", "t".repeat(nth));
        // As the swap's script does it: one string, put together and set.
        if *bytes > 0 {
            let set = "return redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2])";
            pipeline.cmd("EVAL").arg(set).arg(1).arg(&name).arg(vec![1_u8; *bytes]).arg("");
        }
        for _ in 0..*records {
            pipeline.cmd("APPEND").arg(&name).arg(&[7_u8; RECORD_BYTES][..]);
        }
    }
    send(bare, &pipeline).await;
    let mut used = 0;
    for nth in 0..values.len() {
        let name = format!("{NAME}{}", "t".repeat(nth));
        used += memory(bare, &name).await;
    }
    used
}

async fn sorted_set(bare: &mut MultiplexedConnection, events: usize) -> u64 {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("FLUSHALL");
    for nth in 0..events {
        let (id, cents) = (9_000_000_000 + nth, 100 + nth * 7919 % 50_000);
        let member = format!("{id}:{}.{:02}", cents / 100, cents % 100);
        let time_ms = 1_760_000_000_000 + nth;
        pipeline.cmd("ZADD").arg("events:user:123456789").arg(time_ms).arg(member);
    }
    send(bare, &pipeline).await;
    memory(bare, "events:user:123456789").await
}

async fn memory(bare: &mut MultiplexedConnection, name: &str) -> u64 {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("MEMORY").arg("USAGE").arg(name).arg("SAMPLES").arg(0);
    let reply = send(bare, &pipeline).await.remove(0);
    redis::from_redis_value(reply).expect("a number")
}
