//! `GET /v1/events/{stream}`: the stream's log, from any offset on, as JSON lines.
//!
//! What was acknowledged can be read again: for training from the log of a running server, and for
//! looking at what came in.

use super::problem::Problem;
use super::{App, Name, unknown};
use crate::ingest::Sink;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use std::io::Write;
use std::sync::Arc;
use trueup_store::StoreError;

/// Records of one reply.
const MAX_RECORDS: usize = 10_000;

/// Bytes of events of one reply.
const MAX_BYTES: usize = 8 << 20;

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Name(stream): Name,
    uri: Uri,
) -> Result<Response, Problem> {
    let live = app.live();
    let number = live.catalog().streams().iter().position(|part| part.stream.name == stream);
    let number =
        number.ok_or_else(|| unknown("stream", &stream, &live.catalog().stream_names()))?;
    let from = from(uri.query().unwrap_or_default())?;
    let Sink::Log(log) = &*live.pusher.sinks[number] else {
        return Err(Problem::bad_request(format!("stream {stream} has no log in this process"))
            .at("path")
            .remedy("read it where the stream's source is, or at the process that has the log"));
    };
    let read = log.read(&stream, from, MAX_RECORDS, MAX_BYTES);
    let records = read.map_err(|error| match error {
        StoreError::Gap { first, end, .. } => {
            Problem::bad_request(format!("the log holds offsets {first} to {end}, not {from}"))
                .at("query, from")
                .remedy(format!("give {first} to {end}; {end} is the log's end, and has no record"))
        }
        error => error.into(),
    })?;
    let mut out = Vec::new();
    for record in records {
        // A log holds rows as they were pushed, each one JSON object, perhaps over several lines.
        let event = String::from_utf8_lossy(&record.payload).replace(['\n', '\r'], " ");
        let (offset, time_us) = (record.offset, record.time_us);
        // Writing to memory does not fail.
        let _ =
            writeln!(out, "{{\"offset\":{offset},\"log_time_us\":{time_us},\"event\":{event}}}");
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], out).into_response())
}

fn from(query: &str) -> Result<u64, Problem> {
    let wrong = || {
        Problem::bad_request(format!("the parameters {query} are not taken"))
            .at("query")
            .remedy("give from=OFFSET, the first record wanted, counted from 0")
    };
    match query.split_once('=') {
        None if query.is_empty() => Ok(0),
        Some(("from", offset)) => offset.parse().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
