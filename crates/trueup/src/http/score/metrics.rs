//! Metrics of scoring. How long the features took that a model was given is in
//! `trueup_stage_seconds`, by view, as if they had been asked for without it.

use super::super::metrics::BOUNDS_S;
use crate::score::{Models, Score};
use axum::http::StatusCode;
use prometheus::core::Collector;
use prometheus::{Error, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

#[derive(Debug)]
pub(in crate::http) struct ScoreMetrics {
    requests: IntCounterVec,
    rows: IntCounterVec,
    inference: HistogramVec,
    loaded: IntGauge,
    refused: IntCounterVec,
}

impl ScoreMetrics {
    pub(in crate::http) fn new() -> Result<ScoreMetrics, Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let inference = HistogramOpts::new(
            "trueup_score_seconds",
            "Time of inference: the wait for its turn and the run of the model, without retrieval.",
        );
        Ok(ScoreMetrics {
            requests: counter(
                "trueup_score_requests_total",
                "Requests for scores, by model and HTTP status.",
                &["model", "code"],
            )?,
            rows: counter(
                "trueup_scores_total",
                "Rows that models were asked for: with a score, or with null and a reason.",
                &["model", "what"],
            )?,
            inference: HistogramVec::new(inference.buckets(BOUNDS_S.to_vec()), &["model"])?,
            loaded: IntGauge::new("trueup_models_loaded", "Models that are in service.")?,
            refused: counter(
                "trueup_models_refused_total",
                "Files of models that could not be used.",
                &["model"],
            )?,
        })
    }

    pub(in crate::http) fn register(&self, registry: &Registry) -> Result<(), Error> {
        let all: [Box<dyn Collector>; 5] = [
            Box::new(self.requests.clone()),
            Box::new(self.rows.clone()),
            Box::new(self.inference.clone()),
            Box::new(self.loaded.clone()),
            Box::new(self.refused.clone()),
        ];
        all.into_iter().try_for_each(|one| registry.register(one))
    }

    pub(super) fn request(&self, model: &str, failed: Option<StatusCode>) {
        let code = failed.unwrap_or(StatusCode::OK);
        self.requests.with_label_values(&[model, code.as_str()]).inc();
    }

    pub(super) fn scored(&self, model: &str, inference: Duration, scores: &[Score]) {
        self.inference.with_label_values(&[model]).observe(inference.as_secs_f64());
        let null = scores.iter().filter(|score| score.is_err()).count();
        for (what, count) in [("score", scores.len() - null), ("null", null)] {
            self.rows.with_label_values(&[model, what]).inc_by(count as u64);
        }
    }

    /// Sets what is kept elsewhere.
    pub(in crate::http) fn set(&self, models: Option<&Models>) {
        self.refused.reset();
        let told = models.map(Models::told).unwrap_or_default();
        let loaded = told.iter().filter(|model| model.model.is_some()).count();
        self.loaded.set(i64::try_from(loaded).unwrap_or(i64::MAX));
        for model in told {
            self.refused.with_label_values(&[&*model.name]).inc_by(model.failed);
        }
    }
}
