//! `POST /v1/features/{view}`: rows, or keys at an instant, to features.

use super::body::{self, Held, Whole};
use super::problem::Problem;
use super::record::{Recording, Records};
use super::reply::{Reply, write_reply};
use super::stages::Stages;
use super::{App, Live, Name, unknown};
use crate::catalog::StreamPart;
use crate::serve::{Answered, BadRequest, Refused, Request as Asked, Status};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_core::{Micros, Value};
use trueup_sql::View;
use trueup_sql::decode::Cell;
use trueup_store::Detail;

/// Bytes of the largest call.
pub const MAX_FEATURES_BYTES: usize = 4 << 20;

/// Rows, or keys, of the largest call: what is answered well within a deadline.
pub const MAX_ROWS: usize = 1_000;

/// How long an answer may take unless the call says, milliseconds.
pub(super) const DEFAULT_DEADLINE_MS: u64 = 50;

/// The longest deadline that a call may ask for, milliseconds.
pub(super) const MAX_DEADLINE_MS: u64 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeaturesBody<'a> {
    #[serde(borrow)]
    rows: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    keys: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    at: Option<&'a RawValue>,
    #[serde(borrow)]
    columns: Option<Vec<Named<'a>>>,
    explain: Option<Explain>,
    deadline_ms: Option<Whole>,
    record: Option<bool>,
}

/// A name where it stands in the body, unless it has escapes.
#[derive(Deserialize)]
struct Named<'a>(#[serde(borrow)] Cow<'a, str>);

/// How much an answer says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "explain is true, false or \"positions\"")]
enum Explain {
    /// Positions in the log and what each frame held, or nothing.
    Whole(bool),
    /// Positions alone: they cost next to nothing.
    Part(Part),
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Positions,
}

pub(super) async fn features(
    State(app): State<Arc<App>>,
    Name(name): Name,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let live = app.live();
    let view = view(&app, &live, &name)?;
    let bytes = from_caller(&app, request).await?;
    let ask = Ask::of(&bytes);
    // Apart, since what routes requests moves the future of a handler several times.
    let answered = Box::pin(answered(&app, &live, view, &ask, write_reply)).await;
    answered.map(|(text, stages)| (stages.headers(), text).into_response())
}

/// What is asked, when it is here.
pub(super) struct Ask<'a> {
    /// As the body of this route.
    json: &'a [u8],
    /// When it was here: the deadline counts from then.
    arrived: Instant,
    /// How long it took to make that body of what came.
    unpacked: Duration,
}

impl<'a> Ask<'a> {
    /// A body as it came.
    pub(super) fn of(held: &'a Held<'_>) -> Ask<'a> {
        Ask { json: held, arrived: held.arrived, unpacked: held.unpacked }
    }

    /// A body that was just made of what had arrived.
    #[cfg(feature = "grpc")]
    pub(super) fn made(json: &'a [u8], arrived: Instant) -> Ask<'a> {
        Ask { json, arrived, unpacked: arrived.elapsed() }
    }
}

/// Answers when its turn comes; `write` makes the reply.
pub(super) async fn answered<T>(
    app: &App,
    live: &Arc<Live>,
    view: &View,
    ask: &Ask<'_>,
    write: impl FnOnce(&Reply<'_>) -> (T, Stages),
) -> Result<(T, Stages), Problem> {
    let answered = match app.admission.answer().await {
        Ok(admitted) => admitted.work(answer(app, live, view, ask, write)).await,
        Err(problem) => Err(problem),
    };
    let failed = answered.as_ref().err().map(|problem| problem.status());
    app.metrics.request(&view.name, failed);
    answered
}

/// The body of a request for features or scores.
pub(super) async fn from_caller(app: &App, request: Request<Body>) -> Result<Held<'_>, Problem> {
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        return Err(Problem::bad_request(format!("the parameters {query} are not known"))
            .at("query")
            .remedy("this route takes none; columns, at, explain and deadline_ms go in the body"));
    }
    body::media(request.headers(), false)?;
    body::read(&app.admission, request, MAX_FEATURES_BYTES).await
}

/// A view that is served.
pub(super) fn view<'a>(app: &App, live: &'a Live, name: &str) -> Result<&'a View, Problem> {
    live.catalog().view(name).ok_or_else(|| no_view(app, live, name))
}

