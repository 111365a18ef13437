//! What values cost in Redis: an append to one that has grown, and the memory that it takes, beside
//! the sorted set of people who use those. What a stream of events costs, the worker's bench says.
//!
//! ```text
//! cargo bench --workspace --all-features --bench redis [-- growth | memory]
//! ```
//!
//! Every rate is the median of rounds in which the ways take turns, so that other work on the
//! machine takes from all of them alike. Ratios are what counts.

mod growth;
mod memory;

use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use trueup_store::testing::servers::RedisServer;
use trueup_store::{RedisOptions, RedisStore};

fn main() {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    let runtime = Runtime::new().expect("a runtime");
    if wanted("growth") {
        runtime.block_on(growth::run(&RedisServer::plain()));
    }
    if wanted("memory") {
        runtime.block_on(memory::run(&RedisServer::plain()));
    }
}

/// A store on the server under a prefix.
async fn open(server: &RedisServer, prefix: &str) -> RedisStore {
    let mut options = RedisOptions::default();
    prefix.clone_into(&mut options.prefix);
    RedisStore::open(&server.url(), options).await.expect("it opens")
}

/// A connection for bare commands.
async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("it connects")
}

/// Sends commands and waits for all replies.
async fn send(bare: &mut MultiplexedConnection, pipeline: &Pipeline) -> Vec<redis::Value> {
    let replies = bare.send_packed_commands(pipeline, 0, pipeline.len()).await;
    let replies = replies.expect("it answers");
    for reply in &replies {
        assert!(!matches!(reply, redis::Value::ServerError(_)), "{reply:?}");
    }
    replies
}

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
