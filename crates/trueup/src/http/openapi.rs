//! The interface as an OpenAPI 3.1 document, and the route that serves it. A test compares the
//! document with `docs/openapi.json` and with the routes.

use super::events::{MAX_EVENTS, MAX_EVENTS_BYTES};
use super::features::{MAX_FEATURES_BYTES, MAX_ROWS};
use super::record::Recorded;
use super::request_schemas;
use crate::ingest::dead_letters::MAX_PAGE;
use crate::serve::Status;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document().to_string()).into_response()
}

/// The document.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Trueup",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A real-time feature store: events in, features out. Bodies may be \
                            packed by gzip or zstd (Content-Encoding), and large replies are, \
                            for who takes them so. A caller's x-request-id comes back.",
        },
        "security": [{}, { "bearer": [] }],
        "paths": with_ids(json!({
            "/v1/features/{view}": { "post": features() },
            "/v1/score/{model}": { "post": score() },
            "/get-online-features": { "post": feast() },
            "/v1/events/{stream}": { "post": events(), "get": replay() },
            "/v1/dead-letters/{stream}": { "get": dead_letters() },
            "/v1/dead-letters/{stream}/replay": { "post": dead_letters_again() },
            "/v1/views": { "get": plain("The views, their keys, columns and rows", "Views") },
            "/v1/definitions/{change}": { "post": change() },
            "/v1/status": { "get": status() },
            "/livez": { "get": text("The process is there; depends on nothing", false) },
            "/readyz": { "get": text("Whether requests are answered with values", true) },
            "/health": { "get": text("The same, by the name that Feast's clients know", true) },
            "/metrics": { "get": text("Metrics in Prometheus' text format", false) },
            "/openapi.json": { "get": plain("This document", "Any") },
        })),
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "headers": { "RequestId": {
                "description": "The caller's own x-request-id, or one made here",
                "schema": { "type": "string" } } },
            "schemas": schemas(),
        },
    })
}

/// Every response of every operation with the header that all replies have.
fn with_ids(mut paths: Value) -> Value {
    for response in
        members(&mut paths).flat_map(members).flat_map(|it| members(&mut it["responses"]))
    {
        response["headers"] =
            json!({ "x-request-id": { "$ref": "#/components/headers/RequestId" } });
    }
    paths
}

fn members(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    object.as_object_mut().into_iter().flat_map(|members| members.values_mut())
}

fn change() -> Value {
    let changed = json_reply("What the change led from and to", "Change");
    let codes = [
        ("401", "The token is missing or wrong"),
        ("404", "No such change"),
        ("409", "There is nothing to change to, or it does not vouch for as much"),
        ("503", "Busy, or the store is away"),
    ];
    let mut name = path_parameter("change", "What to do to the definitions in service");
    name["schema"]["enum"] = json!(["rollback", "promote", "forget"]);
    json!({
        "summary": "Serve the previous definitions, serve the next ones now, or forget the former",
        "parameters": [name],
        "responses": responses(changed, &codes),
    })
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn json_reply(description: &str, name: &str) -> Value {
    let content = json!({ "application/json": { "schema": schema(name) } });
    json!({ "description": description, "content": content })
}

fn problems(codes: &[(&str, &str)]) -> Vec<(String, Value)> {
    let problem = |(code, description): &(&str, &str)| {
        let content = json!({ "application/problem+json": { "schema": schema("Problem") } });
        (code.to_string(), json!({ "description": description, "content": content }))
    };
    codes.iter().map(problem).collect()
}

const POST_PROBLEMS: [(&str, &str); 7] = [
    ("400", "The body or a parameter is not understood"),
    ("401", "The token is missing or wrong"),
    ("404", "No such name in the definitions"),
    ("408", "The body did not arrive in time"),
    ("413", "More than one request may have"),
    ("415", "The body is of another type"),
    ("503", "Busy, or the disk does not take the events; Retry-After says when to try again"),
];

fn responses(ok: Value, codes: &[(&str, &str)]) -> Value {
    let mut responses = json!({ "200": ok });
    for (code, problem) in problems(codes) {
        responses[code] = problem;
    }
    responses
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "string" },
    })
}

