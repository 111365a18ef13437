//! What clients of Feast call: `POST /get-online-features`, over the same answers as
//! `/v1/features/{view}`. The wire is that of Feast's Python feature server, 0.60 to 0.66.
//!
//! ```text
//! entities by column ─▶ rows ─▶ for each view: its keys, or rows of its stream ─▶ Serving::answer
//!     ─▶ one result a name, with a value for each row
//! ```
//!
//! `features` names `view:column`, `feature_service` a view with all its columns. Entities are the
//! keys of a look-up; where they hold the id of the view's stream, they are rows of that stream.

mod reply;

use self::reply::{EPOCH_US, write_reply};
use super::body::{self, Held};
use super::features::{
    DEFAULT_DEADLINE_MS, MAX_FEATURES_BYTES, MAX_ROWS, refused, refused_by_policy,
};
use super::problem::Problem;
use super::stages::Stages;
use super::{App, reply as shared_reply};
use crate::catalog::{Catalog, StreamPart};
use crate::json;
use crate::serve::{Answered, Request as Asked};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_core::Micros;
use trueup_sql::View;

/// Newer clients say more than is needed here: other members are passed over.
#[derive(Deserialize)]
struct OnlineBody<'a> {
    #[serde(borrow)]
    entities: BTreeMap<String, Vec<&'a RawValue>>,
    features: Option<Vec<String>>,
    feature_service: Option<String>,
    #[serde(default)]
    full_feature_names: bool,
}

/// A view with the columns that are asked of it.
struct Part<'a> {
    view: &'a View,
    /// Places in [`View::outputs`].
    outputs: Vec<usize>,
}

/// A part with its answer.
struct Answer<'a> {
    part: Part<'a>,
    answered: Answered,
}

/// Why there is no answer.
enum Refusal {
    Problem(Problem),
    /// As Feast's clients raise it: by the class of their own exception.
    Typed {
        status: StatusCode,
        class: &'static str,
        message: String,
    },
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, class, message) = match self {
            Refusal::Problem(problem) => return problem.into_response(),
            Refusal::Typed { status, class, message } => (status, class, message),
        };
        let error = serde_json::json!({
            "module": "feast.errors", "class": class, "message": message,
        });
        // Its clients take the error out of a string within the JSON.
        let body = serde_json::Value::String(error.to_string()).to_string();
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

const FORM: &str = "{\"entities\": {\"KEY\": [...]}, \"features\": [\"VIEW:COLUMN\"]}";

