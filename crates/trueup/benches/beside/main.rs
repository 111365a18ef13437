//! Beside what people use today, on the same machine in the same run: Feast's Python server, a
//! floor of the same HTTP stack, and PostgreSQL that is asked directly.
//!
//! ```text
//! cargo bench --workspace --all-features --bench beside [-- floor | feast | postgres]
//! ```
//!
//! `TRUEUP_BESIDE_SECONDS` (8) is how long each phase lasts, `TRUEUP_BESIDE_ROWS` (2000000) how
//! many the table of PostgreSQL has, `TRUEUP_FEAST_SERVER` the bin folder of a Python environment
//! with `feast[redis]`. Callers, servers and Redis share the cores. Callers ask again when their
//! answer is there (a closed loop) but where a rate is given.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod closed;
#[path = "../shared/command.rs"]
mod command;
mod data;
mod feast;
mod floor;
mod ours;
mod postgres;
#[path = "../../tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "tests ask it more")]
mod postgres_server;
#[path = "../shared/times.rs"]
mod times;

use bytes::Bytes;
use closed::Met;
use data::{FIRST_HEAVY, HEAVY, LIGHT};
use feast::Feast;
use floor::Floor;
use hyper::{Method, StatusCode};
use ours::Ours;
use postgres::Postgres;
use std::sync::Arc;
use std::time::Duration;
use trueup::client::Client;
use trueup::load::{Load, LoadReport, MakeBody, OpenLoop, open_loop};

/// The floor has the command's allocator too.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Callers at a time.
const MANY: usize = 32;

/// How often what is near to each other is measured, in turn.
const ROUNDS: usize = 3;

/// Processes of Feast's server: as it starts unless told otherwise, and one for each core.
const FEAST_WORKERS: [u32; 2] = [1, 2];

/// The ten features.
const TEN: [&str; 10] = [
    "n_hour",
    "total_hour",
    "mean_hour",
    "least_hour",
    "greatest_hour",
    "n_day",
    "total_day",
    "mean_day",
    "least_day",
    "greatest_day",
];

/// What PostgreSQL is asked for.
const FOUR: [&str; 4] = ["n_hour", "total_hour", "mean_hour", "greatest_hour"];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Ok(redis) = std::env::var(floor::FLOOR) {
        runtime.block_on(floor::serve(&redis));
        return;
    }
    let number = |name: &str, otherwise| {
        let said = std::env::var(name).ok();
        said.map_or(otherwise, |said| said.parse().expect("a number"))
    };
    let phase = Duration::from_secs(number("TRUEUP_BESIDE_SECONDS", 8));
    let rows = number("TRUEUP_BESIDE_ROWS", 2_000_000);
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    runtime.block_on(async {
        let ours = Ours::start().await;
        if wants("floor") {
            beside_floor(&ours, phase).await;
        }
        if wants("feast") {
            beside_feast(&ours, phase).await;
        }
        if wants("postgres") {
            beside_postgres(&ours, phase, rows).await;
        }
    });
}

