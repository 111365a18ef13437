//! Bodies within their bounds, and of the right type, before anything looks into them.

use super::admission::Admission;
use super::coding::{self, Coding};
use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use std::ops::Deref;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;

/// How long a caller may take to send a body: a slow sender holds a connection, and room for what
/// has come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that is here, unpacked. What there may be of all of them has room for it while it lives.
pub(super) struct Held<'a> {
    bytes: Bytes,
    _room: SemaphorePermit<'a>,
    /// When all of it had come.
    pub(super) arrived: Instant,
    /// How long it took to unpack.
    pub(super) unpacked: Duration,
}

impl Deref for Held<'_> {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// The media types that events and rows come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    JsonLines,
}

/// The media type that the headers declare; JSON where they declare none.
pub(super) fn media(headers: &HeaderMap, lines: bool) -> Result<Media, Problem> {
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

/// Reads a body of at most `limit` bytes, as it is sent and as it is meant.
pub(super) async fn read(
    admission: &Admission,
    request: Request<Body>,
    limit: usize,
) -> Result<Held<'_>, Problem> {
    let coding = Coding::of(request.headers())?;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let whole = whole(admission, request.into_body(), limit);
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, whole).await else {
        let status = StatusCode::REQUEST_TIMEOUT;
        return Err(Problem::new(status, "slow-body", "The body did not arrive in time")
            .detail(format!("it took over {} s", BODY_TIMEOUT.as_secs()))
            .at("body")
            .remedy("send it again, in smaller parts on a slow line"));
    };
    let ((bytes, room), arrived) = (body?, Instant::now());
    let Some(coding) = coding else {
        return Ok(Held { bytes, _room: room, arrived, unpacked: Duration::ZERO });
    };
    let (bytes, room) = coding::decoded(admission, &bytes, coding, limit).await?;
    Ok(Held { bytes, _room: room, arrived, unpacked: arrived.elapsed() })
}

/// All of a body. Room is taken for what has come, not for what a caller says will come.
async fn whole(
    admission: &Admission,
    mut body: Body,
    limit: usize,
) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
    let (mut bytes, mut room) = (BytesMut::new(), admission.bytes(0)?);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::bad_request(format!("the body ended early: {error}")).at("body")
        })?;
        // Trailers say nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large(limit));
        }
        room.merge(admission.bytes(data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), room))
}

/// A whole number from 0 on, however JSON writes it: 5, 5.0 and 5e0 are one number.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Whole(pub(super) u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number from 0 on is wanted")]
enum Written {
    Whole(u64),
    Double(f64),
}

impl TryFrom<Written> for Whole {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Whole, &'static str> {
        match written {
            Written::Whole(number) => Ok(Whole(number)),
            // The bound is 2^64, which is none of u64.
            Written::Double(number)
                if number.fract() == 0.0
                    && (0.0..18_446_744_073_709_551_616.0).contains(&number) =>
            {
                Ok(Whole(number as u64))
            }
            Written::Double(_) => Err("a whole number from 0 on is wanted"),
        }
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::too_large("body", "the body", limit, "bytes")
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
