//! Spans of requests, and of their stages, to a collector that speaks OTLP (OpenTelemetry).
//!
//! ```text
//! reply made ─▶ its caller's trace is sampled? ─▶ queue, or dropped when that is full
//!     ─▶ a task: batches ─▶ POST to the collector, within a time
//! ```
//!
//! Nothing here is on the way of an answer but a push into a bounded queue. A trace is recorded if
//! its caller records it: a request without a `traceparent`, or with one that is not sampled, has
//! no span. A span has the route, the status and the request's id, of what was asked nothing.
//!
//! Why not by OpenTelemetry's own crates: docs/decisions/0020-wires.md.

mod messages;
mod send;

use super::caller::Line;
use super::stages;
use crate::cause::{self, Cause, Parent};
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::Response;
use messages::{KeyValue, Kind, Span, Status, StatusCode};
use send::{Collector, NAME};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use trueup_core::Micros;

/// What others in the trace hand on among themselves.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of it that are handed on: what the Recommendation of W3C asks for. More is left out whole.
const MAX_TRACESTATE_BYTES: usize = 512;

/// Members of it that there may be, by the Recommendation.
const MAX_TRACESTATE_MEMBERS: usize = 32;

/// Spans that wait to be sent: some three hundred requests, some 500 KB. While a collector is away,
/// further ones are dropped and counted.
const MAX_WAITING: usize = 2_048;

/// How long the last spans may take to be sent when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// The flag of a span that is recorded, and with it whether its parent is in this process
/// (`SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`, and `…_IS_REMOTE_MASK` where it is in another).
const OF_PARENT_HERE: u32 = 0x101;
const OF_PARENT_ELSEWHERE: u32 = 0x301;

/// Where spans go.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    stopping: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Whether the last batch failed, which the log has said then.
    is_failing: AtomicBool,
}

/// A request whose caller records the trace.
pub(super) struct Begun {
    parent: Parent,
    state: String,
}

