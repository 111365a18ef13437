//! One way measured: its capacity, and then what callers feel at half of it.

use super::say::Phase;
use super::scene::Bodies;
use super::served::Served;
use super::server::{INDEX, SCAN, STORE};
use crate::cli::Failure;
use crate::client::{Client, ClientOptions};
use crate::load::{Load, LoadReport, OpenLoop, find_capacity, open_loop};
use hyper::Method;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How long a request may take. A scan under load waits for the scans before it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Latency is measured at this share of a way's own capacity.
const SHARE: f64 = 0.5;

/// Capacity is that of the slowest of so many parts of its phase. Other machines on the same
/// hardware make a processor some tens of percent slower for seconds: half of what it could do in
/// its best moments would be more than it can bear in others.
const PARTS: u32 = 4;

/// A way to get the features of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Scan,
    Index,
    Store,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Scan => "scan",
            Way::Index => "index",
            Way::Store => "store",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Way::Scan => SCAN,
            Way::Index => INDEX,
            Way::Store => STORE,
        }
    }

    /// Connections of its callers: enough to keep it busy. A scan keeps a core busy by itself, and
    /// the end of the capacity's measure waits for as many.
    fn connections(self) -> usize {
        match self {
            Way::Scan => 2,
            Way::Index | Way::Store => 16,
        }
    }
}

/// What one way came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Rows a second with all connections busy, in the slowest part of the phase.
    pub capacity: f64,
    /// Rows a second that were asked for while latency was measured.
    pub rate: f64,
    /// Rows a second that were answered then.
    pub achieved: f64,
    /// Half of the answers came within this, milliseconds after the planned instant.
    pub p50_ms: f64,
    /// 99 of 100 answers.
    pub p99_ms: f64,
    /// 999 of 1,000 answers.
    pub p999_ms: f64,
    /// Requests without a good answer, in both phases.
    pub errors: u64,
    /// Requests whose latency was measured.
    #[serde(skip)]
    pub count: u64,
}

/// A load of requests for the transactions from the `first` on, on one way of the server at `url`;
/// good replies are kept in `served`.
pub(super) fn load(
    way: Way,
    url: &str,
    bodies: &Arc<Bodies>,
    served: &Arc<Served>,
    first: u64,
) -> Result<Load, Failure> {
    let client = Client::new(&ClientOptions {
        base_url: url.to_string(),
        connections: way.connections(),
        timeout: TIMEOUT,
        ..ClientOptions::default()
    })?;
    let (asked, kept, served) = (Arc::clone(bodies), Arc::clone(bodies), Arc::clone(served));
    Ok(Load {
        client,
        method: Method::POST,
        path: way.path().to_string(),
        content_type: Some("application/json".to_string()),
        body: Arc::new(move |number| asked.body(first + number)),
        judge: Arc::new(move |number, reply| served.keep(kept.row(first + number), reply)),
    })
}

/// The 99th percentile of each stage that the server timed, and of the generator's own delay.
fn stages(report: &LoadReport) -> String {
    let stages = report.stages.iter().map(|(stage, times)| (stage.as_str(), times));
    let all = stages.chain([("generator", &report.late_start)]);
    let told: Vec<String> = all.map(|(of, times)| format!("{of} {:.2}", times.p99_ms)).collect();
    format!(" (of which p99 {})", told.join(", "))
}

/// Measures a way, `seconds` each for capacity and latency; says what it found.
pub(super) async fn measure(
    way: Way,
    url: String,
    bodies: Arc<Bodies>,
    seconds: Duration,
) -> Result<(Measured, Arc<Served>), Failure> {
    let served = Arc::new(Served::new(bodies.len()));
    let phase = Phase::begin(format!("{}, capacity", way.name()), None);
    let (mut capacity, mut asked, mut errors) = (f64::INFINITY, 0, 0);
    for _ in 0..PARTS {
        let load = load(way, &url, &bodies, &served, asked)?;
        let part = find_capacity(&load, seconds / PARTS).await?;
        capacity = capacity.min(part.per_second);
        asked += part.count + part.errors;
        errors += part.errors;
    }
    phase.end(&format!("{capacity:.1} rows/s"));
    let (rate, load) = (capacity * SHARE, load(way, &url, &bodies, &served, 0)?);
    let phase = Phase::begin(format!("{}, latency", way.name()), None);
    let report = open_loop(&load, OpenLoop::new(rate, seconds)).await?;
    let latency = report.latency;
    phase.end(&format!("p99 {:.2} ms at {rate:.1} rows/s{}", latency.p99_ms, stages(&report)));
    if let Some(first) = &report.first_error {
        eprintln!("{}: the first of {} errors: {first}", way.name(), report.errors);
    }
    let measured = Measured {
        capacity,
        rate,
        achieved: report.achieved,
        p50_ms: latency.p50_ms,
        p99_ms: latency.p99_ms,
        p999_ms: latency.p999_ms,
        errors: errors + report.errors,
        count: report.count,
    };
    Ok((measured, served))
}
