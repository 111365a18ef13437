//! What the same HTTP stack does at best: two pipelined GETs, whose bytes are the reply. It runs as
//! a process of its own, which is this bench once more.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::net::TcpListener;

/// Set for the process that is the floor: the URL of its Redis.
pub(crate) const FLOOR: &str = "TRUEUP_FLOOR";

/// What stands before the number of a card in the names of the floor's values, and the other name.
const VALUE: &str = "floor:";
const META: &str = "floor:meta";

/// Gives each card a value as large as half of those in Redis are at most, and the floor its meta;
/// says how large they are.
pub(crate) async fn fill(redis: &str, cards: u64) -> (usize, usize) {
    let client = redis::Client::open(redis).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut median_of = async |pattern: &str| -> Vec<u8> {
        let mut pipe = redis::pipe();
        let names: Vec<Vec<u8>> = connection.keys(pattern).await.unwrap();
        names.iter().for_each(|name| {
            pipe.get(name);
        });
        let mut values: Vec<Vec<u8>> = pipe.query_async(&mut connection).await.unwrap();
        values.sort_by_key(Vec::len);
        values.swap_remove(values.len() / 2)
    };
    let (value, meta) = (median_of("trueup:*:v:*").await, median_of("trueup:*:meta:*").await);
    let mut pipe = redis::pipe();
    (0..cards).for_each(|card| {
        pipe.set(format!("{VALUE}{card}"), &value).ignore();
    });
    pipe.set(META, &meta).ignore();
    let () = pipe.query_async(&mut connection).await.unwrap();
    (value.len(), meta.len())
}

pub(crate) struct Floor {
    process: Child,
    pub(crate) base_url: String,
}

impl Floor {
    pub(crate) fn start(redis: &str) -> Floor {
        let this = std::env::current_exe().unwrap();
        let mut command = Command::new(this);
        let mut process = command.env(FLOOR, redis).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let base_url = said.next().expect("it listens").unwrap();
        Floor { process, base_url }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of the floor.
pub(crate) async fn serve(redis: &str) {
    let client = redis::Client::open(redis).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let router = Router::new().route("/", post(two_gets)).with_state(connection);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// The body is the number of a card.
async fn two_gets(State(mut redis): State<MultiplexedConnection>, card: Bytes) -> Bytes {
    let mut pipe = redis::pipe();
    pipe.get([VALUE.as_bytes(), &card].concat()).get(META);
    let (mut value, meta): (Vec<u8>, Vec<u8>) = pipe.query_async(&mut redis).await.unwrap();
    value.extend_from_slice(&meta);
    value.into()
}