fn features() -> Value {
    let mut codes = POST_PROBLEMS.to_vec();
    codes.push(("422", "A row, key or column does not fit the view"));
    codes.push(("409", "Rows are to be recorded, and the stream's log holds Avro"));
    let limits = format!("At most {MAX_ROWS} rows or keys and {MAX_FEATURES_BYTES} bytes.");
    let record = "With record, rows are events of the stream from then on.";
    json!({
        "summary": "Features of rows, or of keys at an instant",
        "description": format!("{limits} {record}"),
        "parameters": [path_parameter("view", "A view of the definitions")],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": schema("FeaturesRequest") } },
        },
        "responses": responses(json_reply("One answer a row, in their order", "Features"), &codes),
    })
}

fn score() -> Value {
    let mut codes = POST_PROBLEMS.to_vec();
    codes[2].1 = "No such model";
    codes[6].1 = "Busy, past the deadline, or the model does not fit the definitions";
    codes.push(("422", "A row or key does not fit the view, or the model fails on it"));
    json!({
        "summary": "Scores of rows, or of keys at an instant, by a model in this process",
        "description": format!(
            "At most {MAX_ROWS} rows or keys and {MAX_FEATURES_BYTES} bytes. The request is that \
             for features; `columns` are the model's."
        ),
        "parameters": [path_parameter("model", "A model of the folder that settings name")],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": schema("ScoreRequest") } },
        },
        "responses": responses(json_reply("One answer a row, in their order", "Scores"), &codes),
    })
}

/// What Feast's clients take; the members that they pass over are left out.
fn feast() -> Value {
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let result = json!({ "type": "object", "required": ["values", "statuses", "event_timestamps"],
        "properties": {
            "values": { "type": "array" }, "statuses": strings, "event_timestamps": strings,
            "trueup_statuses": strings,
            "trueup_reasons": { "type": "array", "items": { "type": ["string", "null"] } } } });
    let reply = json!({ "type": "object", "required": ["metadata", "results"], "properties": {
        "metadata": { "type": "object", "required": ["feature_names", "digests"], "properties": {
            "feature_names": strings, "digests": { "type": "object" } } },
        "results": { "type": "array", "items": result } } });
    let answered = json!({ "description": "A result for each name, with a value for each row",
        "content": { "application/json": { "schema": reply } } });
    let mut codes = POST_PROBLEMS.to_vec();
    codes.push(("422", "An entity does not fit the views, or a name stands for two results"));
    let mut responses = responses(answered, &codes);
    // As Feast's clients want it: the error as JSON within a string.
    responses["404"]["content"]["application/json"] = json!({ "schema": { "type": "string" } });
    responses["422"]["content"]["application/json"] = json!({ "schema": { "type": "string" } });
    json!({
        "summary": "Features as Feast's clients ask for them: by column, one result a name",
        "description": format!("At most {MAX_ROWS} rows and {MAX_FEATURES_BYTES} bytes."),
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": request_schemas::feast() } },
        },
        "responses": responses,
    })
}

fn events() -> Value {
    let wait = json!({
        "name": "wait", "in": "query", "description": "Wait until the events can be read",
        "schema": { "type": "string", "enum": ["applied"] },
    });
    let wait_ms = json!({
        "name": "wait_ms", "in": "query", "description": "How long to wait at most, milliseconds",
        "schema": { "type": "integer", "minimum": 1, "maximum": 60_000 },
    });
    let mut codes = POST_PROBLEMS.to_vec();
    codes.push(("409", "The stream's log holds Avro, which is not pushed"));
    let limit = format!("At most {MAX_EVENTS} events and {MAX_EVENTS_BYTES} bytes.");
    json!({
        "summary": "Events into a stream's log, acknowledged when they are on disk",
        "description": limit,
        "parameters": [path_parameter("stream", "A stream of the definitions"), wait, wait_ms],
        "requestBody": {
            "required": true,
            "content": {
                "application/json": { "schema": schema("EventsRequest") },
                "application/x-ndjson": { "schema": { "type": "string" } },
            },
        },
        "responses": responses(json_reply("What became of them", "EventsReply"), &codes),
    })
}