/// The problem of a view that is not served, or not yet.
fn no_view(app: &App, live: &Live, name: &str) -> Problem {
    let problem = unknown("view", name, &live.catalog().view_names());
    match app.told().view_to_come(name) {
        Some(coming) => problem
            .detail(format!("there is no view {name} yet: {coming}"))
            .remedy("ask again when GET /v1/views has it"),
        None => problem,
    }
}

async fn answer<T>(
    app: &App,
    live: &Arc<Live>,
    view: &View,
    ask: &Ask<'_>,
    write: impl FnOnce(&Reply<'_>) -> (T, Stages),
) -> Result<(T, Stages), Problem> {
    let got = retrieve(app, live, view, ask, Columns::OfCaller).await?;
    let (reply, stages) = write(&Reply { catalog: live.catalog(), view, got: &got, scored: None });
    app.metrics.answered(&view.name, &stages, &got.answered);
    Ok((reply, stages))
}

/// Whose columns are retrieved.
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    /// Those that the body names, or all.
    OfCaller,
    /// Those that a model needs, by their places in the view.
    OfModel(&'a [usize]),
}

/// The share of the time until the deadline that is left for the model, as a divisor: a store that
/// hangs makes features UNKNOWN, and they are scored as such.
const LEFT_FOR_MODEL: u32 = 5;

/// What was asked, and the answer to it.
pub(super) struct Retrieved {
    pub(super) asked: Asked,
    pub(super) answered: Answered,
    /// What became of the rows, where they were to be recorded.
    pub(super) records: Option<Records>,
    pub(super) explain: bool,
    /// All so far.
    pub(super) stages: Stages,
    pub(super) deadline: Instant,
}

impl Retrieved {
    /// A problem that came after the rows were recorded, which says so.
    pub(super) fn problem(&self, problem: Problem) -> Problem {
        match &self.records {
            None => problem,
            Some(records) => problem.also(&records.sentence()),
        }
    }
}

/// Reads a body, and answers and records what it says.
pub(super) async fn retrieve(
    app: &App,
    live: &Arc<Live>,
    view: &View,
    ask: &Ask<'_>,
    columns: Columns<'_>,
) -> Result<Retrieved, Problem> {
    let &Ask { json, arrived, unpacked } = ask;
    let (began, queue) = (Instant::now(), arrived.elapsed().saturating_sub(unpacked));
    let form = "{\"rows\": [{...}]} or {\"keys\": [{...}]}";
    let body: FeaturesBody<'_> = body::object(json, form)?;
    let time = time(&body)?;
    let (outputs, share) = match columns {
        Columns::OfCaller => {
            let outputs = outputs(view, body.columns.as_deref());
            (outputs.map_err(|problem| coming(app, problem))?, time)
        }
        Columns::OfModel(_) if body.columns.is_some() => {
            return Err(Problem::bad_request("a model has columns of its own")
                .at("body, columns")
                .remedy("leave out columns"));
        }
        Columns::OfModel(places) => (places.to_vec(), time - time / LEFT_FOR_MODEL),
    };
    let until = arrived + share;
    let raw = body.rows.iter().flatten().map(|row| row.get().as_bytes());
    let raw: Vec<&[u8]> = raw.collect();
    let recording = recording(live, view, &body, &raw)?;
    let mut asked = match checked(app, live, view, &body, recording.as_ref()) {
        Ok(asked) => asked,
        Err(problem) => return Err(unfit(problem, recording.as_ref(), until).await),
    };
    let explain = body.explain.is_some_and(|explain| explain != Explain::Whole(false));
    if explain {
        asked.detail = Detail::Positions;
    }
    asked.receipts = body.explain == Some(Explain::Whole(true));
    let parse = unpacked + began.elapsed();
    let (answered, records) = match &recording {
        None => (live.serving.answer(view, outputs, &asked, until).await, None),
        Some(recording) => {
            let (answered, records) = recording.answer(view, outputs, &asked, until).await;
            app.metrics.recorded(&view.name, &records);
            (answered, Some(records))
        }
    };
    let log = records.as_ref().map(|records| records.log);
    let stages = Stages { log, ..Stages::taken_in(queue, parse) }.and(&answered);
    let deadline = arrived + time;
    let got = Retrieved { asked, answered, records, explain, stages, deadline };
    match &got.answered.refused {
        Some(refused) => Err(got.problem(refused_by_policy(view, refused))),
        None => Ok(got),
    }
}

/// How long the answer may take.
fn time(body: &FeaturesBody<'_>) -> Result<Duration, Problem> {
    let deadline_ms = body.deadline_ms.map_or(DEFAULT_DEADLINE_MS, |ms| ms.0);
    match (1..=MAX_DEADLINE_MS).contains(&deadline_ms) {
        true => Ok(Duration::from_millis(deadline_ms)),
        false => Err(Problem::bad_request(format!("deadline_ms is {deadline_ms}"))
            .at("body, deadline_ms")
            .remedy(format!("give 1 to {MAX_DEADLINE_MS} milliseconds"))),
    }
}

/// The rows as what is to be recorded, if the call says so.
fn recording<'a>(
    live: &'a Arc<Live>,
    view: &View,
    body: &FeaturesBody<'_>,
    rows: &'a [&'a [u8]],
) -> Result<Option<Recording<'a>>, Problem> {
    match (body.record, &body.keys) {
        (Some(true), Some(_)) => Err(Problem::bad_request("keys are no event to record")
            .at("body, record")
            .remedy("send the transaction as one of rows, or leave record out")),
        (Some(true), None) => Recording::new(live, view, rows).map(Some),
        (Some(false) | None, _) => Ok(None),
    }
}

