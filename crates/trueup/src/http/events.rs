//! `POST /v1/events/{stream}`: events into the stream's log.

use super::admission::Kind;
use super::body::{self, Media};
use super::problem::Problem;
use super::{App, Live, Name, unknown};
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

/// How long `wait=applied` waits unless told.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(5);

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

/// What became of the events.
#[derive(Serialize)]
pub(super) struct EventsReply {
    pub(super) accepted: usize,
    pub(super) dead_letters: Vec<Rejected>,
    /// Whether they can be read, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) applied: Option<bool>,
}

/// An event that cannot be used.
#[derive(Serialize)]
pub(super) struct Rejected {
    pub(super) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    pub(super) reason: String,
}

pub(super) async fn push(
    State(app): State<Arc<App>>,
    Name(stream): Name,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let live = app.live();
    let number = number(&live, &stream)?;
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
    let reply = into_log(&live, number, &rows, parameters.wait).await?;
    let text = serde_json::to_string(&reply)
        .map_err(|error| Problem::bad_request(format!("the reply cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The number of a stream.
pub(super) fn number(live: &Live, stream: &str) -> Result<usize, Problem> {
    let number = live.catalog().streams().iter().position(|part| part.stream.name == stream);
    number.ok_or_else(|| unknown("stream", stream, &live.catalog().stream_names()))
}

/// Puts events into a stream's log, and waits, if it is to, until they can be read.
pub(super) async fn into_log(
    live: &Live,
    number: usize,
    rows: &[&[u8]],
    wait: Option<Duration>,
) -> Result<EventsReply, Problem> {
    if rows.len() > MAX_EVENTS {
        return Err(Problem::too_large("body, events", "the events", MAX_EVENTS, "events"));
    }
    let pushed = live.pusher.push(number, rows).await?;
    crate::fault::point("before-reply");
    let applied = match wait {
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
    Ok(EventsReply { accepted: pushed.accepted, dead_letters: dead_letters.collect(), applied })
}

/// How long to wait for events that were pushed, of a number of milliseconds as it was written.
pub(super) fn bound(wait_ms: &str, at: &str) -> Result<Duration, Problem> {
    let given = wait_ms.parse().ok().filter(|ms| (1..=MAX_WAIT_MS).contains(ms));
    given.map(Duration::from_millis).ok_or_else(|| {
        Problem::bad_request(format!("wait_ms={wait_ms} is not taken"))
            .at(at)
            .remedy(format!("give 1 to {MAX_WAIT_MS} milliseconds"))
    })
}

/// The lines of a body that hold anything.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).collect()
}

impl Parameters {
    fn of(query: &str) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let mut bounded = DEFAULT_WAIT;
        let mut wait = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("wait", "applied")) => wait = true,
                Some(("wait_ms", number)) => bounded = bound(number, "query")?,
                _ => {
                    return Err(Problem::bad_request(format!("the parameter {pair} is not known"))
                        .at("query")
                        .remedy("the parameters are wait=applied and wait_ms=NUMBER"));
                }
            }
        }
        parameters.wait = wait.then_some(bounded);
        Ok(parameters)
    }
}
