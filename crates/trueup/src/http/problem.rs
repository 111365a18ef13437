//! Errors as problem documents (RFC 9457): what is wrong, where, and the remedy.

use super::coding::Coding;
use crate::cause;
use crate::ingest::PushError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use trueup_store::StoreError;

/// The kind of a problem with how a body is packed; its replies say how it may be.
pub(super) const CODING: &str = "content-coding";

/// What a caller is told instead of an answer.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    title: &'static str,
    pub(super) detail: String,
    pub(super) at: Option<String>,
    pub(super) remedy: String,
    pub(super) retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of a kind: a word for programs, and a title for people.
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Problem {
        Problem {
            status,
            kind,
            title,
            detail: String::new(),
            at: None,
            remedy: String::new(),
            retry_after_s: None,
        }
    }

    /// Says what is wrong.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = detail.into();
        self
    }

    /// Says where: a part of the request.
    pub fn at(mut self, place: impl Into<String>) -> Problem {
        self.at = Some(place.into());
        self
    }

    /// Says what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Problem {
        self.remedy = remedy.into();
        self
    }

    /// Says more of what to do.
    pub fn also(mut self, more: &str) -> Problem {
        self.remedy = match self.remedy.is_empty() {
            true => more.to_owned(),
            false => format!("{}; {more}", self.remedy),
        };
        self
    }

    /// Says after how many seconds the same request may succeed.
    pub fn retry_after_s(mut self, seconds: u32) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body or a parameter of a request is not what the route takes.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not understood")
            .detail(detail)
    }

    /// More was sent than the route takes.
    pub fn too_large(at: &str, what: &str, limit: usize, unit: &str) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large")
            .detail(format!("{what}: over {limit} {unit}, the most that one request may have"))
            .at(at)
            .remedy("send several smaller requests")
    }

    /// More is under way than the server takes.
    pub fn busy(detail: impl Into<String>) -> Problem {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "busy", "The server is busy")
            .detail(detail)
            .remedy("wait a little and send it again: events are recognised by their ids")
            .retry_after_s(1)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let advice = error.advice();
        let status = match error {
            StoreError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem = Problem::new(status, "not-written", "The events were not written")
            .at("body")
            .detail(error.to_string())
            .remedy(advice.remedy);
        if advice.retry { problem.retry_after_s(1) } else { problem }
    }
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Problem {
        let not_written = |status, detail: String| {
            Problem::new(status, "not-written", "The events were not written").detail(detail)
        };
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            PushError::Store(error) => error.into(),
            PushError::Source(error) => {
                let problem = not_written(unavailable, error.to_string()).remedy(error.remedy);
                if error.retry { problem.retry_after_s(1) } else { problem }
            }
            busy @ PushError::Busy(_) => not_written(unavailable, busy.to_string())
                .remedy("wait a little and send again")
                .retry_after_s(1),
            avro @ PushError::Avro { .. } => not_written(StatusCode::CONFLICT, avro.to_string())
                .at("path")
                .remedy("write Avro to the log itself; a history comes in by `trueup backfill`"),
            elsewhere @ PushError::Elsewhere { .. } => {
                not_written(unavailable, elsewhere.to_string())
                    .remedy("push to the process that has the log")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:trueup:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(at) = self.at {
            body["at"] = at.into();
        }
        if !self.remedy.is_empty() {
            body["remedy"] = self.remedy.into();
        }
        if let Some(cause) = cause::current() {
            body["request_id"] = cause.request_id().into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == CODING {
            headers.insert(header::ACCEPT_ENCODING, Coding::NAMES);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
