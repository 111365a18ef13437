//! Metrics in Prometheus' text format: what was asked, what each stage cost, how values stood, and
//! how far ingest is.

use super::App;
use super::record::{Recorded, Records};
use super::score::ScoreMetrics;
use super::stages::Stages;
use super::traffic::Traffic;
use crate::ingest::Progress;
use crate::serve::{Answered, Status};
use axum::http::StatusCode;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Upper bounds of the stages' histograms, seconds: a microsecond to a second, two a decade and
/// more around the milliseconds that a payment notices.
pub(super) const BOUNDS_S: [f64; 16] =
    [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 3e-1, 1.0];

/// All metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    statuses: IntCounterVec,
    recorded: IntCounterVec,
    stages: HistogramVec,
    ingest: IntCounterVec,
    applied: IntGaugeVec,
    lag: IntGaugeVec,
    freshness: IntGaugeVec,
    partition_lag: IntGaugeVec,
    partition_lag_s: GaugeVec,
    fallback: IntCounterVec,
    verify: IntCounterVec,
    write_back: IntCounterVec,
    database_queries: IntGauge,
    database_paused: IntGauge,
    traffic: Traffic,
    pub(super) scores: ScoreMetrics,
    /// One scrape at a time sets the counters that are kept elsewhere.
    scrape: Mutex<()>,
}

/// How many queries to the database are under way, and whether it is left alone.
fn database() -> Result<[IntGauge; 2], prometheus::Error> {
    let queries = "Queries to the database that are under way.";
    let paused = "1 while the database is left alone because it fails.";
    Ok([
        IntGauge::new("trueup_database_queries", queries)?,
        IntGauge::new("trueup_database_paused", paused)?,
    ])
}

fn stages() -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(
        "trueup_stage_seconds",
        "Time of each stage of an answer, retrieval apart from all else.",
    );
    HistogramVec::new(options.buckets(BOUNDS_S.to_vec()), &["view", "stage"])
}

fn recorded() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Rows that were to be recorded, by view and where they were at the deadline: in the \
                log, in the state alone, or nowhere.";
    IntCounterVec::new(Opts::new("trueup_recorded_total", help), &["view", "where"])
}

