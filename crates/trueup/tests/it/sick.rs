//! A Redis that is there and does not answer as it should: every request is answered by its
//! deadline, with what is known, and nothing piles up behind it.

use crate::outage::on_redis;
use crate::support::{Server, TEN, payment};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_sql::decode::print::Timestamp;
use trueup_store::testing::servers::{Mode, Proxy, RedisServer};

/// Callers at one time.
const CALLERS: usize = 64;

/// How long an answer may take that has a deadline of 50 ms, on a machine that others use too.
const LATE: Duration = Duration::from_secs(2);

/// How long something may take that takes a second or two on a machine without other work.
const PATIENCE: Duration = Duration::from_secs(60);

const PAYMENTS: i64 = 10;

fn ask(deadline_ms: u64) -> Value {
    json!({ "keys": [{ "card": 1 }], "at": Timestamp(TEN).to_string(),
            "columns": ["payments_last_hour"], "deadline_ms": deadline_ms })
}

/// The value of the one feature and its status, and how long the reply took.
async fn answer(server: &Server, deadline_ms: u64) -> (Value, Value, Duration) {
    let began = Instant::now();
    let (status, reply) = server.post("/v1/features/risk", &ask(deadline_ms)).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    let row = &reply["rows"][0];
    let took = began.elapsed();
    (row["features"]["payments_last_hour"].clone(), row["status"].clone(), took)
}

async fn becomes_present(server: &Server) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (value, status, _) = answer(server, 1_000).await;
        if status == "PRESENT" {
            assert_eq!(value, PAYMENTS);
            return;
        }
        assert!(Instant::now() < until, "it stays {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn filled(url: &str, data: &std::path::Path) -> Arc<Server> {
    let server = Server::start(on_redis(url, data)).await;
    server.push("payments", (0..PAYMENTS).map(|id| payment(id, id, "1.00")).collect()).await;
    becomes_present(&server).await;
    Arc::new(server)
}

/// Row 16: reads that wait for a Redis that hangs would hold every thread and fill the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_leaves_no_answer_waiting_and_no_reads_behind() {
    let redis = RedisServer::plain();
    let folder = tempfile::tempdir().unwrap();
    let server = filled(&redis.url(), folder.path()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    redis.freeze();
    let until = Instant::now() + Duration::from_secs(3);
    let caller = |_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut worst = Duration::ZERO;
            let mut answers = 0;
            while Instant::now() < until {
                let (value, status, took) = answer(&server, 50).await;
                assert_eq!((value, status), (Value::Null, "UNKNOWN".into()));
                worst = worst.max(took);
                answers += 1;
            }
            (answers, worst)
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    let mut all = 0;
    for caller in callers {
        let (answers, worst) = caller.await.unwrap();
        assert!(worst < LATE, "an answer took {worst:?}");
        all += answers;
    }
    assert!(all >= CALLERS * 2, "only {all} answers in 3 s");
    // Callers' connections stay open; whatever waits for Redis does not grow with the answers.
    assert!(tasks() <= before + 2 * CALLERS + 16, "{} tasks after {before}", tasks());
    redis.thaw();
    becomes_present(&server).await;
    let Ok(server) = Arc::try_unwrap(server) else { panic!("a caller is left") };
    server.stop().await;
}

/// Row 17: a Redis that takes longer than a payment may would decide when payments are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_unknown_at_the_deadline_and_right_for_those_who_can_wait() {
    let redis = RedisServer::plain();
    let proxy = Proxy::before(redis.port());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let server = filled(&url, folder.path()).await;
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    for _ in 0..10 {
        let (value, status, took) = answer(&server, 50).await;
        assert_eq!((value, status), (Value::Null, "UNKNOWN".into()));
        assert!(took < LATE, "an answer took {took:?}");
    }
    let until = Instant::now() + PATIENCE;
    while answer(&server, 5_000).await.0 != PAYMENTS {
        assert!(Instant::now() < until, "nobody who can wait is answered");
    }
    proxy.set(Mode::Pass);
    becomes_present(&server).await;
    let Ok(server) = Arc::try_unwrap(server) else { panic!("somebody holds the server") };
    server.stop().await;
}
