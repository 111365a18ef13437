//! `trueup bench`: load on a running server: what it sustains, and what callers feel at a constant
//! arrival rate, retrieval apart from the way there and back.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use crate::ingest::{FileError, Loaded, load};
use crate::load::{Load, LoadReport, OpenLoop, Percentiles, find_capacity, open_loop};
use bytes::Bytes;
use hyper::Method;
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
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.talk.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let view = definitions.view(&args.view).ok_or_else(|| {
        let names: Vec<&str> = definitions.views.iter().map(|view| view.name.as_str()).collect();
        format!("error: there is no view {}; there are: {}", args.view, names.join(", "))
    })?;
    let decoder = Decoder::new(Arc::clone(&definitions.streams[view.stream]));
    let bodies = Arc::new(bodies(args, &decoder)?);
    let load = Load {
        client: args.talk.server.client(&settings, args.connections, TIMEOUT)?,
        method: Method::POST,
        path: format!("/v1/features/{}", view.name),
        content_type: Some("application/json".into()),
        body: Arc::new(move |number| bodies[number as usize % bodies.len()].clone()),
        judge: Arc::new(|_, _| true),
    };
    let duration = Duration::from_secs(args.seconds.max(1));
    let runtime = common::runtime()?;
    let failed = |error| format!("error: {error}");
    let capacity = match args.rate {
        Some(_) => None,
        None => Some(runtime.block_on(find_capacity(&load, duration)).map_err(failed)?),
    };
    let rate = args.rate.or(capacity.as_ref().map(|capacity| capacity.per_second / 2.0));
    let report = match rate {
        Some(rate) if !args.find_capacity => {
            let plan = OpenLoop::new(rate, duration);
            Some(runtime.block_on(open_loop(&load, plan)).map_err(failed)?)
        }
        _ => None,
    };
    if args.talk.output == Output::Json {
        println!("{}", json!({ "capacity": capacity, "open_loop": report }));
        return Ok(());
    }
    if let Some(capacity) = capacity {
        println!(
            "capacity   {:.0} requests/s over {} connections ({} errors)",
            capacity.per_second, capacity.connections, capacity.errors
        );
    }
    report.iter().for_each(print);
    Ok(())
}

/// One request's body for each row of the file.
fn bodies(args: &Args, decoder: &Decoder) -> Result<Vec<Bytes>, Failure> {
    let mut bodies = Vec::new();
    let hand = |loaded: Loaded| -> Result<(), FileError> {
        for row in loaded.rows {
            if bodies.len() < MAX_BENCH_ROWS {
                bodies.push([&b"{\"rows\":["[..], &row, b"]}"].concat().into());
            }
        }
        Ok(())
    };
    load(&args.rows, decoder, hand).map_err(|error| format!("error: {error}"))?;
    if bodies.is_empty() {
        let shown = args.rows.display();
        return Err(format!("error: {shown} has no row that the stream takes").into());
    }
    Ok(bodies)
}

fn print(report: &LoadReport) {
    println!(
        "open loop  {:.0} requests/s planned, {:.0} achieved, {} errors",
        report.rate, report.achieved, report.errors
    );
    println!("{:12} {:>9} {:>9} {:>9} {:>9}", "ms", "p50", "p99", "p99.9", "max");
    line("latency", &report.latency);
    report.stages.iter().for_each(|(stage, times)| line(stage, times));
    line("late start", &report.late_start);
    if let Some(first) = &report.first_error {
        println!("first error: {first}");
    }
}

fn line(name: &str, times: &Percentiles) {
    let Percentiles { p50_ms, p99_ms, p999_ms, max_ms } = times;
    println!("{name:12} {p50_ms:9.3} {p99_ms:9.3} {p999_ms:9.3} {max_ms:9.3}");
}
