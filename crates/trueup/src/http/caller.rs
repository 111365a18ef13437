//! Which request this is: what its caller says of it, or what it is called here, on every reply
//! that this server makes, and in what it logs meanwhile. What hyper refuses before it is a request
//! (a head that cannot be read, or is too long) has no id.

use super::App;
#[cfg(feature = "otel")]
use super::spans::Begun;
use crate::cause::{self, Cause, Parent};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
#[cfg(not(feature = "otel"))]
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Level;

/// The id of a request, on both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The trace that it is a part of (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of a caller's id: three times those of a UUID, in whatever form; it stands in every log
/// line of the request.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Answers a request for its cause, and says on the reply which one it was.
pub(super) async fn known<F: Future<Output = Response>>(
    app: &App,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let (cause, parent) = cause(request.headers());
    let cause = Arc::new(cause);
    let span = span(app, request.headers(), parent);
    let is_told = span.is_some() || tracing::enabled!(Level::DEBUG);
    let line = is_told.then(|| Line::of(&request));
    let answering = answer(request);
    let answering = async {
        let response = answering.await;
        if let Some(line) = &line {
            line.write(&response);
        }
        response
    };
    let mut response = cause::scoped(Arc::clone(&cause), answering).await;
    response.headers_mut().insert(REQUEST_ID, cause.request_id.clone());
    if let (Some(span), Some(line)) = (span, line) {
        end(app, span, &line, &cause, &response);
    }
    response
}

#[cfg(feature = "otel")]
fn span(app: &App, headers: &HeaderMap, parent: Option<Parent>) -> Option<Begun> {
    app.spans.get().and_then(|_| Begun::of(headers, parent))
}

#[cfg(feature = "otel")]
fn end(app: &App, span: Begun, line: &Line, cause: &Cause, response: &Response) {
    if let Some(spans) = app.spans.get() {
        spans.end(span, app.clock.now(), line, cause, response);
    }
}

/// Without the feature no request is a span.
#[cfg(not(feature = "otel"))]
fn span(_: &App, _: &HeaderMap, _: Option<Parent>) -> Option<Infallible> {
    None
}

#[cfg(not(feature = "otel"))]
fn end(_: &App, span: Infallible, _: &Line, _: &Cause, _: &Response) {
    match span {}
}

fn cause(headers: &HeaderMap) -> (Cause, Option<Parent>) {
    let parent = only(headers, &TRACEPARENT).and_then(|said| Parent::read(said.as_bytes()));
    let request_id = only(headers, &REQUEST_ID).filter(|said| is_id(said));
    (Cause::new(request_id.cloned(), parent.map(|parent| parent.trace_id)), parent)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// Whether a caller's id can stand in a log line: no space is in it, so none can be broken out of.
fn is_id(said: &HeaderValue) -> bool {
    let said = said.as_bytes();
    (1..=MAX_REQUEST_ID_BYTES).contains(&said.len()) && said.iter().all(u8::is_ascii_graphic)
}

/// What is told of a request: the line that each logs at `debug`, and its span. It has the route
/// and not the path, which has what the caller wrote.
pub(super) struct Line {
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
}

impl Line {
    fn of(request: &Request) -> Line {
        let route = request.extensions().get::<MatchedPath>().cloned();
        Line { began: Instant::now(), method: request.method().clone(), route }
    }

    /// The method, if it is one of HTTP's own: any other is a word of the caller's.
    pub(super) fn method(&self) -> &str {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
        let more = [Method::PATCH, Method::OPTIONS, Method::TRACE, Method::CONNECT];
        let is_known = known.contains(&self.method) || more.contains(&self.method);
        if is_known { self.method.as_str() } else { "_OTHER" }
    }

    pub(super) fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn write(&self, response: &Response) {
        let (method, route) = (self.method(), self.route());
        let (status, took_us) = (response.status().as_u16(), self.took().as_micros());
        tracing::debug!(method, route, status, took_us, "answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(said: &[&'static str]) -> String {
        let said = said.iter().map(|said| (REQUEST_ID, HeaderValue::from_static(said)));
        cause(&said.collect()).0.request_id().to_owned()
    }

    #[test]
    fn an_id_is_kept_as_it_is_if_a_log_line_can_hold_it_and_replaced_if_not() {
        let longest: &str = "x".repeat(MAX_REQUEST_ID_BYTES).leak();
        for kept in ["7", "a=b;\"c\"", longest] {
            assert_eq!(id_of(&[kept]), kept);
        }
        let longer: &str = format!("{longest}x").leak();
        for replaced in [&["a b"][..], &["a\tb"], &[""], &[longer], &["a", "a"], &[]] {
            let id = id_of(replaced);
            assert!(id.len() == 32 && !replaced.contains(&id.as_str()), "{id}");
        }
        let headers = [(REQUEST_ID, HeaderValue::from_bytes(b"\xe9").unwrap())];
        assert_eq!(cause(&headers.into_iter().collect()).0.request_id().len(), 32);
    }
}
