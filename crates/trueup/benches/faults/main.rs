//! What callers get while Redis or the database fails under load: how long answers take by the
//! server's own clock, and whether each is right or marked.
//!
//! ```text
//! cargo bench --workspace --all-features --bench faults
//! ```
//!
//! `TRUEUP_FAULTS_RATE` (5000) is how many requests come in a second, `TRUEUP_FAULTS_SECONDS` (10)
//! how long each phase lasts; Redis is frozen for 30 s however long that is. One request of a
//! hundred is for an hour that the store no longer holds, which the database is asked for. Load,
//! server, Redis and PostgreSQL share the cores.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "../shared/command.rs"]
mod command;
#[path = "../beside/data.rs"]
#[allow(dead_code, reason = "the other bench has heavy cards too")]
mod data;
#[path = "../../tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "tests ask it more")]
mod postgres_server;
mod scene;
#[path = "../shared/times.rs"]
mod times;

use scene::Scene;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use trueup::load::{OpenLoop, open_loop};
use trueup_store::testing::servers::Mode;

/// As many as wait at one time while every answer takes its whole deadline.
const CONNECTIONS: usize = 400;

/// How often healthy and ill phases are measured, in turn.
const PAIRS: usize = 5;

const FROZEN: Duration = Duration::from_secs(30);

/// What each piece of an answer comes later from servers that are slow.
const SLOW_REDIS: Duration = Duration::from_millis(20);
const ILL_DATABASE: Duration = Duration::from_millis(400);

/// Within this all is well again.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let number = |name: &str, otherwise: u64| {
        let said = std::env::var(name).ok();
        said.map_or(otherwise, |said| said.parse().expect("a number"))
    };
    let rate = number("TRUEUP_FAULTS_RATE", 5_000) as f64;
    let phase = Duration::from_secs(number("TRUEUP_FAULTS_SECONDS", 10));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(rate, phase));
}

async fn measure(rate: f64, phase: Duration) {
    let mut scene = Scene::start().await;
    println!(
        "| {rate} requests/s | right | from the database | marked | wrong | refused or late | \
         p99.9 of all | p99 of hits | memory |\n|---|---|---|---|---|---|---|---|---|"
    );
    run(&scene, "warming up", rate, phase).await;
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let well = run(&scene, "all well", rate, phase).await;
        scene.to_database.set(Mode::Delay(ILL_DATABASE));
        let ill = run(&scene, "database ill", rate, phase).await;
        scene.to_database.set(Mode::Pass);
        ratios.extend(well.zip(ill).map(|(well, ill)| ill / well));
    }
    ratios.sort_by(f64::total_cmp);
    println!("p99 of hits, database ill / all well: {ratios:.2?}");

    scene.to_redis.set(Mode::Delay(SLOW_REDIS));
    run(&scene, "Redis slow", rate, phase).await;
    scene.to_redis.set(Mode::Pass);
    recover(&scene).await;
    scene.redis.text("FLUSHALL");
    run(&scene, "FLUSHALL", rate, phase).await;
    recover(&scene).await;
    scene.redis.freeze();
    run(&scene, "Redis frozen", rate, FROZEN).await;
    scene.redis.thaw();
    recover(&scene).await;
    scene.postgres.stop();
    run(&scene, "database down", rate, phase).await;
    scene.redis.freeze();
    run(&scene, "both down", rate, phase).await;
    scene.redis.thaw();
    recover(&scene).await;
    run(&scene, "database down", rate, phase).await;
}

/// One phase; the p99 of its hits, milliseconds.
async fn run(scene: &Scene, what: &str, rate: f64, phase: Duration) -> Option<f64> {
    let (load, seen) = scene.load(CONNECTIONS);
    let report = open_loop(&load, OpenLoop::new(rate, phase)).await.unwrap();
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let ms = |ms: Option<f64>| ms.map_or("none".to_owned(), |ms| format!("{ms:.1} ms"));
    println!(
        "| {what} | {} | {} | {} | {} | {} | {} | {} | {} MiB |",
        count(&seen.right),
        count(&seen.of_database),
        count(&seen.marked),
        count(&seen.wrong),
        report.errors,
        ms(seen.all_ms(0.999)),
        ms(seen.hits_ms(0.99)),
        scene.running.resident_mib()
    );
    if let Some(first) = report.first_error {
        println!("  first refusal: {first}");
    }
    seen.hits_ms(0.99)
}

/// Waits until every answer is plain again, without anybody's help.
async fn recover(scene: &Scene) {
    let began = Instant::now();
    loop {
        let (load, seen) = scene.load(1);
        let report = open_loop(&load, OpenLoop::new(100.0, Duration::from_secs(1))).await.unwrap();
        let bad = seen.marked.load(Ordering::Relaxed) + seen.wrong.load(Ordering::Relaxed);
        // What the store does not hold only the database knows.
        let misses = report.count / 100 + 1;
        if report.errors == 0 && bad <= misses {
            println!("  well again {:.1} s after", began.elapsed().as_secs_f64());
            return;
        }
        assert!(began.elapsed() < PATIENCE, "not well again: {bad} bad, {report:?}");
    }
}