fn checked(
    app: &App,
    live: &Live,
    view: &View,
    body: &FeaturesBody<'_>,
    recording: Option<&Recording<'_>>,
) -> Result<Asked, Problem> {
    let part = &live.catalog().streams()[view.stream];
    let asked = asked(part, view, body, app.clock.now()).map_err(|it| coming(app, it))?;
    recording.map_or(Ok(()), |recording| recording.timed(&asked))?;
    Ok(asked)
}

/// The problem of a request that does not fit. Of one that is to be recorded, rows that are no
/// events are filed.
async fn unfit(problem: Problem, recording: Option<&Recording<'_>>, deadline: Instant) -> Problem {
    match recording.filter(|_| problem.status() == StatusCode::UNPROCESSABLE_ENTITY) {
        Some(recording) => recording.bury(problem, deadline).await,
        None => problem,
    }
}

/// The problem of a value that the view's policy lets nobody have.
pub(super) fn refused_by_policy(view: &View, refused: &Refused) -> Problem {
    let Refused { row, column, status, reason } = refused;
    let may_come = matches!(status, Status::Unknown | Status::Stale);
    let code = match may_come {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let why = reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let problem = Problem::new(code, "refused-by-policy", "A value is not good enough")
        .detail(format!("column {column} of row {row} is {status}{why}"))
        .at(format!("body, row {row}"))
        .remedy(format!(
            "the settings of view {} refuse such values; ask for other columns, or decide without",
            view.name
        ));
    if may_come { problem.retry_after_s(1) } else { problem }
}

/// A problem of what is asked may be none by the definitions that are on their way.
fn coming(app: &App, problem: Problem) -> Problem {
    match app.told().sentence() {
        Some(coming) => problem.also(&coming),
        None => problem,
    }
}

/// The places of the wanted columns; all where none are named.
fn outputs(view: &View, wanted: Option<&[Named<'_>]>) -> Result<Vec<usize>, Problem> {
    let Some(wanted) = wanted else { return Ok((0..view.outputs.len()).collect()) };
    let find = |name: &str| {
        view.outputs.iter().position(|output| output.name == name).ok_or_else(|| {
            let names: Vec<&str> = view.outputs.iter().map(|output| output.name.as_str()).collect();
            let detail = format!("view {} has no column {name}", view.name);
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-column", "No such column")
                .detail(detail)
                .at("body, columns")
                .remedy(format!("its columns are: {}", names.join(", ")))
        })
    };
    let mut places = Vec::with_capacity(wanted.len());
    for Named(name) in wanted {
        let place = find(name)?;
        if places.contains(&place) {
            return Err(Problem::bad_request(format!("the column {name} is asked for twice"))
                .at("body, columns")
                .remedy("name each column once: a row is an object, with one member a column"));
        }
        places.push(place);
    }
    Ok(places)
}

fn asked(
    part: &StreamPart,
    view: &View,
    body: &FeaturesBody<'_>,
    now: Micros,
) -> Result<Asked, Problem> {
    match (&body.rows, &body.keys) {
        (Some(rows), None) => {
            if body.at.is_some() {
                return Err(Problem::bad_request("rows have event times of their own")
                    .at("body, at")
                    .remedy("leave out at, which is for keys"));
            }
            let rows = bounded("rows", rows)?;
            Asked::rows(part, &rows, now).map_err(|bad| refused("rows", bad))
        }
        (None, Some(keys)) => {
            let at = at(part, body.at, now)?;
            let given = keys.iter().enumerate().map(|(n, keys)| given(part, view, n, keys));
            let given = given.collect::<Result<Vec<_>, _>>()?;
            let keys = bounded("keys", keys)?;
            Asked::keys(part, &keys, given, at).map_err(|bad| refused("keys", bad))
        }
        (Some(_), Some(_)) => Err(Problem::bad_request("both rows and keys are given")
            .at("body")
            .remedy("send rows to append them in thought, or keys to look up; not both")),
        (None, None) => Err(Problem::bad_request("neither rows nor keys are given")
            .at("body")
            .remedy("send {\"rows\": [{...}]} or {\"keys\": [{...}]}")),
    }
}

fn bounded<'a>(place: &str, rows: &[&'a RawValue]) -> Result<Vec<&'a [u8]>, Problem> {
    match rows.len() > MAX_ROWS {
        true => {
            let at = format!("body, {place}");
            Err(Problem::too_large(&at, &format!("the {place}"), MAX_ROWS, place))
        }
        false => Ok(rows.iter().map(|row| row.get().as_bytes()).collect()),
    }
}

