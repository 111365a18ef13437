//! `GET /v1/views`: what can be asked for.

use super::{App, Live};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use trueup_sql::{View, sql_type};

pub(super) async fn views(State(app): State<Arc<App>>) -> Response {
    let live = app.live();
    let views = live.catalog().definitions().views.iter().map(|view| about(&live, view));
    let body = json!({
        "views": views.collect::<Vec<Value>>(),
        "definitions": app.told().json(),
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The columns of the stream that a look-up of the view gives.
pub(super) fn keys<'a>(live: &'a Live, view: &View) -> Vec<&'a str> {
    let stream = &live.catalog().streams()[view.stream].stream;
    let mut keys: Vec<&str> = Vec::new();
    for &column in view.lookups.iter().flat_map(|lookup| &lookup.keys) {
        let name = stream.columns[column].name.as_str();
        if !keys.contains(&name) {
            keys.push(name);
        }
    }
    keys
}

fn about(live: &Live, view: &View) -> Value {
    let stream = &live.catalog().streams()[view.stream].stream;
    let columns = view
        .outputs
        .iter()
        .map(|output| json!({ "name": output.name, "type": sql_type(&output.ty) }));
    let row = stream.columns.iter().map(|column| {
        json!({ "name": column.name, "type": column.ty.to_string(), "not_null": column.not_null })
    });
    json!({
        "view": view.name,
        "digest": view.digest.to_string(),
        "stream": stream.name,
        "keys": keys(live, view),
        "columns": columns.collect::<Vec<Value>>(),
        "row": row.collect::<Vec<Value>>(),
    })
}