impl Spans {
    /// To the collector that the variables of OpenTelemetry name; `None` if they name none. Call it
    /// on a runtime.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn by(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Spans>, String> {
        let said = |name: &str| variable(name).filter(|said| !said.trim().is_empty());
        let (whole, base) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let of_base = |said: String| (base, format!("{}/v1/traces", said.trim_end_matches('/')));
        let named = said(whole).map(|url| (whole, url)).or_else(|| said(base).map(of_base));
        let off = said("OTEL_SDK_DISABLED").is_some_and(|said| said.eq_ignore_ascii_case("true"));
        let Some((name, url)) = named.filter(|_| !off) else { return Ok(None) };
        let url = url.parse::<Uri>().ok().filter(|url| url.scheme_str() == Some("http"));
        let url = url.ok_or_else(|| {
            format!(
                "{name} is no http:// URL; name a collector on this host, and have that speak TLS \
                 to the one beyond"
            )
        })?;
        let service = said("OTEL_SERVICE_NAME").unwrap_or_else(|| NAME.to_owned());
        let (queue, queued) = mpsc::channel(MAX_WAITING);
        let (counts, stopping) = (Arc::<Counts>::default(), Arc::<Notify>::default());
        let collector = Collector { url, service };
        let sending = send::all(collector, queued, Arc::clone(&counts), Arc::clone(&stopping));
        let task = Mutex::new(Some(tokio::spawn(sending)));
        Ok(Some(Spans { queue, counts, stopping, task }))
    }

    /// What became of spans, as metrics in Prometheus' text format.
    pub(super) fn metrics(&self) -> String {
        let name = "trueup_spans_total";
        let help = "Spans that a collector took, did not take, or that found the queue full.";
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} counter\n");
        let Counts { sent, failed, dropped, .. } = &*self.counts;
        for (what, count) in [("sent", sent), ("failed", failed), ("dropped", dropped)] {
            text += &format!("{name}{{what=\"{what}\"}} {}\n", count.load(Ordering::Relaxed));
        }
        text
    }

    /// Sends what waits, within a time.
    pub(crate) async fn stop(&self) {
        self.stopping.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // What was not sent by then is lost.
            let _ = tokio::time::timeout(LAST, task).await;
        }
    }

    /// The span of a request, and one for each stage of its answer, which end when the reply is
    /// there.
    pub(super) fn end(
        &self,
        begun: Begun,
        now: Micros,
        line: &Line,
        cause: &Cause,
        response: &Response,
    ) {
        let Begun { parent, state } = begun;
        let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let end_ns = now.0.max(0).cast_unsigned().saturating_mul(1_000);
        let began_ns = end_ns.saturating_sub(nanos(line.took()));
        let trace_id = cause.trace_id.to_be_bytes();
        let span_id = id();
        let (method, route, status) = (line.method(), line.route(), response.status());
        let code = if status.is_server_error() { StatusCode::Error } else { StatusCode::Unset };
        self.give(Span {
            trace_id: trace_id.to_vec(),
            span_id: span_id.to_vec(),
            trace_state: state.clone(),
            parent_span_id: parent.span_id.to_be_bytes().to_vec(),
            name: format!("{method} {route}"),
            kind: Kind::Server.into(),
            start_time_unix_nano: began_ns,
            end_time_unix_nano: end_ns,
            attributes: vec![
                KeyValue::text("http.request.method", method),
                KeyValue::text("http.route", route),
                KeyValue::int("http.response.status_code", status.as_u16().into()),
                KeyValue::text("trueup.request_id", cause.request_id()),
            ],
            status: Some(Status { code: code.into() }),
            flags: OF_PARENT_ELSEWHERE,
        });
        let stages: Vec<_> = stages::of(response.headers()).collect();
        // They are one after the other, up to the reply; what came before is the body's way here.
        let all: Duration = stages.iter().map(|(_, took)| *took).sum();
        let mut start_ns = end_ns.saturating_sub(nanos(all)).max(began_ns);
        for (name, took) in stages {
            let stage_end_ns = start_ns.saturating_add(nanos(took)).min(end_ns);
            self.give(Span {
                trace_id: trace_id.to_vec(),
                span_id: id().to_vec(),
                trace_state: state.clone(),
                parent_span_id: span_id.to_vec(),
                name: name.to_owned(),
                kind: Kind::Internal.into(),
                start_time_unix_nano: start_ns,
                end_time_unix_nano: stage_end_ns,
                flags: OF_PARENT_HERE,
                ..Span::default()
            });
            start_ns = stage_end_ns;
        }
    }

    fn give(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// Counts a batch, and says so when batches begin to fail.
    fn took(&self, count: usize, sent: Result<(), Box<dyn Error + Send + Sync>>) {
        let what = if sent.is_ok() { &self.sent } else { &self.failed };
        what.fetch_add(count as u64, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        if let Err(error) = sent
            && !was_failing
        {
            tracing::warn!(%error, "spans are lost: the collector does not take them");
        }
    }
}

impl Begun {
    /// Of a request whose `traceparent` says that the trace is recorded.
    pub(super) fn of(headers: &HeaderMap, parent: Option<Parent>) -> Option<Begun> {
        let parent = parent.filter(|parent| parent.is_sampled)?;
        let lines = headers.get_all(TRACESTATE).into_iter();
        let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        let said = lines.join(",");
        let members: Vec<&str> = said.split(',').filter(|one| !one.trim().is_empty()).collect();
        let is_one = said.len() <= MAX_TRACESTATE_BYTES
            && members.len() <= MAX_TRACESTATE_MEMBERS
            && members.iter().all(|member| member.contains('='));
        Some(Begun { parent, state: if is_one { said } else { String::new() } })
    }
}

/// The id of a span: not zero, which is none.
fn id() -> [u8; 8] {
    (cause::fresh() as u64).max(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn begun(lines: &[&str], is_sampled: bool) -> Option<Begun> {
        let lines = lines.iter().map(|line| (TRACESTATE, HeaderValue::try_from(*line).unwrap()));
        Begun::of(&lines.collect(), Some(Parent { trace_id: 1, span_id: 2, is_sampled }))
    }

    #[test]
    fn a_tracestate_is_handed_on_as_it_is_or_not_at_all() {
        let state = |lines: &[&str]| begun(lines, true).unwrap().state;
        let two = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
        assert_eq!(state(&[two]), two);
        assert_eq!(state(&["a=1", "b==2"]), "a=1,b==2");
        let (long, many) = (format!("a={}", "x".repeat(MAX_TRACESTATE_BYTES)), "a=1,".repeat(33));
        for none in ["", "no pair", &long, &many] {
            assert_eq!(state(&[none]), "", "{none}");
        }
    }

    #[test]
    fn a_trace_that_its_caller_does_not_record_is_not_recorded_here() {
        assert!(begun(&["a=1"], false).is_none());
        assert!(begun(&["a=1"], true).is_some());
        assert!(Begun::of(&HeaderMap::new(), None).is_none());
    }

    #[tokio::test]
    async fn a_collector_is_there_if_a_variable_names_one_by_http() {
        let by = |all: &[(&str, &str)]| {
            let find = |name: &str| all.iter().find(|(known, _)| *known == name);
            Spans::by(|name| find(name).map(|(_, said)| said.to_string()))
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        assert!(by(&[]).unwrap().is_none());
        assert!(by(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        assert!(by(&[base, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
        assert!(by(&[base]).unwrap().is_some());
        for wrong in ["https://collector:4318", "collector:4318", "http://"] {
            let error = by(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).unwrap_err();
            assert!(error.contains("http://"), "{error}");
        }
    }
}
