//! The demo: the same features of the same transactions in three ways, side by side in one run.
//!
//! ```text
//! simulate ─┬▶ SQLite without an index ─▶ POST /demo/scan ──────────┐
//!           ├▶ SQLite with the right ones ─▶ POST /demo/index ──────┼▶ capacity, then latency of
//!           ├▶ log ─▶ worker ─▶ store ─▶ POST /v1/features/fraud ───┘  an open loop at half of it
//!           └▶ Parquet ─▶ train ─▶ every row that was served, compared
//! ```
//!
//! All three stand behind one HTTP server in this process. The callers are in it too, on threads of
//! their own, so that all share its processors alike. The transactions that are asked for come
//! after those loaded; asking writes nothing, so every answer can be compared with the training row
//! of its transaction afterwards. The two database ways are the baseline (see `baseline`), the one
//! place of the project where a database aggregates; they must give the same answers.

mod baseline;
mod callers;
mod fill;
mod freshness;
mod measure;
mod parity;
mod report;
mod say;
mod scene;
mod served;
mod server;
mod training;

pub use freshness::Freshness;
pub use measure::Measured;
pub use parity::Parity;
pub use report::Report;
pub use server::Server;

use crate::catalog::Catalog;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::simulate::SIMULATED_SQL;
use baseline::Baseline;
use callers::Callers;
use measure::{Way, measure};
use parity::{Doubles, compare};
use say::Phase;
use scene::{Files, Scene};
use served::Served;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::block_in_place;
use trueup_sql::{SourceFile, compile};

/// How far apart the baseline's doubles may be from ours, as a share: it rounds at every step of a
/// mean, ours once at the end.
pub const TOLERANCE: f64 = 1e-9;

/// The view that is asked for.
const VIEW: &str = "fraud";

/// What to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Transactions to load, at least 1,000.
    pub events: u64,
    /// How long each measuring phase takes.
    pub seconds: Duration,
}

/// A demo that has been played; its server is still up.
#[derive(Debug)]
pub struct Played {
    /// What was found.
    pub report: Report,
    /// The server, with all three ways.
    pub server: Server,
    /// A request's body that all three ways take.
    pub example: String,
}

/// Plays the demo in `folder`, which is empty and the caller's to remove. It tells on standard
/// error what it does. Call it on a runtime of several threads.
///
/// # Errors
/// What any part of it says. Rows that differ are no error: see [`Report::holds`].
pub async fn play(options: DemoOptions, folder: &Path) -> Result<Played, Failure> {
    let sql = SourceFile { name: "fraud.sql".into(), text: SIMULATED_SQL.into() };
    let catalog = Arc::new(Catalog::new(compile(&[sql])?));
    let phase = Phase::begin("simulate", None);
    let now = Clock::system().now();
    let scene = block_in_place(|| Scene::simulate(options.events, now))?;
    phase.end(&format!("{} transactions", scene.history.len()));
    let phase = Phase::begin("write history", None);
    let files = block_in_place(|| scene.write(folder))?;
    phase.end("Parquet, for training");
    let (scan, index) = block_in_place(|| databases(&scene, folder, &catalog))?;

    let server = Server::start(Arc::clone(&catalog), folder.join("store"), scan, index).await?;
    let phase = Phase::begin("fill the store", Some(options.events));
    fill::fill(&server.app, &scene.history, &phase).await?;
    phase.end("push, log, worker");
    let bodies = Arc::new(scene.bodies());
    let example = String::from_utf8_lossy(&bodies.body(0)).into_owned();
    drop(scene);

    let (callers, url) = (Callers::new()?, server.url());
    let way = |way| callers.run(measure(way, url.clone(), Arc::clone(&bodies), options.seconds));
    let (scan, by_scan) = way(Way::Scan).await?;
    let (index, by_index) = way(Way::Index).await?;
    let (store, by_store) = way(Way::Store).await?;
    let probing = freshness::measure(url.clone(), bodies, store.capacity, options.seconds);
    let freshness = callers.run(probing).await?;
    let served = [&*by_scan, &*by_index, &*by_store];
    let (parity, baseline) = block_in_place(|| check(&catalog, &files, served))?;
    let events = options.events;
    let report = Report { events, scan, index, store, freshness, parity, baseline };
    Ok(Played { report, server, example })
}

/// Makes both databases of the baseline.
fn databases(
    scene: &Scene,
    folder: &Path,
    catalog: &Arc<Catalog>,
) -> Result<(Baseline, Baseline), Failure> {
    let (plain, indexed) = (folder.join("scan.sqlite"), folder.join("index.sqlite"));
    let rows = &scene.history;
    let phase = Phase::begin("load SQLite", Some(rows.len() as u64));
    baseline::load(&plain, rows, |done| phase.at(done))?;
    phase.end("no index");
    let phase = Phase::begin("index a copy", None);
    std::fs::copy(&plain, &indexed)?;
    baseline::index(&indexed)?;
    phase.end("four indexes that cover the query");
    let open = |path| Baseline::open(Arc::clone(catalog), path);
    Ok((open(&plain)?, open(&indexed)?))
}

/// Compares what scan, index and store served with the training rows: ours, and the baseline's.
fn check(
    catalog: &Catalog,
    files: &Files,
    [scan, index, store]: [&Served; 3],
) -> Result<(Parity, Parity), Failure> {
    let view = catalog.view(VIEW).ok_or("error: the definitions have no view fraud")?;
    let phase = Phase::begin("train", None);
    let trained = training::rows(catalog.definitions(), view, files)?;
    phase.end(&format!("{} rows over the history", trained.num_rows()));
    let phase = Phase::begin("compare", None);
    let (parity, ours) = compare(store, &trained, Doubles::Bits);
    let (by_scan, of_scan) = compare(scan, &trained, Doubles::Within(TOLERANCE));
    let (by_index, of_index) = compare(index, &trained, Doubles::Within(TOLERANCE));
    let baseline = Parity {
        compared: by_scan.compared + by_index.compared,
        equal: by_scan.equal + by_index.equal,
    };
    phase.end(&format!("{} rows", parity.compared + baseline.compared));
    for (way, differences) in [("store", ours), ("scan", of_scan), ("index", of_index)] {
        for difference in differences {
            eprintln!("{way}: {difference}");
        }
    }
    Ok((parity, baseline))
}
