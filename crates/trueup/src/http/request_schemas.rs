//! What requests may hold, as schemas of the OpenAPI document: also which members go together, so
//! that who generates requests from it makes none that is refused for its form.

use super::events::MAX_EVENTS;
use super::features::{MAX_DEADLINE_MS, MAX_ROWS};
use crate::ingest::dead_letters::MAX_PAGE;
use serde_json::{Value, json};

/// A member that may be left out: null says the same.
fn optional(mut schema: Value) -> Value {
    match (schema.get_mut("type").map(Value::take), schema.get_mut("enum")) {
        (Some(kind), _) => schema["type"] = json!([kind, "null"]),
        (None, Some(Value::Array(words))) => words.push(Value::Null),
        (None, _) => {}
    }
    schema
}

/// A member that has no meaning beside the others.
fn left_out() -> Value {
    json!({ "type": "null" })
}

/// An object with these members, of which some must be there, and no other.
fn object(required: &[&str], members: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required,
            "properties": members })
}

/// Rows, or keys at an instant.
pub(super) fn features() -> Value {
    let strings = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
    let both = |mut members: Value| {
        let deadline = json!({ "type": "integer", "minimum": 1, "maximum": MAX_DEADLINE_MS });
        members["columns"] = optional(strings.clone());
        members["explain"] = optional(json!({ "enum": [true, false, "positions"] }));
        members["deadline_ms"] = optional(deadline);
        members
    };
    let rows = json!({ "type": "array", "maxItems": MAX_ROWS, "items": { "type": "object" } });
    let of_rows = both(json!({ "rows": rows, "keys": left_out(), "at": left_out(),
                               "record": optional(json!({ "type": "boolean" })) }));
    let keys = json!({ "type": "array", "maxItems": MAX_ROWS,
                       "items": { "type": "object", "minProperties": 1 } });
    let at = optional(json!({ "type": "string", "format": "date-time" }));
    let of_keys = both(json!({ "keys": keys, "rows": left_out(), "at": at,
                               "record": { "enum": [false, null] } }));
    json!({ "oneOf": [object(&["rows"], of_rows), object(&["keys"], of_keys)] })
}

/// The same for a model, whose columns are its own.
pub(super) fn score() -> Value {
    let mut schema = features();
    for each in schema["oneOf"].as_array_mut().into_iter().flatten() {
        each["properties"]["columns"] = left_out();
    }
    schema
}

/// What Feast's clients send; the members that are passed over are left out.
pub(super) fn feast() -> Value {
    let strings = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let entities = json!({ "type": "object", "minProperties": 1, "additionalProperties":
        { "type": "array", "maxItems": MAX_ROWS } });
    let of = |wanted: &str, features: Value, service: Value| {
        json!({ "type": "object", "required": ["entities", wanted], "properties": {
            "entities": entities, "features": features, "feature_service": service,
            "full_feature_names": { "type": "boolean" } } })
    };
    let service = json!({ "type": "string" });
    json!({ "oneOf": [of("features", strings, left_out()),
                      of("feature_service", left_out(), service)] })
}

/// Events of a stream. One that is no object is a dead letter, as one of a wrong type is.
pub(super) fn events() -> Value {
    let events = json!({ "type": "array", "maxItems": MAX_EVENTS, "items": {} });
    object(&["events"], json!({ "events": events }))
}

/// Dead letters by their ids, or a page of them.
pub(super) fn letters() -> Value {
    let ids = json!({ "type": "array", "maxItems": MAX_PAGE,
                      "items": { "type": "integer", "minimum": 0, "maximum": u64::MAX } });
    let after = optional(json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }));
    json!({ "oneOf": [object(&["ids"], json!({ "ids": ids, "after": left_out() })),
                      object(&[], json!({ "ids": left_out(), "after": after }))] })
}
