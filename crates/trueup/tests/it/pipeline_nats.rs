//! The pipeline on NATS: events through a stream, state in Redis, workers and servers in processes
//! of their own. Whatever is killed or stopped meanwhile, in the end every key holds what a plain
//! count says.

use crate::nats_server::NatsServer;
use crate::pipeline::{BETWEEN, Pipeline, rounds};
use async_nats::jetstream::stream::Config;
use std::time::Duration;
use trueup_core::testing::Dice;
use trueup_store::testing::servers::RedisServer;

/// The stream, which has its partitions' subjects.
const STREAM: &str = "payments";

/// Partitions of the log.
const PARTITIONS: u32 = 4;

fn server() -> NatsServer {
    let server = NatsServer::start();
    tokio::task::block_in_place(|| server.make_stream(STREAM, Config::default()));
    server
}

/// So many workers and a server, between these two.
fn start(nats: &NatsServer, redis: &RedisServer, workers: usize) -> Pipeline {
    let (source, store) = (nats.url(STREAM, PARTITIONS), redis.url());
    let lines = format!("store = '{store}'\nsource = '{source}'\nmax_staleness = '1d'\n");
    Pipeline::on(&lines, workers)
}

/// Rows 1 to 4, and 37: workers die at any point of what they do, and others take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_on_nats_of_which_one_is_killed_over_and_over_lose_and_double_nothing() {
    let (nats, redis) = (server(), RedisServer::plain());
    let mut pipeline = start(&nats, &redis, 2);
    let mut dice = Dice::new(21);
    pipeline.begin().await;
    for _ in 0..rounds() {
        pipeline.push(dice.below(BETWEEN as u64) as i64 + 1).await;
        tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
        pipeline.replace(dice.below(2) as usize);
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}

/// The log's server dies while it is written and read; what it acknowledged is in its files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_is_killed_and_started_again_under_load_loses_and_doubles_nothing() {
    let (mut nats, redis) = (server(), RedisServer::plain());
    let mut pipeline = start(&nats, &redis, 2);
    let mut dice = Dice::new(22);
    pipeline.begin().await;
    for _ in 0..rounds() {
        let (before, away) = (dice.below(200), dice.below(1_500));
        let die = async {
            tokio::time::sleep(Duration::from_millis(before)).await;
            nats.kill();
            tokio::time::sleep(Duration::from_millis(away)).await;
            tokio::task::block_in_place(|| nats.restart());
        };
        // Pushes wait for the server, and are acknowledged when it is back.
        tokio::join!(pipeline.push(4 * BETWEEN), die);
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}

/// Row 38: a worker that was given up and comes back writes what others have written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_on_nats_that_slept_past_its_lease_loses_and_doubles_nothing() {
    let (nats, redis) = (server(), RedisServer::plain());
    let mut pipeline = start(&nats, &redis, 2);
    pipeline.begin().await;
    pipeline.workers[0].signal("-STOP");
    pipeline.push(BETWEEN).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    pipeline.push(BETWEEN).await;
    pipeline.workers[0].signal("-CONT");
    pipeline.push(BETWEEN).await;
    pipeline.assert_whole().await;
}

/// Row 7: Redis loses everything, and the stream brings it again from its first message on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_is_filled_again_from_nats() {
    let (nats, redis) = (server(), RedisServer::plain());
    let mut pipeline = start(&nats, &redis, 2);
    pipeline.begin().await;
    for _ in 0..rounds() {
        pipeline.push(BETWEEN).await;
        redis.command("FLUSHALL");
        pipeline.push(BETWEEN).await;
    }
    pipeline.assert_whole().await;
}