pub(super) fn refused(place: &str, bad: BadRequest) -> Problem {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let problem = Problem::new(status, "bad-row", "A row does not fit the stream");
    match bad {
        BadRequest::Row(bad) => {
            let column = bad.column.map(|column| format!(".{column}")).unwrap_or_default();
            problem
                .detail(bad.reason)
                .at(format!("body, {place}[{}]{column}", bad.index))
                .remedy("docs/decoding.md has the values that each type takes")
        }
        BadRequest::Decode(error) => problem.detail(error.to_string()).at(format!("body, {place}")),
    }
}

/// The instant of a look-up: a time as an event's is written, or now.
fn at(part: &StreamPart, at: Option<&RawValue>, now: Micros) -> Result<Micros, Problem> {
    let Some(at) = at else { return Ok(now) };
    let bad = |reason: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-row", "The instant is no time")
            .detail(reason)
            .at("body, at")
            .remedy("write it as 2026-11-24T10:00:00Z")
    };
    let text: Option<String> = serde_json::from_str(at.get()).ok();
    let cell = text.as_deref().map_or(Cell::Number(at.get()), Cell::Text);
    let value = part.key_decoder.value(part.stream.event_time, cell);
    match value.map_err(|bad_value| bad(bad_value.reason))? {
        Value::Time(us) => Ok(Micros(us)),
        _ => Err(bad("it is NULL".to_string())),
    }
}

/// The columns that a look-up gives. Only key columns of the view are taken.
fn given(
    part: &StreamPart,
    view: &View,
    number: usize,
    keys: &RawValue,
) -> Result<Vec<usize>, Problem> {
    let place = || format!("body, keys[{number}]");
    let names: BTreeMap<String, IgnoredAny> = serde_json::from_str(keys.get())
        .map_err(|error| Problem::bad_request(error.to_string()).at(place()))?;
    let columns: Vec<usize> = view.lookups.iter().flat_map(|l| l.keys.iter().copied()).collect();
    let unfit = |kind, title, detail: String| {
        let mut names: Vec<&str> =
            columns.iter().map(|&c| part.stream.columns[c].name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title)
            .detail(detail)
            .at(place())
            .remedy(format!("the keys of view {} are: {}", view.name, names.join(", ")))
    };
    let find = |name: &String| {
        let column = part.stream.column(name).filter(|column| columns.contains(column));
        column.ok_or_else(|| unfit("unknown-key", "No such key", format!("there is no key {name}")))
    };
    let given = names.keys().map(find).collect::<Result<Vec<_>, _>>()?;
    match given.is_empty() {
        true => {
            let detail = "a look-up without a key asks for nothing".to_string();
            Err(unfit("missing-key", "No key", detail))
        }
        false => Ok(given),
    }
}
