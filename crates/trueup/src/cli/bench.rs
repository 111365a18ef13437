//! `trueup bench`: load on a running server: what it sustains, and what callers feel at a constant
//! arrival rate, retrieval apart from the way there and back, and from inference; in the same run,
//! if asked for, of a Feast server and of the bare HTTP stack too.

mod beside;
mod plot;

use super::Failure;
use super::common::{self, Output, TalkArgs};
use crate::client::Client;
use crate::ingest::{FileError, Loaded, load};
use crate::load::{
    Capacity, Load, LoadError, LoadReport, OpenLoop, Percentiles, find_capacity, open_loop,
};
use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trueup_sql::decode::Decoder;

/// How long a request may take before it counts as an error.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Rows of the file that are kept and sent in turn.
const MAX_BENCH_ROWS: usize = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view
    view: String,
    /// Rows to ask for, in turn: a name that ends in .parquet, .csv or .jsonl
    #[arg(long, value_name = "PATH")]
    rows: PathBuf,
    /// Have this model score them, so that inference is timed too
    #[arg(long, value_name = "MODEL")]
    score: Option<String>,
    /// Requests a second [default: half of what the server sustains]
    #[arg(long)]
    rate: Option<f64>,
    /// Only find what the server sustains
    #[arg(long, conflicts_with = "rate")]
    find_capacity: bool,
    /// How long each phase measures
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections to the server
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Draw latency by percentile into this file
    #[arg(long, value_name = "PATH", conflicts_with = "find_capacity")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    beside: beside::Args,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What was measured of one server.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    capacity: Option<Capacity>,
    open_loop: Option<LoadReport>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.talk.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let view = definitions.view(&args.view).ok_or_else(|| {
        let names: Vec<&str> = definitions.views.iter().map(|view| view.name.as_str()).collect();
        format!("error: there is no view {}; there are: {}", args.view, names.join(", "))
    })?;
    let decoder = Decoder::new(Arc::clone(&definitions.streams[view.stream]));
    let rows = rows(args, &decoder)?;
    let client = args.talk.server.client(&settings, args.connections, TIMEOUT)?;
    let mut loads = vec![("trueup", ours(args, &view.name, client.clone(), &rows))];
    loads.extend(args.beside.loads(client, args.connections, &rows)?);
    let runtime = common::runtime()?;
    let mut all = Vec::with_capacity(loads.len());
    for (name, load) in loads {
        let measured = runtime.block_on(measure(args, name, &load));
        all.push(measured.map_err(|error| format!("error: {name}: {error}"))?);
    }
    if let Some(path) = &args.svg {
        let title = format!("{}: what callers wait for, {} s", args.view, args.seconds.max(1));
        plot::draw(path, &title, &all).map_err(|error| {
            format!(
                "error: cannot draw {}: {error}; give a file that can be written",
                path.display()
            )
        })?;
    }
    if args.talk.output == Output::Json {
        let (capacity, open_loop) = (&all[0].capacity, &all[0].open_loop);
        let said = json!({ "capacity": capacity, "open_loop": open_loop, "beside": &all[1..] });
        return common::print(&format!("{said}\n"));
    }
    common::print(&text(&all))
}

fn ours(args: &Args, view: &str, client: Client, rows: &[Bytes]) -> Load {
    let wrapped = |row: &Bytes| Bytes::from([&b"{\"rows\":["[..], row, b"]}"].concat());
    let path = match &args.score {
        Some(model) => format!("/v1/score/{model}"),
        None => format!("/v1/features/{view}"),
    };
    beside::load(client, Method::POST, path, rows.iter().map(wrapped).collect())
}

async fn measure(args: &Args, name: &'static str, load: &Load) -> Result<Measured, LoadError> {
    let duration = Duration::from_secs(args.seconds.max(1));
    let capacity = match args.rate {
        Some(_) => None,
        None => Some(find_capacity(load, duration).await?),
    };
    let rate = args.rate.or(capacity.as_ref().map(|capacity| capacity.per_second / 2.0));
    let open_loop = match rate {
        Some(rate) if !args.find_capacity => {
            Some(open_loop(load, OpenLoop::new(rate, duration)).await?)
        }
        _ => None,
    };
    Ok(Measured { name, capacity, open_loop })
}

/// The rows of the file that the stream takes, as JSON.
fn rows(args: &Args, decoder: &Decoder) -> Result<Vec<Bytes>, Failure> {
    let mut rows = Vec::new();
    let hand = |loaded: Loaded| -> Result<(), FileError> {
        let left = MAX_BENCH_ROWS - rows.len();
        rows.extend(loaded.rows.into_iter().take(left).map(Bytes::from));
        Ok(())
    };
    load(&args.rows, decoder, hand).map_err(|error| format!("error: {error}"))?;
    if rows.is_empty() {
        let shown = args.rows.display();
        return Err(format!("error: {shown} has no row that the stream takes").into());
    }
    Ok(rows)
}

/// All that was measured for a person; what stands beside the first server is compared with it.
fn text(all: &[Measured]) -> String {
    let mut out = String::new();
    for (place, measured) in all.iter().enumerate() {
        if all.len() > 1 {
            out += &format!("{}{}\n", if place == 0 { "" } else { "\n" }, measured.name);
        }
        if let Some(capacity) = &measured.capacity {
            out += &format!(
                "capacity   {:.0} requests/s over {} connections ({} errors)\n",
                capacity.per_second, capacity.connections, capacity.errors
            );
            out.extend(capacity.first_error.iter().map(first_error));
        }
        out.extend(measured.open_loop.iter().map(table));
        if place > 0 {
            out += &compared(&all[0], measured);
        }
    }
    out
}

fn table(report: &LoadReport) -> String {
    let mut out = format!(
        "open loop  {:.0} requests/s planned, {:.0} achieved, {} errors\n\
         {:12} {:>9} {:>9} {:>9} {:>9}\n",
        report.rate, report.achieved, report.errors, "ms", "p50", "p99", "p99.9", "max"
    );
    out += &line("latency", &report.latency);
    out.extend(report.stages.iter().map(|(stage, times)| line(stage, times)));
    if !report.stages.is_empty() {
        out += &line("retrieval", &report.retrieval);
    }
    out += &line("late start", &report.late_start);
    out.extend(report.first_error.iter().map(first_error));
    out
}

fn first_error(first: &String) -> String {
    format!("first error: {first}\n")
}

fn line(name: &str, times: &Percentiles) -> String {
    let Percentiles { p50_ms, p99_ms, p999_ms, max_ms } = times;
    format!("{name:12} {p50_ms:9.3} {p99_ms:9.3} {p999_ms:9.3} {max_ms:9.3}\n")
}

/// The first server's figures over those of another one.
fn compared(first: &Measured, other: &Measured) -> String {
    let mut out = String::new();
    if let (Some(ours), Some(theirs)) = (&first.capacity, &other.capacity) {
        let times = ours.per_second / theirs.per_second;
        out += &format!("{} sustains {times:.2} times as many requests/s\n", first.name);
    }
    if let (Some(ours), Some(theirs)) = (&first.open_loop, &other.open_loop) {
        let (ours, theirs) = (&ours.latency, &theirs.latency);
        out += &format!(
            "its latency is {:.2} (p50) and {:.2} (p99) times this one's\n",
            ours.p50_ms / theirs.p50_ms,
            ours.p99_ms / theirs.p99_ms
        );
    }
    out
}
