//! What the Redis store costs over bare commands: records a second appended, beside a pipeline of
//! `APPEND` with the same bytes by the same client, on a server of its own, in one run. Ratios are
//! what counts; each way is run in turns and its best turn is taken, since other work on the
//! machine only takes away.

use std::time::{Duration, Instant};

use redis::Pipeline;
use tokio::runtime::Runtime;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{
    Append, At, Batch, Checkpoint, Detail, RedisOptions, RedisStore, Space, Stands, Store,
};

/// Bytes of a record: time, id, position and two columns of an event.
const RECORD: [u8; 28] = [7; 28];
/// Records sent in one go, as a worker batches them.
const BATCH: usize = 1000;
/// Batches a turn.
const BATCHES: usize = 100;
const KEYS: usize = 20_000;
const TURNS: usize = 5;
/// Far longer than the bench, so that the first turn sets it and the others remember.
const EXPIRY: Duration = Duration::from_secs(3600);

fn main() {
    let server = RedisServer::plain();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(run(&server));
}

async fn run(server: &RedisServer) {
    let store = RedisStore::open(&server.url(), RedisOptions::default()).await.expect("it opens");
    let stands = store.look(&[]).await.expect("it answers").stands;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut bare = client.get_multiplexed_async_connection().await.expect("it connects");
    let keys: Vec<String> = (0..KEYS).map(|nth| format!("user {nth:06}")).collect();
    let mut best = [f64::MAX; 4];
    for _ in 0..TURNS {
        let took = [
            appends(&keys, &mut bare, false).await,
            appends(&keys, &mut bare, true).await,
            through_store(&keys, &store, &stands, false).await,
            through_store(&keys, &store, &stands, true).await,
        ];
        best.iter_mut().zip(took).for_each(|(best, took)| *best = best.min(took));
    }
    let ways =
        ["bare APPEND", "bare APPEND, PEXPIRE", "store, expiry", "store, checkpoint a batch"];
    for (way, took) in ways.iter().zip(best) {
        let rate = (BATCH * BATCHES) as f64 / took;
        println!("{way:26} {rate:9.0} records/s, {:.2} of bare", best[0] / took);
    }
    println!("{:26} {:9.0} reads/s of 2 keys", "one reader", reads(&keys, &store).await);
}

fn batch_keys(keys: &[String], nth: usize) -> impl Iterator<Item = &String> {
    // A stride that visits all keys in an order far from theirs.
    (0..BATCH).map(move |record| &keys[(nth * BATCH + record) * 7919 % keys.len()])
}

/// Seconds for all batches, as bare commands.
async fn appends(
    keys: &[String],
    bare: &mut redis::aio::MultiplexedConnection,
    expire: bool,
) -> f64 {
    let began = Instant::now();
    for nth in 0..BATCHES {
        let mut pipeline = Pipeline::with_capacity(2 * BATCH);
        for key in batch_keys(keys, nth) {
            pipeline.cmd("APPEND").arg(key).arg(&RECORD);
            if expire {
                pipeline.cmd("PEXPIRE").arg(key).arg(3_600_000);
            }
        }
        let replies = bare.send_packed_commands(&pipeline, 0, pipeline.len()).await;
        assert_eq!(replies.expect("it answers").len(), pipeline.len());
    }
    began.elapsed().as_secs_f64()
}

/// Seconds for all batches, by the store.
async fn through_store(keys: &[String], store: &RedisStore, stands: &Stands, speaks: bool) -> f64 {
    let space = Space::from([1; 32]);
    let began = Instant::now();
    for nth in 0..BATCHES {
        let appends: Vec<Append<'_>> = batch_keys(keys, nth)
            .map(|key| Append { at: At { space, key: key.as_bytes() }, record: &RECORD })
            .collect();
        let said = Checkpoint { source: 1, partition: 0, offset: nth as u64, fresh_us: 0 };
        let checkpoints = [(space, said)];
        let batch = Batch {
            appends: &appends,
            checkpoints: if speaks { &checkpoints } else { &[] },
            expiry: &[(space, EXPIRY)],
            ..Batch::under(stands)
        };
        store.append(&batch).await.expect("it appends");
    }
    began.elapsed().as_secs_f64()
}

/// Reads a second, one after the other.
async fn reads(keys: &[String], store: &RedisStore) -> f64 {
    const READS: usize = 2000;
    let space = Space::from([1; 32]);
    let began = Instant::now();
    for nth in 0..READS {
        let places = [nth, nth + 1].map(|nth| At { space, key: keys[nth].as_bytes() });
        store.read(&places, Detail::Summary).await.expect("it answers");
    }
    READS as f64 / began.elapsed().as_secs_f64()
}
