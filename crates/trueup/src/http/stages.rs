//! Where the time of a request goes, in the order in which it does.

use crate::serve::Answered;
#[cfg(feature = "otel")]
use axum::http::HeaderMap;
use axum::http::{HeaderName, HeaderValue, header};
use std::fmt::Write;
use std::time::Duration;

/// Where they stand.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Bytes of a stage in the headers, about.
const STAGE_BYTES: usize = 24;

/// How long each stage took.
#[derive(Clone, Copy)]
pub(super) struct Stages {
    pub(super) queue: Duration,
    pub(super) parse: Duration,
    pub(super) store: Duration,
    pub(super) fallback: Duration,
    pub(super) compute: Duration,
    pub(super) encode: Duration,
    /// Of rows that were recorded: how long their log was waited for besides.
    pub(super) log: Option<Duration>,
    /// Of rows that were scored: the model's wait for a turn and its run.
    pub(super) inference: Option<Duration>,
}

/// The stages that the headers of an answer tell.
#[cfg(feature = "otel")]
pub(super) fn of(headers: &HeaderMap) -> impl Iterator<Item = (&str, Duration)> {
    let told = headers.get(SERVER_TIMING).and_then(|told| told.to_str().ok()).unwrap_or_default();
    told.split(", ").filter_map(|one| {
        let (name, ms) = one.split_once(";dur=")?;
        Some((name, Duration::from_secs_f64(ms.parse::<f64>().ok()? / 1_000.0)))
    })
}

impl Stages {
    /// What is known before anything is answered.
    pub(super) fn taken_in(queue: Duration, parse: Duration) -> Stages {
        let none = Duration::ZERO;
        let (store, fallback, compute, encode) = (none, none, none, none);
        Stages { queue, parse, store, fallback, compute, encode, log: None, inference: None }
    }

    /// The same with what this answer took besides.
    pub(super) fn and(mut self, answered: &Answered) -> Stages {
        self.store += answered.store;
        self.fallback += answered.fallback;
        self.compute += answered.compute;
        self
    }

    /// All that is spent on having the features and saying them.
    pub(super) fn retrieval(&self) -> Duration {
        self.queue + self.parse + self.store + self.fallback + self.compute + self.encode
    }

    /// Each with its name.
    pub(super) fn list(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let always = [
            ("queue", self.queue),
            ("parse", self.parse),
            ("store", self.store),
            ("fallback", self.fallback),
            ("compute", self.compute),
            ("encode", self.encode),
        ];
        let log = self.log.map(|took| ("log", took));
        let inference = self.inference.map(|took| ("inference", took));
        always.into_iter().chain(log).chain(inference)
    }

    /// The headers of an answer: JSON, and `Server-Timing` (W3C Server Timing), whose durations
    /// are milliseconds.
    pub(super) fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let mut text = String::with_capacity(STAGE_BYTES * 8);
        for (name, took) in self.list() {
            let (between, us) = (if text.is_empty() { "" } else { ", " }, took.as_micros());
            // Writing to memory does not fail.
            let _ = write!(text, "{between}{name};dur={}.{:03}", us / 1_000, us % 1_000);
        }
        let stages = HeaderValue::try_from(text).expect("names and numbers are ASCII");
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (SERVER_TIMING, stages),
        ]
    }
}
