//! `/livez`, `/readyz` and `/v1/status`: whether the process is there, whether it can answer, and
//! how far each stream is.

use super::App;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trueup_sql::decode::print::Timestamp;
use trueup_store::{At, Detail, Read};

/// Whether the parts of the process work.
#[derive(Debug, Default)]
pub struct Health {
    /// Set when the process has begun to end.
    pub stopping: AtomicBool,
    /// By stream, whether its worker goes on; empty where this process ingests nothing.
    pub workers: Vec<Arc<AtomicBool>>,
}

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// One part's word.
struct Part {
    name: String,
    trouble: Option<String>,
}

/// `200` if requests are answered with values; each part's word with `?verbose`.
pub(super) async fn readyz(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let parts = parts(&app).await;
    let ready = parts.iter().all(|part| part.trouble.is_none());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose =
        uri.query().is_some_and(|query| query.split('&').any(|q| q.starts_with("verbose")));
    if !verbose {
        return (status, if ready { "ready\n" } else { "not ready; see /readyz?verbose\n" })
            .into_response();
    }
    let part = |part: &Part| {
        json!({
            "part": part.name, "ready": part.trouble.is_none(), "trouble": part.trouble,
        })
    };
    let body = json!({ "ready": ready, "parts": parts.iter().map(part).collect::<Vec<Value>>() });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn parts(app: &App) -> Vec<Part> {
    let stopping = app.health.stopping.load(Ordering::SeqCst);
    let mut parts = vec![Part {
        name: "process".into(),
        trouble: stopping.then(|| "it is stopping".to_string()),
    }];
    let store = app.serving.store.stats().await;
    parts.push(Part { name: "store".into(), trouble: store.err().map(|error| error.to_string()) });
    let workers = app.health.workers.iter().zip(app.catalog().streams()).enumerate();
    let workers = workers.map(|(number, (running, stream))| Part {
        name: format!("ingest {}", stream.stream.name),
        trouble: (!running.load(Ordering::SeqCst))
            .then(|| app.pusher.progress[number].ended().unwrap_or_else(|| "it has ended".into())),
    });
    parts.extend(workers);
    let now = app.serving.clock.now().0;
    let fresh = freshness(app).await;
    parts.extend(fresh.into_iter().zip(app.catalog().streams()).map(|(fresh_us, stream)| {
        let behind = fresh_us < now.saturating_sub(app.serving.max_staleness_us);
        Part {
            name: format!("freshness of {}", stream.stream.name),
            trouble: behind
                .then(|| format!("the state last had everything at {}", Timestamp(fresh_us))),
        }
    }));
    parts
}

/// By stream, as of when the state has everything; 0 where nobody says. A process that applies
/// nothing of a stream itself asks the store, in one bucket of each group.
async fn freshness(app: &App) -> Vec<i64> {
    let mut fresh = Vec::with_capacity(app.catalog().streams().len());
    for (stream, progress) in app.pusher.progress.iter().enumerate() {
        if !progress.partitions().is_empty() {
            fresh.push(progress.applied().fresh_us);
            continue;
        }
        let spaces = app.catalog().spaces(stream);
        let ats: Vec<At<'_>> = spaces.into_iter().map(|space| At { space, key: b"" }).collect();
        let reads = app.serving.store.read(&ats, Detail::Summary).await;
        let least = |reads: Vec<Read>| reads.iter().map(|read| read.meta.fresh_us).min().flatten();
        // A stream that feeds no group has nothing to be behind with.
        fresh.push(match ats.is_empty() {
            true => i64::MAX,
            false => reads.ok().and_then(least).unwrap_or(0),
        });
    }
    fresh
}

/// How far each stream is: what `trueup status` shows.
pub(super) async fn status(State(app): State<Arc<App>>) -> Response {
    let streams = app.catalog().streams().iter().zip(&app.pusher.progress).enumerate();
    let streams = streams.map(|(number, (part, progress))| {
        let (name, counts, applied) = (&part.stream.name, &progress.counts, progress.applied());
        // What cannot be read shows as null, and in /readyz.
        let log = app.pusher.log.as_ref();
        let dead = log.and_then(|log| log.dead_count(name).ok());
        let end = app.pusher.end(number);
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
