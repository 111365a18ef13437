//! The baseline behind the demo's HTTP server: the same request, the same shape of answer.

use super::pool::{Pool, Refused};
use super::query::Asked;
use crate::catalog::Catalog;
use crate::cli::Failure;
use crate::clock::Clock;
use crate::serve::Request;
use crate::simulate::{Record, Transaction};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::Arc;

/// One database, ready to answer.
#[derive(Debug)]
pub(in crate::demo) struct Baseline {
    catalog: Arc<Catalog>,
    pool: Pool,
}

#[derive(Deserialize)]
struct Body<'a> {
    /// Exactly one: the demo asks for no more at a time.
    #[serde(borrow)]
    rows: [&'a RawValue; 1],
}

impl Baseline {
    /// Opens the database at `path`.
    pub(in crate::demo) fn open(catalog: Arc<Catalog>, path: &Path) -> Result<Baseline, Failure> {
        Ok(Baseline { catalog, pool: Pool::open(path)? })
    }

    fn asked(&self, body: &[u8]) -> Result<Asked, String> {
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let part = self.catalog.stream(Transaction::STREAM).ok_or("the stream is not defined")?;
        let rows = [body.rows[0].get().as_bytes()];
        let request = Request::rows(part, &rows, Clock::system().now());
        let request = request.map_err(|bad| format!("{bad:?}"))?;
        let asked = Asked::of(&part.stream, &request);
        asked.ok_or_else(|| "the stream is not the simulated one".to_string())
    }
}

/// One route, at `path`, for each baseline.
pub(in crate::demo) fn router(baselines: [(&str, Baseline); 2]) -> Router {
    let route = |router: Router, (path, baseline): (&str, Baseline)| {
        let routes = Router::new().route(path, post(features)).with_state(Arc::new(baseline));
        router.merge(routes)
    };
    baselines.into_iter().fold(Router::new(), route)
}

async fn features(State(baseline): State<Arc<Baseline>>, body: Bytes) -> Response {
    let asked = match baseline.asked(&body) {
        Ok(asked) => asked,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
    };
    match baseline.pool.answer(asked).await {
        Ok(features) => {
            let rows =
                json!({"view": "fraud", "rows": [{"features": features, "status": "PRESENT"}]});
            ([(header::CONTENT_TYPE, "application/json")], rows.to_string()).into_response()
        }
        Err(Refused::Busy) => {
            (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait").into_response()
        }
        Err(Refused::Failed(reason)) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
    }
}