fn replay() -> Value {
    let from = json!({
        "name": "from", "in": "query", "description": "The first offset wanted, from 0",
        "schema": { "type": "integer", "minimum": 0, "maximum": u64::MAX },
    });
    let content = json!({ "application/x-ndjson": { "schema": { "type": "string" } } });
    let lines = json!({ "description": "One record a line; none at the end", "content": content });
    let codes = [POST_PROBLEMS[0], POST_PROBLEMS[1], POST_PROBLEMS[2], POST_PROBLEMS[6]];
    json!({
        "summary": "The stream's log as JSON lines: offset, log_time_us, event",
        "parameters": [path_parameter("stream", "A stream of the definitions"), from],
        "responses": responses(lines, &codes),
    })
}

fn dead_letters() -> Value {
    let after = json!({
        "name": "after", "in": "query", "description": "The id behind which the page begins",
        "schema": { "type": "integer", "minimum": 0, "maximum": u64::MAX },
    });
    let limit = json!({
        "name": "limit", "in": "query", "description": "Letters of a page; 100 unless said",
        "schema": { "type": "integer", "minimum": 1, "maximum": MAX_PAGE },
    });
    let codes = [POST_PROBLEMS[0], POST_PROBLEMS[1], POST_PROBLEMS[2], POST_PROBLEMS[6]];
    json!({
        "summary": "Events that could not be used, in the order of their filing, with their bytes",
        "parameters": [path_parameter("stream", "A stream of the definitions"), after, limit],
        "responses": responses(json_reply("A page of them", "DeadLetters"), &codes),
    })
}

fn dead_letters_again() -> Value {
    json!({
        "summary": "Pushes dead letters again; those that are taken are gone",
        "description": "Those with these ids, or a page of all but those that ended the process.",
        "parameters": [path_parameter("stream", "A stream of the definitions")],
        "requestBody": {
            "required": false,
            "content": { "application/json": { "schema": schema("ReplayRequest") } },
        },
        "responses": responses(json_reply("What became of them", "Replayed"), &POST_PROBLEMS),
    })
}

fn plain(summary: &str, name: &str) -> Value {
    let codes = [POST_PROBLEMS[1], POST_PROBLEMS[6]];
    json!({ "summary": summary, "responses": responses(json_reply(summary, name), &codes) })
}

fn status() -> Value {
    let mut status = plain("How far each stream has been applied", "Streams");
    status["parameters"] = json!([{
        "name": "verbose", "in": "query", "allowEmptyValue": true,
        "description": "Ask store and sources too: what `trueup status --json` prints",
        "schema": { "type": "string" },
    }]);
    status
}

fn text(summary: &str, can_be_unavailable: bool) -> Value {
    let content = json!({ "text/plain": { "schema": { "type": "string" } } });
    let mut responses = json!({ "200": { "description": summary, "content": content } });
    if can_be_unavailable {
        responses["503"] = json!({ "description": "Not ready", "content": content });
    }
    json!({ "summary": summary, "responses": responses })
}

