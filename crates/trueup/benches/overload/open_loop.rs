//! A constant rate of requests, and what became of each. Unlike `trueup::load` it tells refusals
//! from answers, and answers in time from those that came too late.

use crate::scene::{self, Scene};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;

/// The deadline of the requests, as the server has it unless they say otherwise.
const DEADLINE: Duration = Duration::from_millis(50);

/// Connections of the load: more than requests are under way, so that none waits for one.
const CONNECTIONS: usize = 512;

/// What became of the requests; times from their planned instants.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) planned: usize,
    /// Answers within the deadline.
    pub(crate) good: Vec<Duration>,
    /// Answers after it.
    pub(crate) late: usize,
    /// 503 with Retry-After.
    pub(crate) refused: Vec<Duration>,
    /// Anything else.
    pub(crate) failed: usize,
}

enum One {
    Answer(Duration),
    Refusal(Duration),
    Failure,
}

pub(crate) async fn run(scene: &Arc<Scene>, rate: f64, phase: Duration) -> Met {
    let client = scene.client(CONNECTIONS);
    client.connect().await.unwrap();
    let (tell, mut told) = unbounded_channel();
    let planned = (rate * phase.as_secs_f64()) as u64;
    let began = Instant::now();
    for number in 0..planned {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        if Instant::now() < due {
            tokio::time::sleep_until(due.into()).await;
        }
        let (client, tell, body) = (client.clone(), tell.clone(), scene.body(number));
        tokio::spawn(async move {
            let json = Some("application/json");
            let reply = client.request(hyper::Method::POST, scene::PATH, json, body).await;
            let took = due.elapsed();
            let one = match reply {
                Ok(reply) if reply.status == StatusCode::OK && scene::is_known(&reply) => {
                    One::Answer(took)
                }
                Ok(reply)
                    if reply.status == StatusCode::SERVICE_UNAVAILABLE
                        && reply.headers.contains_key("retry-after") =>
                {
                    One::Refusal(took)
                }
                _ => One::Failure,
            };
            // Whoever counts waits for all of them.
            let _ = tell.send(one);
        });
    }
    drop(tell);
    let mut met = Met { planned: planned as usize, ..Met::default() };
    while let Some(one) = told.recv().await {
        match one {
            One::Answer(took) if took <= DEADLINE => met.good.push(took),
            One::Answer(_) => met.late += 1,
            One::Refusal(took) => met.refused.push(took),
            One::Failure => met.failed += 1,
        }
    }
    met.good.sort_unstable();
    met.refused.sort_unstable();
    met
}
