//! What a run adds up to: histograms while it lasts, percentiles at its end.
//!
//! Histograms are HDR histograms of microseconds with three digits. A request without a good reply
//! counts in them as if it had taken the whole timeout, which its caller would have been ready to
//! wait: errors never improve a percentile.

use crate::client::Reply;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time that is told apart, one hour; beyond it all times are equal.
const LONGEST_US: u64 = 3_600_000_000;

/// Significant digits of a recorded time.
const DIGITS: u8 = 3;

/// Stages of one server that are recorded; a server of ours names eight. More are left out.
const MAX_STAGES: usize = 16;

/// The stages that are not spent on having features: a model's run, and the wait for a log.
const APART: [&str; 2] = ["inference", "log"];

/// Points of a curve between one halving of what is left above it and the next.
const POINTS_A_HALVING: u32 = 4;

/// Three percentiles and the worst, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the times are not above this.
    pub p50_ms: f64,
    /// 99 of 100 times are not above this.
    pub p99_ms: f64,
    /// 999 of 1000 times are not above this.
    pub p999_ms: f64,
    /// The longest time.
    pub max_ms: f64,
}

/// The result of one open-loop run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Requests planned a second.
    pub rate: f64,
    /// Good replies a second, from the first planned instant to the last reply.
    pub achieved: f64,
    /// Latency from the planned instant to the whole reply.
    #[serde(flatten)]
    pub latency: Percentiles,
    /// Requests without a good reply, `dropped` ones included.
    pub errors: u64,
    /// Requests that were not sent, because too many were waiting.
    pub dropped: u64,
    /// Requests planned and measured.
    pub count: u64,
    /// Length of the measured part, seconds.
    pub seconds: f64,
    /// Connections that the requests shared.
    pub connections: usize,
    /// What the generator itself added to the latency: from the planned instant to the hand-over to
    /// the client.
    pub late_start: Percentiles,
    /// What the server said of each stage in `Server-Timing`.
    pub stages: BTreeMap<String, Percentiles>,
    /// All stages of a reply together, but for inference and the wait for a log.
    pub retrieval: Percentiles,
    /// The latency, the retrieval and the inference, if there was one, in full.
    #[serde(skip)]
    pub curves: Vec<Curve>,
    /// Why the first request that failed did.
    pub first_error: Option<String>,
}

/// How times of one kind are distributed.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What was timed.
    pub name: String,
    /// Quantiles from 0 to 1 in rising order, each with the time in milliseconds that this share of
    /// the times is not above.
    pub points: Vec<(f64, f64)>,
}

/// Times of one kind.
#[derive(Debug)]
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Times {
        let bounds = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Times(bounds.expect("the bounds are constants that the histogram accepts"))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile| ms(self.0.value_at_quantile(quantile));
        Percentiles {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(self.0.max()),
        }
    }

    fn curve(&self, name: &str) -> Curve {
        let steps = self.0.iter_quantiles(POINTS_A_HALVING);
        let points = steps.map(|step| {
            let us = step.value_iterated_to().min(self.0.max());
            (step.quantile_iterated_to(), us as f64 / 1_000.0)
        });
        Curve { name: name.to_owned(), points: points.collect() }
    }
}

/// A run as it is being measured.
#[derive(Debug)]
pub(super) struct Measure {
    /// What a request without a good reply counts as, at least.
    timeout: Duration,
    latency: Times,
    late_start: Times,
    stages: BTreeMap<String, Times>,
    retrieval: Times,
    good: u64,
    errors: u64,
    dropped: u64,
    first_error: Option<String>,
}

impl Measure {
    pub(super) fn new(timeout: Duration) -> Measure {
        Measure {
            timeout,
            latency: Times::new(),
            late_start: Times::new(),
            stages: BTreeMap::new(),
            retrieval: Times::new(),
            good: 0,
            errors: 0,
            dropped: 0,
            first_error: None,
        }
    }

    /// A request that was handed over `late` after its planned instant and ended `latency` after
    /// it.
    pub(super) fn ended(
        &mut self,
        late: Duration,
        latency: Duration,
        outcome: Result<Reply, String>,
    ) {
        self.late_start.add(late);
        match outcome {
            Ok(reply) => {
                self.good += 1;
                self.latency.add(latency);
                let mut retrieval = Duration::ZERO;
                server_timing(&reply, |stage, time| {
                    self.stage(stage, time);
                    if !APART.contains(&stage) {
                        retrieval = retrieval.saturating_add(time);
                    }
                });
                if retrieval > Duration::ZERO {
                    self.retrieval.add(retrieval);
                }
            }
            Err(reason) => self.failed(latency, reason),
        }
    }

    /// A request that was not sent.
    pub(super) fn dropped(&mut self, outstanding: usize) {
        self.dropped += 1;
        self.failed(
            Duration::ZERO,
            format!("not sent, for {outstanding} requests were already waiting"),
        );
    }

    /// Makes up the count to the `planned` requests: what is missing ended in a panic of the
    /// caller's functions.
    pub(super) fn complete(&mut self, planned: u64) {
        for _ in self.good + self.errors..planned {
            self.failed(Duration::ZERO, "making the request or judging its reply panicked".into());
        }
    }

    fn failed(&mut self, latency: Duration, reason: String) {
        self.errors += 1;
        self.latency.add(latency.max(self.timeout));
        self.first_error.get_or_insert(reason);
    }

    fn stage(&mut self, stage: &str, time: Duration) {
        if let Some(times) = self.stages.get_mut(stage) {
            times.add(time);
        } else if self.stages.len() < MAX_STAGES {
            self.stages.entry(stage.to_owned()).or_insert_with(Times::new).add(time);
        }
    }

    /// The report of a run of `rate` over `connections` that took `elapsed` until its last reply.
    pub(super) fn report(&self, rate: f64, connections: usize, elapsed: Duration) -> LoadReport {
        let seconds = elapsed.as_secs_f64();
        let stages = self.stages.iter().map(|(stage, times)| (stage.clone(), times.percentiles()));
        let inference = self.stages.get("inference");
        let curves = [
            ("latency", Some(&self.latency)),
            ("retrieval", Some(&self.retrieval)),
            ("inference", inference),
        ];
        let told = curves.iter().filter_map(|(name, times)| {
            times.filter(|times| !times.0.is_empty()).map(|times| times.curve(name))
        });
        LoadReport {
            rate,
            achieved: if seconds > 0.0 { self.good as f64 / seconds } else { 0.0 },
            latency: self.latency.percentiles(),
            errors: self.errors,
            dropped: self.dropped,
            count: self.good + self.errors,
            seconds,
            connections,
            late_start: self.late_start.percentiles(),
            stages: stages.collect(),
            retrieval: self.retrieval.percentiles(),
            curves: told.collect(),
            first_error: self.first_error.clone(),
        }
    }
}

/// Tells `each` every stage of a reply's `Server-Timing` headers that has a duration (W3C Server
/// Timing: entries by comma, each a name and parameters by semicolon; `dur` is in milliseconds).
/// What is not so written is left out.
pub fn server_timing(reply: &Reply, mut each: impl FnMut(&str, Duration)) {
    let headers = reply.headers.get_all("server-timing").iter();
    for entry in headers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let stage = parts.next().unwrap_or_default();
        let milliseconds = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("dur"))
            .and_then(|(_, value)| value.trim().trim_matches('"').parse::<f64>().ok());
        let time = milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
        if let (Some(time), false) = (time, stage.is_empty()) {
            each(stage, time);
        }
    }
}