pub(super) async fn online_features(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Response {
    match taken_in(&app, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn taken_in(app: &App, request: Request<Body>) -> Result<Response, Refusal> {
    body::media(request.headers(), false)?;
    let bytes = body::read(&app.admission, request, MAX_FEATURES_BYTES).await?;
    let admitted = app.admission.answer().await?;
    admitted.work(answer(app, &bytes)).await
}

async fn answer(app: &App, bytes: &Held<'_>) -> Result<Response, Refusal> {
    let &Held { arrived, unpacked, .. } = bytes;
    let (began, queue) = (Instant::now(), arrived.elapsed().saturating_sub(unpacked));
    let body: OnlineBody<'_> = body::object(bytes, FORM)?;
    let live = app.live();
    let catalog = live.catalog();
    let count = count_of_rows(&body)?;
    let parts = parts(catalog, &body)?;
    let asked = asked(catalog, &parts, &body, count, app.clock.now())?;
    let parse = unpacked + began.elapsed();
    let deadline = arrived + Duration::from_millis(DEFAULT_DEADLINE_MS);
    let mut answers = Vec::with_capacity(parts.len());
    for (part, asked) in parts.into_iter().zip(&asked) {
        let outputs = part.outputs.clone();
        let answered = live.serving.answer(part.view, outputs, asked, deadline).await;
        app.metrics.request(&part.view.name, None);
        answers.push(Answer { part, answered });
    }
    for Answer { part, answered } in &answers {
        if let Some(refused) = &answered.refused {
            return Err(refused_by_policy(part.view, refused).into());
        }
    }
    let (text, encode) = write_reply(&body, &answers, count);
    // Of a request to several views, each has the whole time of reading and writing it.
    let shared = Stages { encode, ..Stages::taken_in(queue, parse) };
    let mut total = shared;
    for Answer { part, answered } in &answers {
        app.metrics.answered(&part.view.name, &shared.and(answered), answered);
        total = total.and(answered);
    }
    Ok((total.headers(), text).into_response())
}

/// How many rows the entities make.
fn count_of_rows(body: &OnlineBody<'_>) -> Result<usize, Problem> {
    let Some((first, values)) = body.entities.first_key_value() else {
        return Err(Problem::bad_request("there are no entities")
            .at("body, entities")
            .remedy(format!("send {FORM}")));
    };
    let count = values.len();
    if let Some((name, other)) = body.entities.iter().find(|(_, values)| values.len() != count) {
        let detail = format!("{first} has {count} values, {name} has {}", other.len());
        return Err(Problem::bad_request(detail)
            .at("body, entities")
            .remedy("give each entity one value for each row"));
    }
    match count > MAX_ROWS {
        true => Err(Problem::too_large("body, entities", "the entities", MAX_ROWS, "rows")),
        false => Ok(count),
    }
}

/// The views that are asked, each once.
fn parts<'a>(catalog: &'a Catalog, body: &OnlineBody<'_>) -> Result<Vec<Part<'a>>, Refusal> {
    let features = match (&body.features, &body.feature_service) {
        (Some(features), None) => features,
        (None, Some(service)) => {
            let view = catalog.view(service).ok_or_else(|| {
                not_found(catalog, "FeatureServiceNotFoundException", "feature service", service)
            })?;
            // Those that are given need not be told.
            let is_new = |&place: &usize| {
                let name = &view.outputs[place].name;
                body.full_feature_names || !body.entities.contains_key(name)
            };
            let outputs = (0..view.outputs.len()).filter(is_new).collect();
            return Ok(vec![Part { view, outputs }]);
        }
        _ => {
            let problem = Problem::bad_request("either features or feature_service is wanted");
            return Err(problem.at("body").remedy(format!("send {FORM}")).into());
        }
    };
    let mut parts: Vec<Part<'a>> = Vec::new();
    for feature in features {
        let (name, column) = feature.split_once(':').ok_or_else(|| {
            Problem::bad_request(format!("{feature:?} is no feature"))
                .at("body, features")
                .remedy("write VIEW:COLUMN")
        })?;
        let view = catalog.view(name).ok_or_else(|| {
            not_found(catalog, "FeatureViewNotFoundException", "feature view", name)
        })?;
        let output = view.outputs.iter().position(|output| output.name == column);
        let output = output.ok_or_else(|| no_column(view, column))?;
        match parts.iter_mut().find(|part| std::ptr::eq(part.view, view)) {
            Some(part) if part.outputs.contains(&output) => {}
            Some(part) => part.outputs.push(output),
            None => parts.push(Part { view, outputs: vec![output] }),
        }
    }
    match body.full_feature_names {
        true => Ok(parts),
        false => one_of_each_name(parts, body),
    }
}

fn not_found(catalog: &Catalog, class: &'static str, what: &str, name: &str) -> Refusal {
    let message =
        format!("there is no {what} {name}; the definitions have: {}", catalog.view_names());
    Refusal::Typed { status: StatusCode::NOT_FOUND, class, message }
}

fn no_column(view: &View, column: &str) -> Refusal {
    let names: Vec<&str> = view.outputs.iter().map(|output| output.name.as_str()).collect();
    let message =
        format!("feature view {} has no feature {column}; it has: {}", view.name, names.join(", "));
    let class = "FeatureViewNotFoundException";
    Refusal::Typed { status: StatusCode::NOT_FOUND, class, message }
}

/// Refuses two results of one name.
fn one_of_each_name<'a>(
    parts: Vec<Part<'a>>,
    body: &OnlineBody<'_>,
) -> Result<Vec<Part<'a>>, Refusal> {
    let names = parts.iter().flat_map(|part| {
        part.outputs.iter().map(|&output| part.view.outputs[output].name.as_str())
    });
    let mut seen: Vec<&str> = body.entities.keys().map(String::as_str).collect();
    for name in names {
        if seen.contains(&name) {
            let message = format!(
                "the name {name} stands for two results; ask with full_feature_names, or for one \
                 of them"
            );
            let class = "FeatureNameCollisionError";
            return Err(Refusal::Typed {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                class,
                message,
            });
        }
        seen.push(name);
    }
    Ok(parts)
}

/// The request to each part. Every entity must be of use to one of them.
fn asked(
    catalog: &Catalog,
    parts: &[Part<'_>],
    body: &OnlineBody<'_>,
    count: usize,
    now: Micros,
) -> Result<Vec<Asked>, Problem> {
    let mut used: Vec<&str> = Vec::new();
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let stream = &catalog.streams()[part.view.stream];
        let is_rows = body.entities.contains_key(&stream.stream.columns[stream.stream.id].name);
        let taken = taken(stream, part.view, body, is_rows);
        used.extend(taken.iter().map(|(name, ..)| *name));
        let rows: Vec<Vec<u8>> = (0..count).map(|row| object(&taken, row)).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let asked = match is_rows {
            true => Asked::rows(stream, &rows, now),
            false => {
                let given: Vec<usize> = taken.iter().map(|(_, column, _)| *column).collect();
                Asked::keys(stream, &rows, vec![given; count], now)
            }
        };
        all.push(asked.map_err(|bad| refused("entities", bad))?);
    }
    match body.entities.keys().find(|name| !used.contains(&name.as_str())) {
        None => Ok(all),
        Some(name) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-key", "No such key")
                .detail(format!("no feature that is asked for has the key {name}"))
                .at("body, entities")
                .remedy("GET /v1/views has the keys of each view, and the columns of its rows"))
        }
    }
}

/// An entity that a view takes: its name, the stream's column, and the values.
type Taken<'b> = (&'b str, usize, &'b [&'b RawValue]);

fn taken<'b>(
    stream: &StreamPart,
    view: &View,
    body: &'b OnlineBody<'_>,
    is_rows: bool,
) -> Vec<Taken<'b>> {
    let is_key = |column| view.lookups.iter().any(|lookup| lookup.keys.contains(&column));
    let taken = body.entities.iter().filter_map(|(name, values)| {
        let column = stream.stream.column(name)?;
        (is_rows || is_key(column)).then_some((name.as_str(), column, values.as_slice()))
    });
    taken.collect()
}

/// One row of the entities as a JSON object.
fn object(taken: &[Taken<'_>], row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    shared_reply::object(&mut out, taken.iter(), |out, (name, _, values)| {
        json::text(out, name);
        out.push(b':');
        out.extend_from_slice(values[row].get().as_bytes());
    });
    out
}

/// The time of a row's state: when the last of its keys was whole; none is 1970.
fn as_of_us(answered: &Answered, row: usize) -> i64 {
    let times = answered.rows[row].keys.values().filter_map(|key| key.fresh_us);
    times.min().unwrap_or(EPOCH_US)
}
