//! `GET /v1/dead-letters/{stream}` and `POST /v1/dead-letters/{stream}/replay`: what could not be
//! used, with reason and bytes, and those events pushed again. The command prints what is written
//! here, also when it opens the directory of a process that does not run.

use super::body::{self, Whole};
use super::problem::Problem;
use super::{App, Live, Name, unknown};
use crate::ingest::dead_letters::{MAX_PAGE, Page, Replayed, Which, page, replay};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use trueup_sql::decode::print::Timestamp;
use trueup_store::{DeadLetter, Log};

/// Letters of a page unless the call says.
const DEFAULT_PAGE: usize = 100;

/// Bytes of the largest call: the numbers of a page of letters.
const MAX_REPLAY_BYTES: usize = 64 << 10;

/// The shape of a call, for messages.
const FORM: &str = "{\"ids\": [0, 7]}, {\"after\": 7}, or {} for the first page of all";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    ids: Option<Vec<Whole>>,
    after: Option<Whole>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Name(stream): Name,
    uri: Uri,
) -> Result<Response, Problem> {
    let live = app.live();
    number(&live, &stream)?;
    let (after, limit) = parameters(uri.query().unwrap_or_default())?;
    let log = log(&live, &stream)?;
    let body = listed(&stream, log.dead_count(&stream)?.kept, &page(log, &stream, after, limit)?);
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

pub(super) async fn again(
    State(app): State<Arc<App>>,
    Name(stream): Name,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let live = app.live();
    let number = number(&live, &stream)?;
    log(&live, &stream)?;
    body::media(request.headers(), false)?;
    let bytes = body::read(&app.admission, request, MAX_REPLAY_BYTES).await?;
    let asked = match bytes.trim_ascii() {
        [] => ReplayBody::default(),
        bytes => body::object(bytes, FORM)?,
    };
    let which = match asked {
        ReplayBody { ids: Some(ids), after: None } if ids.len() <= MAX_PAGE => {
            Which::These(ids.into_iter().map(|id| id.0).collect())
        }
        ReplayBody { ids: Some(_), after: None } => {
            return Err(Problem::too_large("body, ids", "the numbers", MAX_PAGE, "letters"));
        }
        ReplayBody { ids: None, after } => Which::Page { after: after.map(|id| id.0) },
        ReplayBody { .. } => {
            let both = Problem::bad_request("ids and after are two different questions");
            return Err(both.at("body").remedy(format!("send {FORM}")));
        }
    };
    let body = replayed(&replay(&live.pusher, number, which).await?);
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

fn number(live: &Live, stream: &str) -> Result<usize, Problem> {
    let streams = live.catalog().streams();
    let number = streams.iter().position(|part| part.stream.name == stream);
    number.ok_or_else(|| unknown("stream", stream, &live.catalog().stream_names()))
}

fn log<'a>(live: &'a Live, stream: &str) -> Result<&'a Log, Problem> {
    live.pusher.log.as_deref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "elsewhere", "The dead letters are elsewhere")
            .detail(format!("this process applies nothing of {stream}, and has no dead letters"))
            .at("path")
            .remedy("ask a process of `trueup run`, or of `trueup ingest` with --listen")
    })
}

fn parameters(query: &str) -> Result<(Option<u64>, usize), Problem> {
    let (mut after, mut limit) = (None, DEFAULT_PAGE);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let number = pair.split_once('=').and_then(|(_, said)| said.parse::<u64>().ok());
        match (pair.split('=').next(), number) {
            (Some("after"), Some(number)) => after = Some(number),
            (Some("limit"), Some(number @ 1..)) if number <= MAX_PAGE as u64 => {
                limit = number as usize;
            }
            _ => {
                return Err(Problem::bad_request(format!("the parameter {pair} is not taken"))
                    .at("query")
                    .remedy(format!("give after=ID, and limit=1 to limit={MAX_PAGE}")));
            }
        }
    }
    Ok((after, limit))
}

/// A page as it is answered.
pub fn listed(stream: &str, kept: u64, page: &Page) -> Value {
    let letters = page.letters.iter().map(|(id, letter)| one(stream, *id, letter));
    json!({
        "stream": stream,
        "kept": kept,
        "letters": letters.collect::<Vec<Value>>(),
        "next": page.next,
    })
}

/// A letter. Its bytes are text if a terminal can show them, else base64.
fn one(stream: &str, id: u64, letter: &DeadLetter) -> Value {
    let shown = |text: &&str| text.chars().all(|one| !one.is_control() || "\t\n\r".contains(one));
    let (form, bytes) = match std::str::from_utf8(&letter.bytes).ok().filter(shown) {
        Some(text) => ("text", text.to_owned()),
        None => ("base64", BASE64_STANDARD.encode(&letter.bytes)),
    };
    json!({
        "id": id,
        "stream": stream,
        "time": letter.time_us.map(|us| Timestamp(us).to_string()),
        "partition": letter.position.map(|(partition, _)| partition),
        "offset": letter.position.map(|(_, offset)| offset),
        "reason": letter.reason,
        form: bytes,
    })
}

/// What became of letters that were pushed again, as it is answered.
pub fn replayed(done: &Replayed) -> Value {
    let refused = done.refused.iter().map(|(id, reason)| json!({ "id": id, "reason": reason }));
    json!({
        "taken": done.taken,
        "refused": refused.collect::<Vec<Value>>(),
        "left_out": done.left_out,
        "next": done.next,
    })
}