impl Metrics {
    /// The metrics, registered.
    ///
    /// # Errors
    /// If a name is taken or not one; a fault of this file.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["stream"]);
        let each = ["stream", "partition"];
        let [database_queries, database_paused] = database()?;
        let metrics = Metrics {
            registry: Registry::new(),
            requests: counter(
                "trueup_requests_total",
                "Requests for features, by view and HTTP status.",
                &["view", "code"],
            )?,
            statuses: counter(
                "trueup_values_total",
                "Values answered, by view and status; watch UNKNOWN and STALE.",
                &["view", "status"],
            )?,
            recorded: recorded()?,
            stages: stages()?,
            ingest: counter(
                "trueup_ingest_total",
                "What ingest met: accepted events, dead letters, records, compactions and more. \
                 duplicates, id_conflicts and late are counted when a key's records are folded.",
                &["stream", "what"],
            )?,
            applied: gauge("trueup_applied_records", "Records of the log that are in the state.")?,
            lag: gauge("trueup_lag_records", "Records of the log that are not in the state yet.")?,
            freshness: gauge(
                "trueup_freshness_microseconds",
                "How long ago the state had everything of the stream.",
            )?,
            partition_lag: IntGaugeVec::new(
                Opts::new(
                    "trueup_partition_lag_records",
                    "Offsets of a partition that is read here which are not in the state yet: \
                     records, except in Redis Streams, whose offsets are times.",
                ),
                &each,
            )?,
            partition_lag_s: GaugeVec::new(
                Opts::new(
                    "trueup_partition_lag_seconds",
                    "How long ago the state had everything of a partition that is read here.",
                ),
                &each,
            )?,
            fallback: counter(
                "trueup_fallback_total",
                "What became of questions to the database for what the store does not vouch for.",
                &["what"],
            )?,
            verify: counter(
                "trueup_verify_total",
                "Hits that were compared with the database, and what differed.",
                &["what"],
            )?,
            write_back: counter(
                "trueup_write_back_total",
                "What became of answers of the database that were to be written into the store.",
                &["what"],
            )?,
            database_queries,
            database_paused,
            traffic: Traffic::new()?,
            scores: ScoreMetrics::new()?,
            scrape: Mutex::new(()),
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let metrics = self;
        let all: [Box<dyn prometheus::core::Collector>; 15] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.statuses.clone()),
            Box::new(metrics.recorded.clone()),
            Box::new(metrics.stages.clone()),
            Box::new(metrics.ingest.clone()),
            Box::new(metrics.applied.clone()),
            Box::new(metrics.lag.clone()),
            Box::new(metrics.freshness.clone()),
            Box::new(metrics.partition_lag.clone()),
            Box::new(metrics.partition_lag_s.clone()),
            Box::new(metrics.fallback.clone()),
            Box::new(metrics.verify.clone()),
            Box::new(metrics.write_back.clone()),
            Box::new(metrics.database_queries.clone()),
            Box::new(metrics.database_paused.clone()),
        ];
        all.into_iter().try_for_each(|one| metrics.registry.register(one))?;
        metrics.traffic.register(&metrics.registry)?;
        metrics.scores.register(&metrics.registry)
    }

    pub(super) fn request(&self, view: &str, failed: Option<StatusCode>) {
        let code = failed.unwrap_or(StatusCode::OK);
        self.requests.with_label_values(&[view, code.as_str()]).inc();
    }

    pub(super) fn answered(&self, view: &str, stages: &Stages, answered: &Answered) {
        for (stage, took) in stages.list() {
            self.stages.with_label_values(&[view, stage]).observe(took.as_secs_f64());
        }
        let mut seen = [0u64; Status::ALL.len()];
        for (status, _) in answered.rows.iter().flat_map(|row| &row.statuses) {
            seen[*status as usize] += 1;
        }
        for (status, count) in Status::ALL.iter().zip(seen).filter(|(_, count)| *count > 0) {
            self.statuses.with_label_values(&[view, status.name()]).inc_by(count);
        }
    }

    pub(super) fn recorded(&self, view: &str, records: &Records) {
        for what in Recorded::ALL {
            let rows = records.rows.iter().filter(|row| row.recorded == what).count();
            self.recorded.with_label_values(&[view, what.name()]).inc_by(rows as u64);
        }
    }

    /// Everything as text.
    pub(super) fn text(&self, app: &App) -> String {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.ingest.reset();
        // Partitions come and go, and streams with the definitions.
        self.applied.reset();
        self.lag.reset();
        self.freshness.reset();
        self.partition_lag.reset();
        self.partition_lag_s.reset();
        self.fallback.reset();
        self.verify.reset();
        self.write_back.reset();
        let (now, live) = (app.clock.now().0, app.live());
        let streams = live.catalog().streams().iter().zip(&live.pusher.progress);
        for (number, (part, progress)) in streams.enumerate() {
            let stream = part.stream.name.as_str();
            let counts = &progress.counts;
            let all = [
                ("accepted", &counts.accepted),
                ("dead_letters", &counts.dead_letters),
                ("unknown_fields", &counts.unknown_fields),
                ("unknown_fields_read", &counts.unknown_fields_read),
                ("records", &counts.records),
                ("compactions", &counts.compactions),
                ("duplicates", &counts.duplicates),
                ("id_conflicts", &counts.id_conflicts),
                ("late", &counts.late),
                ("keys_cut", &counts.keys_cut),
                ("panicked", &counts.panicked),
                ("quarantined", &counts.quarantined),
                ("rewinds", &counts.rewinds),
            ];
            for (what, count) in all {
                let counter = self.ingest.with_label_values(&[stream, what]);
                counter.inc_by(count.load(Ordering::Relaxed));
            }
            let applied = progress.applied();
            let gauge = |gauge: &IntGaugeVec, value: u64| {
                gauge.with_label_values(&[stream]).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            if live.pusher.counts_records(number) {
                gauge(&self.applied, applied.records);
                // A log that cannot be read shows in /readyz; here it has no lag to tell.
                if let Some(end) = live.pusher.end(number) {
                    gauge(&self.lag, end.saturating_sub(applied.records));
                }
            }
            if applied.fresh_us > 0 {
                gauge(&self.freshness, now.abs_diff(applied.fresh_us.min(now)));
            }
            self.partitions(stream, progress, now);
        }
        if let Some(tables) = &live.serving.tables {
            let fallback = tables.fallback();
            for (what, count) in fallback.counts.all() {
                self.fallback.with_label_values(&[what]).inc_by(count);
            }
            for (what, count) in fallback.verify.counts() {
                self.verify.with_label_values(&[what]).inc_by(count);
            }
            for (what, count) in fallback.write_back.counts() {
                self.write_back.with_label_values(&[what]).inc_by(count);
            }
            self.database_queries.set(i64::try_from(fallback.in_flight()).unwrap_or(i64::MAX));
            self.database_paused.set(i64::from(fallback.is_paused()));
        }
        self.traffic.set(app);
        self.scores.set(app.models.as_deref());
        self.encode()
    }

    /// How far each partition is that is read here.
    fn partitions(&self, stream: &str, progress: &Progress, now_us: i64) {
        for (partition, applied) in progress.partitions() {
            let labels = [stream, &partition.to_string()];
            let behind = applied.end.saturating_sub(applied.records);
            let behind = i64::try_from(behind).unwrap_or(i64::MAX);
            self.partition_lag.with_label_values(&labels).set(behind);
            if applied.fresh_us > 0 {
                let age_us = now_us.saturating_sub(applied.fresh_us).max(0);
                self.partition_lag_s.with_label_values(&labels).set(age_us as f64 / 1e6);
            }
        }
    }

    fn encode(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
