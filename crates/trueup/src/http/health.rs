//! `/livez`, `/readyz` and `/v1/status`: whether the process is there, whether it can answer, and
//! how far each stream is.

use super::{App, Live};
use crate::score::Told;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use trueup_sql::decode::print::Timestamp;
use trueup_store::{At, Detail, Read};

/// Whether the parts of the process work.
#[derive(Debug, Default)]
pub struct Health {
    /// Set when the process has begun to end.
    pub stopping: AtomicBool,
    workers: RwLock<Arc<Vec<WorkerHealth>>>,
}

/// How a worker is whose groups are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerHealth {
    /// Its stream.
    pub stream: String,
    /// Why it goes on no more; none while it does.
    pub trouble: Option<String>,
}

impl Health {
    /// The workers; none where this process ingests nothing.
    pub fn workers(&self) -> Arc<Vec<WorkerHealth>> {
        Arc::clone(&self.workers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are the workers.
    pub fn tell(&self, workers: Vec<WorkerHealth>) {
        *self.workers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(workers);
    }
}

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// One part's word.
struct Part {
    name: String,
    trouble: Option<String>,
    /// What is worth a word though it is no trouble.
    remark: Option<String>,
}

impl Part {
    fn new(name: impl Into<String>, trouble: Option<String>) -> Part {
        Part { name: name.into(), trouble, remark: None }
    }
}

/// `200` if requests are answered with values; each part's word with `?verbose`.
pub(super) async fn readyz(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let parts = parts(&app).await;
    let ready = parts.iter().all(|part| part.trouble.is_none());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !is_verbose(&uri) {
        return (status, if ready { "ready\n" } else { "not ready; see /readyz?verbose\n" })
            .into_response();
    }
    let part = |part: &Part| {
        json!({
            "part": part.name, "ready": part.trouble.is_none(), "trouble": part.trouble,
            "remark": part.remark,
        })
    };
    let body = json!({ "ready": ready, "parts": parts.iter().map(part).collect::<Vec<Value>>() });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn is_verbose(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|q| q.starts_with("verbose")))
}

/// Whether requests are answered with values.
#[cfg(feature = "grpc")]
pub(super) async fn is_ready(app: &App) -> bool {
    parts(app).await.iter().all(|part| part.trouble.is_none())
}

async fn parts(app: &App) -> Vec<Part> {
    let stopping = app.health.stopping.load(Ordering::SeqCst);
    let mut parts = vec![Part::new("process", stopping.then(|| "it is stopping".to_string()))];
    parts.push(Part { remark: Some(traffic(app)), ..Part::new("server", None) });
    let store = app.store.stats().await;
    parts.push(Part::new("store", store.err().map(|error| error.to_string())));
    let remark = app.told().sentence();
    parts.push(Part { remark, ..Part::new("definitions", None) });
    let worker = |it: &WorkerHealth| Part::new(format!("ingest {}", it.stream), it.trouble.clone());
    parts.extend(app.health.workers().iter().map(worker));
    parts.extend(app.models.iter().flat_map(|models| models.told()).map(model));
    let (now, live) = (app.clock.now().0, app.live());
    let fresh = freshness(app, &live).await;
    parts.extend(fresh.into_iter().zip(live.catalog().streams()).map(|(fresh_us, stream)| {
        let behind = fresh_us < now.saturating_sub(app.max_staleness_us);
        let since = || match fresh_us {
            ..=0 => "nothing vouches yet for the state's having everything".to_owned(),
            _ => format!("the state last had everything at {}", Timestamp(fresh_us)),
        };
        Part::new(format!("freshness of {}", stream.stream.name), behind.then(since))
    }));
    parts
}

/// A model that cannot be used is no trouble of the server: features are answered all the same, and
/// another server would have the same file.
fn model(told: Told) -> Part {
    let remark = match (told.model, told.trouble) {
        (Some(model), None) => format!("version {} scores view {}", model.version, model.view),
        (Some(model), Some(why)) => format!("{why} (version {} is loaded)", model.version),
        (None, why) => format!("not loaded: {}", why.unwrap_or_default()),
    };
    Part { remark: Some(remark), ..Part::new(format!("model {}", told.name), None) }
}

/// How much there is to do. Too much is no trouble: with one server less the others had more.
fn traffic(app: &App) -> String {
    let (doors, admission) = (&app.doors, &app.admission);
    let refused: u64 = admission.refused().iter().map(|(_, count)| count).sum();
    let [(_, answers), (_, pushes), ..] = admission.under_way();
    format!(
        "{} connections of at most {}; {answers} answers under way, of which {} wait for their \
         turn; {pushes} pushes; {refused} requests refused so far",
        doors.open(),
        doors.most(),
        admission.waiting(),
    )
}

/// By stream, as of when the state has everything; 0 where nobody says. A process that applies
/// nothing of a stream itself asks the store, in one bucket of each group.
async fn freshness(app: &App, live: &Live) -> Vec<i64> {
    let mut fresh = Vec::with_capacity(live.catalog().streams().len());
    for (stream, progress) in live.pusher.progress.iter().enumerate() {
        if !progress.partitions().is_empty() {
            fresh.push(progress.applied().fresh_us);
            continue;
        }
        let spaces = live.catalog().spaces(stream);
        let ats: Vec<At<'_>> = spaces.into_iter().map(|space| At { space, key: b"" }).collect();
        let reads = app.store.read(&ats, Detail::Summary).await;
        let least = |reads: Vec<Read>| reads.iter().map(|read| read.meta.fresh_us).min().flatten();
        // A stream that feeds no group has nothing to be behind with.
        fresh.push(match ats.is_empty() {
            true => i64::MAX,
            false => reads.ok().and_then(least).unwrap_or(0),
        });
    }
    fresh
}

/// How far each stream is, as this process counts; with `?verbose` what `trueup status` shows.
pub(super) async fn status(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let live = app.live();
    if is_verbose(&uri)
        && let Some(looker) = app.looker.lock().await.as_mut()
    {
        let local = live.pusher.log.as_ref();
        let local = local.ok_or_else(|| "another process has the local log".to_string());
        let mut status = looker.look(app.place.clone(), Ok(&*app.store), local).await;
        let trouble =
            |it: &WorkerHealth| Some(format!("ingest {}: {}", it.stream, it.trouble.as_ref()?));
        status.remarks.extend(app.health.workers().iter().filter_map(trouble));
        let body = json!(status).to_string();
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let streams = live.catalog().streams().iter().zip(&live.pusher.progress).enumerate();
    let streams = streams.map(|(number, (part, progress))| {
        let (name, counts, applied) = (&part.stream.name, &progress.counts, progress.applied());
        // What cannot be read shows as null, and in /readyz.
        let log = live.pusher.log.as_ref();
        let dead = log.and_then(|log| log.dead_count(name).ok());
        let end = live.pusher.end(number);
        json!({
            "stream": name,
            "log_records": end,
            "applied_records": applied.records,
            "fresh_at": Timestamp(applied.fresh_us).to_string(),
            "dead_letters": dead.map(|dead| dead.ever),
            "accepted": counts.accepted.load(Ordering::Relaxed),
            "id_conflicts": counts.id_conflicts.load(Ordering::Relaxed),
            "late": counts.late.load(Ordering::Relaxed),
        })
    });
    let body = json!({ "streams": streams.collect::<Vec<Value>>() });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
