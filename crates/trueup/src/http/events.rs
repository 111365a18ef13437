//! `POST /v1/events/{stream}`: events into the stream's log.

use super::admission::Kind;
use super::body::{self, Media};
use super::problem::Problem;
use super::{App, Name, unknown};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the largest call: some tens of thousands of events.
pub const MAX_EVENTS_BYTES: usize = 16 << 20;

/// Events of the largest call: what a disk takes in one sync without making others wait long.
pub const MAX_EVENTS: usize = 50_000;

/// How long `wait=applied` waits unless told, milliseconds.
const DEFAULT_WAIT_MS: u64 = 5_000;

/// How long it waits at most, milliseconds.
const MAX_WAIT_MS: u64 = 60_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsBody<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// What a call's parameters ask for.
#[derive(Debug, Default)]
struct Parameters {
    wait: Option<Duration>,
}

#[derive(Serialize)]
struct EventsReply {
    accepted: usize,
    dead_letters: Vec<Rejected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<bool>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    reason: String,
}

pub(super) async fn push(
    State(app): State<Arc<App>>,
    Name(stream): Name,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let live = app.live();
    let number = live.catalog().streams().iter().position(|part| part.stream.name == stream);
    let number =
        number.ok_or_else(|| unknown("stream", &stream, &live.catalog().stream_names()))?;
    let parameters = Parameters::of(request.uri().query().unwrap_or_default())?;
    let media = body::media(request.headers(), true)?;
    let bytes = body::read(&app.admission, request, MAX_EVENTS_BYTES).await?;
    let _place = app.admission.place(Kind::Push)?;
    let rows: Vec<&[u8]> = match media {
        Media::JsonLines => lines(&bytes),
        Media::Json => {
            let form = "{\"events\": [{...}, ...]}, or JSON lines";
            let parsed: EventsBody<'_> = body::object(&bytes, form)?;
            parsed.events.iter().map(|event| event.get().as_bytes()).collect()
        }
    };
    if rows.len() > MAX_EVENTS {
        return Err(Problem::too_large("body, events", "the events", MAX_EVENTS, "events"));
    }
    let pushed = live.pusher.push(number, &rows).await?;
    crate::fault::point("before-reply");
    let applied = match parameters.wait {
        None => None,
        Some(bound) => {
            let waited = live.pusher.progress[number].wait_for(&pushed.places);
            Some(tokio::time::timeout(bound, waited).await.is_ok())
        }
    };
    let dead_letters = pushed.rejected.into_iter().map(|rejected| Rejected {
        index: rejected.index,
        column: rejected.column,
        reason: rejected.reason,
    });
    let reply =
        EventsReply { accepted: pushed.accepted, dead_letters: dead_letters.collect(), applied };
    let text = serde_json::to_string(&reply)
        .map_err(|error| Problem::bad_request(format!("the reply cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The lines of a body that hold anything.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).collect()
}

impl Parameters {
    fn of(query: &str) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let mut bound_ms = DEFAULT_WAIT_MS;
        let mut wait = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("wait", "applied")) => wait = true,
                Some(("wait_ms", number)) => {
                    let given = number.parse().ok().filter(|ms| (1..=MAX_WAIT_MS).contains(ms));
                    bound_ms = given.ok_or_else(|| {
                        Problem::bad_request(format!("wait_ms={number} is not taken"))
                            .at("query")
                            .remedy(format!("give 1 to {MAX_WAIT_MS} milliseconds"))
                    })?;
                }
                _ => {
                    return Err(Problem::bad_request(format!("the parameter {pair} is not known"))
                        .at("query")
                        .remedy("the parameters are wait=applied and wait_ms=NUMBER"));
                }
            }
        }
        parameters.wait = wait.then(|| Duration::from_millis(bound_ms));
        Ok(parameters)
    }
}
