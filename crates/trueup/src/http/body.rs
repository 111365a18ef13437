//! Bodies within their bounds, and of the right type, before anything looks into them.

use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use std::time::Duration;

/// How long a caller may take to send a body: a slow sender holds one of a bounded number of
/// places.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The media types that events and rows come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    JsonLines,
}

/// The media type that the headers declare; JSON where they declare none.
pub(super) fn media(headers: &HeaderMap, lines: bool) -> Result<Media, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        return Err(unsupported(format!("content encoding {encoding:?} is not taken"))
            .remedy("send the body as it is, without Content-Encoding"));
    }
    let Some(declared) = headers.get(header::CONTENT_TYPE) else { return Ok(Media::Json) };
    let named = declared.to_str().unwrap_or_default();
    let named = named.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| named.eq_ignore_ascii_case(name);
    match named {
        _ if is("application/json") => Ok(Media::Json),
        _ if lines && (is("application/x-ndjson") || is("application/jsonl")) => {
            Ok(Media::JsonLines)
        }
        _ => {
            let also = if lines { ", or application/x-ndjson for JSON lines" } else { "" };
            Err(unsupported(format!("content type {declared:?} is not taken"))
                .remedy(format!("send Content-Type: application/json{also}")))
        }
    }
}

fn unsupported(detail: String) -> Problem {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "media-type", "The body is of another type").detail(detail).at("headers")
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let too_large = || Problem::too_large("body", "the body", limit, "bytes");
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let whole = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(Problem::bad_request(format!("the body ended early: {error}")).at("body"))
        }
        Err(_) => {
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(Problem::new(status, "slow-body", "The body did not arrive in time")
                .detail(format!("it took over {} s", BODY_TIMEOUT.as_secs()))
                .at("body")
                .remedy("send it again, in smaller parts on a slow line"))
        }
    }
}

/// A body that is one JSON object of the route's members; `form` shows what to send.
pub(super) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8], form: &str) -> Result<T, Problem> {
    let remedy = || format!("send {form}");
    // An array would pass for an object whose members stand in order.
    if bytes.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
        return Err(Problem::bad_request("the body is no JSON object").at("body").remedy(remedy()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::bad_request(error.to_string())
            .at(format!("body, line {}, column {}", error.line(), error.column()))
            .remedy(remedy())
    })
}