fn scattered(number: u64, among: u64) -> u64 {
    (number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % among
}

fn line(what: &str, met: &Met) {
    let (p50, p99) = (met.ms(0.5), met.ms(0.99));
    let refused = match met.refused {
        0 => String::new(),
        count => format!(", {count} refused or late"),
    };
    println!("| {what}{refused} | {:.0} | {p50:.2} ms | {p99:.2} ms |", met.per_second);
}

fn head(title: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\n{title} (load of the machine: {})", load.trim());
    println!("| | requests/s | p50 | p99 |\n|---|---|---|---|");
}

fn median(ratios: &[f64]) -> f64 {
    let mut ratios = ratios.to_vec();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

async fn beside_floor(ours: &Ours, phase: Duration) {
    let reply = ours.ask("risk", 0, &TEN).await;
    let (value, meta) = floor::fill(&ours.redis.url(), LIGHT).await;
    println!("the floor's values have {value} and {meta} bytes, our reply has {}", reply.len());
    let floor = Floor::start(&ours.redis.url());
    let client = command::client(&floor.base_url, MANY);
    let bodies: Arc<Vec<Bytes>> =
        Arc::new((0..LIGHT).map(|card| card.to_string().into()).collect());
    let floor_body = move |number: u64| bodies[scattered(number, LIGHT) as usize].clone();
    let floor = load(client, "/", Arc::new(floor_body));
    let ours = ours.load(MANY, "risk", 0..LIGHT, &TEN);
    head(&format!("Beside the floor: ten features of one of {LIGHT} cards, {MANY} callers"));
    let (mut rates, mut halves) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [of_floor, of_ours] =
            [closed_load(&floor, MANY, phase).await, closed_load(&ours, MANY, phase).await];
        line("floor", &of_floor);
        line("ours", &of_ours);
        rates.push(of_ours.per_second / of_floor.per_second);
        let at_floor = half(&floor, &of_floor, phase).await;
        let at_ours = half(&ours, &of_ours, phase).await;
        halves.push(at_ours.latency.p99_ms / at_floor.latency.p99_ms);
    }
    println!("requests/s of ours, of the floor's: {rates:.2?}, median {:.2}", median(&rates));
    println!("p99 at half of it: {halves:.2?} times the floor's, median {:.2}", median(&halves));
}

/// What is sent again and again to a path.
fn load(client: Client, path: &str, body: Arc<MakeBody>) -> Load {
    let content_type = Some("application/json".into());
    let (method, path) = (Method::POST, path.into());
    Load { client, method, path, content_type, body, judge: Arc::new(|_, _| true) }
}

async fn closed_load(load: &Load, callers: usize, phase: Duration) -> Met {
    let load = load.clone();
    closed::run(callers, phase, move |_, number| {
        let (load, body) = (load.clone(), (load.body)(number));
        async move {
            let kind = load.content_type.as_deref();
            let ask = || load.client.request(load.method.clone(), &load.path, kind, body.clone());
            let reply = match ask().await {
                Ok(reply) => reply,
                // Feast's workers end after so many requests and close what they hold.
                Err(_) => ask().await.unwrap(),
            };
            // What cannot be answered in time is refused at once, or answered without a value.
            let is_refused = reply.status == StatusCode::SERVICE_UNAVAILABLE;
            let said = String::from_utf8_lossy(&reply.body);
            assert!(is_refused || reply.status.is_success(), "{said}");
            !is_refused && (load.judge)(number, &reply)
        }
    })
    .await
}

/// At half of a rate, in an open loop.
async fn half(load: &Load, of: &Met, phase: Duration) -> LoadReport {
    let report = open_loop(load, OpenLoop::new(of.per_second / 2.0, phase)).await.unwrap();
    let latency = report.latency;
    println!(
        "| at {:.0}/s, open loop, {} errors | {:.0} | {:.2} ms | {:.2} ms |",
        report.rate, report.errors, report.achieved, latency.p50_ms, latency.p99_ms
    );
    report
}

async fn beside_feast(ours: &Ours, phase: Duration) {
    for workers in FEAST_WORKERS {
        let feast = Feast::start(ours.redis.port(), LIGHT, &TEN, workers).await;
        let of_feast = feast.load(MANY);
        let of_ours = ours.load(MANY, "risk", 0..LIGHT, &TEN);
        let workers = format!("Feast's server with {workers} workers");
        head(&format!("Beside {workers}: ten features of one of {LIGHT} cards"));
        let (mut rates, mut medians) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let theirs = closed_load(&of_feast, MANY, phase).await;
            line(&format!("Feast, {MANY} callers"), &theirs);
            let own = closed_load(&of_ours, MANY, phase).await;
            line(&format!("ours, {MANY} callers"), &own);
            rates.push(own.per_second / theirs.per_second);
            let theirs = closed_load(&of_feast, 1, phase).await;
            line("Feast, one caller", &theirs);
            let own = closed_load(&of_ours, 1, phase).await;
            line("ours, one caller", &own);
            medians.push(own.ms(0.5) / theirs.ms(0.5));
        }
        println!("requests/s of ours, times Feast's: {rates:.1?}, median {:.1}", median(&rates));
        println!("p50 of one caller, of Feast's: {medians:.3?}, median {:.3}", median(&medians));
    }
}

async fn beside_postgres(ours: &Ours, phase: Duration, rows: u64) {
    let postgres = Postgres::start(rows, ours.asked_us).await;
    for card in [0, LIGHT - 1, FIRST_HEAVY, FIRST_HEAVY + HEAVY - 1] {
        let theirs = postgres.values(card).await;
        for view in ["risk", "binned"] {
            assert_eq!(ours.values(view, card).await, theirs, "card {card} by {view}");
        }
    }
    head(&format!("Beside PostgreSQL: four features of an hour, {rows} rows, {MANY} callers"));
    let light = |number| scattered(number, LIGHT);
    let heavy = |number| FIRST_HEAVY + scattered(number, HEAVY);
    let of_light = closed_load(&ours.load(MANY, "risk", 0..LIGHT, &FOUR), MANY, phase).await;
    line("ours, 50 payments in the hour", &of_light);
    let scan = postgres.load(MANY, phase, light).await;
    line("PostgreSQL, scan", &scan);
    println!("p99 of the scan: {:.0} times ours", scan.ms(0.99) / of_light.ms(0.99));
    postgres.index().await;
    let heavies = FIRST_HEAVY..FIRST_HEAVY + HEAVY;
    let [mut rates, mut exact, mut bins] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let own = closed_load(&ours.load(MANY, "risk", 0..LIGHT, &FOUR), MANY, phase).await;
        line("ours, 50 payments in the hour", &own);
        let theirs = postgres.load(MANY, phase, light).await;
        line("PostgreSQL with an index, the same", &theirs);
        rates.push(own.per_second / theirs.per_second);
        let theirs = postgres.load(MANY, phase, heavy).await;
        line("PostgreSQL with an index, 10,000 payments in the hour", &theirs);
        let of_exact = ours.load(MANY, "risk", heavies.clone(), &FOUR);
        let own = closed_load(&of_exact, MANY, phase).await;
        line("ours, the same, exact", &own);
        exact.push(theirs.ms(0.99) / own.ms(0.99));
        let of_bins = ours.load(MANY, "binned", heavies.clone(), &FOUR);
        let own = closed_load(&of_bins, MANY, phase).await;
        line("ours, the same, in bins of a minute", &own);
        bins.push(theirs.ms(0.99) / own.ms(0.99));
    }
    println!("requests/s of ours, 50 payments: {rates:.1?} times, median {:.1}", median(&rates));
    println!("p99, 10,000 payments, exact: {exact:.1?} times ours, median {:.1}", median(&exact));
    println!("p99, 10,000 payments, in bins: {bins:.1?} times ours, median {:.1}", median(&bins));
}
