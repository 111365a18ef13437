//! `POST /v1/definitions/{change}`: what a person may do to the definitions in service. Servers are
//! where it is done: every one of them can reach the store, also one that a process has alone.

use super::problem::Problem;
use super::{App, Name};
use crate::release::{self, ReleaseError};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// What may be done.
const CHANGES: &str = "rollback, promote, forget";

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Name(change): Name,
) -> Result<Response, Problem> {
    let (store, now_us) = (&*app.store, app.clock.now().0);
    let changed = match change.as_str() {
        "rollback" => release::roll_back(store, &app.clock, app.max_staleness_us).await?,
        "promote" => release::promote(store, now_us).await?,
        "forget" => release::forget(store, now_us).await?,
        _ => {
            let status = StatusCode::NOT_FOUND;
            return Err(Problem::new(status, "unknown-name", "No such change")
                .detail(format!("there is no change {change} of definitions"))
                .at("path")
                .remedy(format!("the changes are: {CHANGES}")));
        }
    };
    tracing::warn!(change, from = changed.from, to = changed.to, "asked for by a caller");
    let body = json!({ "change": change, "from": changed.from, "to": changed.to });
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

impl From<ReleaseError> for Problem {
    fn from(error: ReleaseError) -> Problem {
        let (status, remedy) = match error {
            ReleaseError::Refused(_) => {
                (StatusCode::CONFLICT, "GET /v1/views says which definitions there are")
            }
            ReleaseError::Contended => (StatusCode::CONFLICT, "try it again"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "see that the store is well, and try it again"),
        };
        Problem::new(status, "not-changed", "The definitions in service were not changed")
            .detail(error.to_string())
            .remedy(remedy)
    }
}
