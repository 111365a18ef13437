//! How soon an event counts: from the moment at which its log acknowledged it until an answer of
//! the server counts it, and until an answer vouches for that moment. A constant rate of events
//! goes into a real log; a process of the command keeps windows in a real Redis and answers.
//!
//!     cargo bench --workspace --all-features --bench freshness [-- kafka | redis-stream | nats]
//!
//! `TRUEUP_FRESHNESS_RATE` (10,000 events a second) and `TRUEUP_FRESHNESS_SECONDS` (60) say how
//! many. An answer is asked for every millisecond, so times are so much too long at most.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "../tests/it/broker.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod broker;
#[path = "shared/command.rs"]
mod command;
#[path = "freshness/log.rs"]
mod log;
#[path = "../tests/it/nats_server.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod nats_server;
#[path = "freshness/scene.rs"]
mod scene;

use log::{Kind, Log};
use scene::Scene;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Events are sent so often, all that are due in one call.
const TICK: Duration = Duration::from_millis(10);

/// One in so many calls has an event of a card that nobody knows, which is asked for.
const PROBE_EVERY: u64 = 5;

/// Cards and merchants of the others.
const CARDS: u64 = 20_000;
const MERCHANTS: u64 = 4_000;

/// How long to wait between two questions, at first, and when it is counted but not vouched for.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// After which time a probe is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a probe met, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Probe {
    visible_us: u64,
    vouched_us: u64,
}

/// How many events, and for how long.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rate: u64,
    seconds: u64,
}

fn main() {
    let said = |name: &str, other: u64| {
        std::env::var(name).map_or(other, |said| said.parse().expect("a number"))
    };
    let rate = said("TRUEUP_FRESHNESS_RATE", 10_000);
    let pace = Pace { rate, seconds: said("TRUEUP_FRESHNESS_SECONDS", 60) };
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for kind in Kind::ALL {
        if wanted.is_empty() || wanted.iter().any(|name| name == kind.name()) {
            runtime.block_on(measure(kind, pace));
        }
    }
}

async fn measure(kind: Kind, pace: Pace) {
    let (scene, log) = tokio::task::block_in_place(|| Scene::start(kind));
    let (scene, log) = (Arc::new(scene), Arc::new(log));
    // Everything is warm, and everybody at work, before time counts.
    send(&scene, &log, Pace { seconds: 3, ..pace }, 0).await;
    let before = scene.redis();
    let began = Instant::now();
    let (probes, late) = send(&scene, &log, pace, 1 << 40).await;
    report(kind, pace, &probes, late, began.elapsed());
    scene.redis().since(&before).print(began.elapsed());
}

/// Sends events at a constant rate; what the probes among them met, and by how much the last call
/// was late.
async fn send(
    scene: &Arc<Scene>,
    log: &Arc<Log>,
    pace: Pace,
    first: u64,
) -> (Vec<Probe>, Duration) {
    let (calls, each) = (pace.seconds * 100, pace.rate / 100);
    let probes: Arc<Mutex<Vec<Probe>>> = Arc::default();
    let (began, mut tasks) = (Instant::now(), Vec::new());
    for call in 0..calls {
        let due = began + TICK * u32::try_from(call).unwrap();
        tokio::time::sleep_until(due.into()).await;
        let from = first + call * each;
        let probe = call % PROBE_EVERY == 0;
        let mut events: Vec<(u64, u64, u64)> = (from..from + each)
            .map(|id| (id, mixed(id) % CARDS, mixed(id + 7) % MERCHANTS))
            .collect();
        if let Some(last) = events.last_mut().filter(|_| probe) {
            last.1 = CARDS + last.0;
        }
        let card = events.last().unwrap().1;
        let (scene, log, probes) = (Arc::clone(scene), Arc::clone(log), Arc::clone(&probes));
        tasks.push(tokio::spawn(async move {
            log.send(&events).await;
            if probe {
                let met = follow(&scene, card).await;
                probes.lock().unwrap().push(met);
            }
        }));
    }
    let late = began.elapsed().saturating_sub(TICK * u32::try_from(calls).unwrap());
    for task in tasks {
        task.await.unwrap();
    }
    let probes = std::mem::take(&mut *probes.lock().unwrap());
    (probes, late)
}

/// Asks for a card whose event was acknowledged just now.
async fn follow(scene: &Scene, card: u64) -> Probe {
    let (acknowledged, wall_us) = (Instant::now(), scene::now_us());
    let mut visible_us = None;
    loop {
        let answer = scene.ask(card).await;
        let waited = acknowledged.elapsed();
        assert!(waited < PATIENCE, "an event does not count within {PATIENCE:?}");
        let waited_us = u64::try_from(waited.as_micros()).unwrap();
        if answer.count > 0 {
            let visible_us = *visible_us.get_or_insert(waited_us);
            if answer.as_of_us >= wall_us {
                return Probe { visible_us, vouched_us: waited_us };
            }
            tokio::time::sleep(ASK_EVERY * 4).await;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn mixed(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

fn report(kind: Kind, pace: Pace, probes: &[Probe], late: Duration, took: Duration) {
    let Pace { rate, seconds } = pace;
    println!(
        "{}: {rate} events/s for {seconds} s, sent and answered in {:.1} s, the last call {:.0} ms \
         late; {} probes",
        kind.name(),
        took.as_secs_f64(),
        late.as_secs_f64() * 1e3,
        probes.len(),
    );
    let line = |what: &str, of: fn(&Probe) -> u64| {
        let mut all: Vec<u64> = probes.iter().map(of).collect();
        all.sort_unstable();
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] as f64 / 1e3;
        println!(
            "  {what:12} p50 {:8.2} ms   p90 {:8.2}   p99 {:8.2}   p99.9 {:8.2}   most {:8.2}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    };
    line("visible", |probe| probe.visible_us);
    line("vouched for", |probe| probe.vouched_us);
}
