//! What a server on one core does under more load than it can bear, and with callers that are slow
//! by intent: how many answers still come in time, how soon the rest is refused, and what thousands
//! of half-open connections cost the others. The load comes from another core.
//!
//! ```text
//! cargo bench --workspace --all-features --bench overload [-- load | slow]
//! ```
//!
//! `TRUEUP_OVERLOAD_SECONDS` (8) is how long each phase lasts. It takes Linux, two cores with
//! little else on them, `taskset`, and `ulimit -n 20000`. Times count from the instant at which a
//! request was planned (open loop), with up to a millisecond of the load's own in them.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "../shared/command.rs"]
mod command;
mod half_open;
mod open_loop;
mod scene;
#[path = "../shared/times.rs"]
mod times;

use half_open::HalfOpen;
use open_loop::Met;
use scene::Scene;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use trueup::load::{Load, find_capacity};

/// Where the server runs, and where the load comes from.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// Set for the process that runs where the load comes from.
const PINNED: &str = "TRUEUP_OVERLOAD_PINNED";

/// Load, as parts of what the server sustains.
const RAMP: [f64; 7] = [0.5, 0.8, 0.9, 1.0, 1.25, 2.0, 3.0];

/// Connections that are never more than half open, and how often with and without is measured.
const HALF_OPEN: usize = 5_000;
const PAIRS: usize = 5;

fn main() {
    if std::env::var_os(PINNED).is_none() {
        let this = std::env::current_exe().unwrap();
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", LOAD_CORE]).arg(this).args(std::env::args_os().skip(1));
        let ended = pinned.env(PINNED, "1").status().expect("taskset, of util-linux, is needed");
        std::process::exit(ended.code().unwrap_or(1));
    }
    let seconds = std::env::var("TRUEUP_OVERLOAD_SECONDS").ok();
    let seconds = seconds.map_or(8, |said| said.parse().expect("a number"));
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scene = Arc::new(Scene::start(SERVER_CORE).await);
        let phase = Duration::from_secs(seconds);
        let capacity = capacity(&scene, phase).await;
        if wants("load") {
            ramp(&scene, capacity, phase).await;
        }
        if wants("slow") {
            slow(&scene, capacity / 2.0, phase).await;
        }
    });
}

/// Requests a second of a closed loop, whose callers wait for each other.
async fn capacity(scene: &Arc<Scene>, phase: Duration) -> f64 {
    let bodies = Arc::clone(scene);
    let load = Load {
        client: scene.client(8),
        method: hyper::Method::POST,
        path: scene::PATH.into(),
        content_type: Some("application/json".into()),
        body: Arc::new(move |number| bodies.body(number)),
        judge: Arc::new(|_, reply| scene::is_known(reply)),
    };
    let found = find_capacity(&load, phase).await.unwrap();
    let (rows, errors) = (scene::ROWS, found.errors);
    println!("closed loop: {:.0} requests/s of {rows} rows, {errors} errors", found.per_second);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine: {}", load.trim());
    found.per_second
}

async fn ramp(scene: &Arc<Scene>, capacity: f64, phase: Duration) {
    let mut all = Vec::new();
    println!(
        "| load | planned/s | in time/s | late/s | refused/s | failed | p50 | p99 | \
         refused p50 | p99 |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for part in RAMP {
        let met = open_loop::run(scene, capacity * part, phase).await;
        line(part, &met, phase);
        all.push(met.good.len() as f64 / phase.as_secs_f64());
    }
    let peak = all.iter().copied().fold(0.0, f64::max);
    for (part, goodput) in RAMP.iter().zip(&all) {
        println!("{part:.2}x keeps {:.3} of peak goodput", goodput / peak);
    }
}

fn line(part: f64, met: &Met, phase: Duration) {
    let each = |count: usize| count as f64 / phase.as_secs_f64();
    println!(
        "| {part:.2}x | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.1} ms | {:.1} ms | {:.1} ms | \
         {:.1} ms |",
        each(met.planned),
        each(met.good.len()),
        each(met.late),
        each(met.refused.len()),
        met.failed,
        ms(&met.good, 0.5),
        ms(&met.good, 0.99),
        ms(&met.refused, 0.5),
        ms(&met.refused, 0.99),
    );
}

async fn slow(scene: &Arc<Scene>, rate: f64, phase: Duration) {
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let mut p99 = [0.0; 2];
        // Each comes first in turn.
        for with in [pair % 2 == 0, pair % 2 == 1] {
            let half_open = if with { Some(HalfOpen::start(scene, HALF_OPEN).await) } else { None };
            let met = open_loop::run(scene, rate, phase).await;
            p99[usize::from(with)] = ms(&met.good, 0.99);
            let open = half_open.map_or(0, |half_open| half_open.stop());
            println!(
                "{open:5} half-open at the end: {} in time, {} late, {} refused, {} failed, p50 \
                 {:.2} ms, p99 {:.2} ms",
                met.good.len(),
                met.late,
                met.refused.len(),
                met.failed,
                ms(&met.good, 0.5),
                p99[usize::from(with)],
            );
            // What is closed is closed before the next phase.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        ratios.push(p99[1] / p99[0]);
    }
    ratios.sort_by(f64::total_cmp);
    println!("p99 with {HALF_OPEN} half-open connections, of that without: {ratios:.2?}");
    println!("median {:.2}", ratios[PAIRS / 2]);
}

/// 0 where there are no times.
fn ms(sorted: &[Duration], share: f64) -> f64 {
    times::percentile_ms(sorted, share).unwrap_or_default()
}