fn schemas() -> Value {
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
    let status = json!({ "type": "string", "enum": statuses });
    let of = |value: Value| json!({ "type": "object", "additionalProperties": value });
    let strings = || of(json!({ "type": "string" }));
    let mut all = json!({
        "Any": { "type": "object" },
        "Views": { "type": "object", "required": ["views", "definitions"], "properties": {
            "views": { "type": "array", "items": { "type": "object" } },
            "definitions": { "type": "object" } } },
        "Change": { "type": "object", "required": ["change", "from", "to"], "properties": {
            "change": { "type": "string" }, "from": { "type": "string" },
            "to": { "type": ["string", "null"] } } },
        "Streams": { "type": "object", "required": ["streams"], "properties": {
            "streams": { "type": "array", "items": { "type": "object" } } } },
        "Problem": { "type": "object", "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" }, "title": { "type": "string" },
                "status": { "type": "integer" }, "detail": { "type": "string" },
                "at": { "type": "string" }, "remedy": { "type": "string" },
                "request_id": { "type": "string" } } },
        "FeaturesRequest": request_schemas::features(),
        "ScoreRequest": request_schemas::score(),
        "Features": { "type": "object", "required": ["view", "digest", "rows", "timing_us"],
            "properties": {
                "view": { "type": "string" }, "digest": { "type": "string" },
                "rows": { "type": "array", "items": schema("Row") },
                "timing_us": of(json!({ "type": "integer" })) } },
        "Row": { "type": "object", "required": ["features", "status", "sources", "as_of"],
            "properties": {
                "features": { "type": "object" }, "status": status,
                "statuses": of(status.clone()), "reasons": strings(),
                "defaulted": { "type": "array", "items": { "type": "string" } },
                "sources": strings(),
                "as_of": strings(), "event_time": { "type": "string" },
                "recorded": { "enum": Recorded::ALL.map(Recorded::name) },
                "refused": { "type": "string" },
                "explain": { "type": "array", "items": { "type": "object" } } } },
        "EventsRequest": request_schemas::events(),
        "EventsReply": { "type": "object", "required": ["accepted", "dead_letters"],
            "properties": {
                "accepted": { "type": "integer" }, "applied": { "type": "boolean" },
                "dead_letters": { "type": "array", "items": {
                    "type": "object", "required": ["index", "reason"], "properties": {
                        "index": { "type": "integer" }, "column": { "type": "string" },
                        "reason": { "type": "string" } } } } } },
    });
    for more in [letter_schemas(), score_schemas()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
    }
    all
}

/// A reply for features, with what the model made of each row.
fn score_schemas() -> Value {
    let row = json!({ "type": "object", "required": ["score"], "properties": {
        "score": { "type": ["number", "null"] }, "score_reason": { "type": "string" } } });
    let rows = json!({ "type": "array", "items": schema("ScoredRow") });
    let scored = json!({ "type": "object", "required": ["model", "version"], "properties": {
        "model": { "type": "string" }, "version": { "type": "string" }, "rows": rows } });
    json!({
        "Scores": { "allOf": [schema("Features"), scored] },
        "ScoredRow": { "allOf": [schema("Row"), row] },
    })
}

fn letter_schemas() -> Value {
    json!({
        "DeadLetters": { "type": "object", "required": ["stream", "kept", "letters", "next"],
            "properties": {
                "stream": { "type": "string" }, "kept": { "type": "integer" },
                "letters": { "type": "array", "maxItems": MAX_PAGE,
                    "items": schema("DeadLetter") },
                "next": { "type": ["integer", "null"] } } },
        "DeadLetter": { "type": "object", "required": ["id", "stream", "reason"],
            "properties": {
                "id": { "type": "integer" }, "stream": { "type": "string" },
                "time": { "type": ["string", "null"] },
                "partition": { "type": ["integer", "null"] },
                "offset": { "type": ["integer", "null"] }, "reason": { "type": "string" },
                "text": { "type": "string" }, "base64": { "type": "string" } } },
        "ReplayRequest": request_schemas::letters(),
        "Replayed": { "type": "object", "required": ["taken", "refused", "left_out", "next"],
            "properties": {
                "taken": { "type": "integer" },
                "refused": { "type": "array", "items": {
                    "type": "object", "required": ["id", "reason"], "properties": {
                        "id": { "type": "integer" }, "reason": { "type": "string" } } } },
                "left_out": { "type": "array", "items": { "type": "integer" } },
                "next": { "type": ["integer", "null"] } } },
    })
}
