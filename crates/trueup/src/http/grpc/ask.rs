//! What is asked, as the JSON that HTTP's bodies have. Only the form changes here: what a value
//! means to its column the one table of decoding says.

use super::super::features::DEFAULT_DEADLINE_MS;
use super::super::reply::{array, object};
use super::messages::{Explain, GetFeaturesRequest, Kind, Row, ScoreRequest, Value};
use crate::json;
use std::io::Write;
use std::time::Duration;
use trueup_sql::decode::print::Double;

/// The members that requests for features and for scores share.
struct Asked<'a> {
    rows: &'a [Row],
    keys: &'a [Row],
    at: Option<&'a str>,
    columns: &'a [String],
    deadline_ms: Option<u32>,
    record: bool,
    explain: Explain,
}

/// The body of `POST /v1/features/{view}`.
pub(super) fn features(request: &GetFeaturesRequest, timeout: Option<Duration>) -> Vec<u8> {
    let GetFeaturesRequest { rows, keys, at, columns, deadline_ms, record, .. } = request;
    let (at, deadline_ms, record) = (at.as_deref(), *deadline_ms, *record);
    let explain = request.explain();
    body(&Asked { rows, keys, at, columns, deadline_ms, record, explain }, timeout)
}

/// The body of `POST /v1/score/{model}`.
pub(super) fn score(request: &ScoreRequest, timeout: Option<Duration>) -> Vec<u8> {
    let ScoreRequest { rows, keys, at, deadline_ms, record, .. } = request;
    let (at, deadline_ms, record) = (at.as_deref(), *deadline_ms, *record);
    let (columns, explain) = (&[][..], Explain::Unspecified);
    body(&Asked { rows, keys, at, columns, deadline_ms, record, explain }, timeout)
}

/// Events, each as a body has it.
pub(super) fn events(events: &[Row]) -> Vec<Vec<u8>> {
    let event = |event: &Row| {
        let mut out = Vec::new();
        row(&mut out, event);
        out
    };
    events.iter().map(event).collect()
}

fn body(asked: &Asked<'_>, timeout: Option<Duration>) -> Vec<u8> {
    let mut out = Vec::new();
    let deadline_ms = deadline_ms(asked.deadline_ms, timeout);
    // Writing to memory does not fail, here and below.
    let _ = write!(out, "{{\"deadline_ms\":{deadline_ms},\"record\":{}", asked.record);
    match asked.explain {
        Explain::Unspecified => {}
        Explain::Whole => out.extend_from_slice(b",\"explain\":true"),
        Explain::Positions => out.extend_from_slice(b",\"explain\":\"positions\""),
    }
    for (name, rows) in [("rows", asked.rows), ("keys", asked.keys)] {
        // A list that is empty is one that was not sent.
        if !rows.is_empty() {
            let _ = write!(out, ",\"{name}\":");
            array(&mut out, rows.iter(), row);
        }
    }
    if let Some(at) = asked.at {
        out.extend_from_slice(b",\"at\":");
        json::text(&mut out, at);
    }
    if !asked.columns.is_empty() {
        out.extend_from_slice(b",\"columns\":");
        array(&mut out, asked.columns.iter(), |out, name| json::text(out, name));
    }
    out.push(b'}');
    out
}

/// The smaller of what the request says and what its caller waits for.
fn deadline_ms(said: Option<u32>, timeout: Option<Duration>) -> u64 {
    let said = said.map_or(DEFAULT_DEADLINE_MS, u64::from);
    let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    // Less than a millisecond is one; that none was asked for is refused where HTTP refuses it.
    timeout.map_or(said, |timeout| said.min(timeout.max(1)))
}

fn row(out: &mut Vec<u8>, row: &Row) {
    object(out, row.values.iter(), |out, (name, given)| {
        json::text(out, name);
        out.push(b':');
        value(out, given);
    });
}

fn value(out: &mut Vec<u8>, given: &Value) {
    let _ = match &given.kind {
        None => write!(out, "null"),
        Some(Kind::Bool(value)) => write!(out, "{value}"),
        Some(Kind::Int64(value)) => write!(out, "{value}"),
        Some(Kind::Double(value)) if value.is_finite() => write!(out, "{}", Double(*value)),
        // JSON has no such number; the table refuses the word by its column's name.
        Some(Kind::Double(value)) => write!(out, "\"{}\"", Double(*value)),
        Some(Kind::Text(value)) => {
            json::text(out, value);
            Ok(())
        }
        Some(Kind::List(list)) => {
            array(out, list.values.iter(), value);
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_the_json_that_means_the_same() {
        let kinds = [
            ("big", Some(Kind::Int64(i64::MIN))),
            ("half", Some(Kind::Double(0.1))),
            ("nan", Some(Kind::Double(f64::NAN))),
            ("none", None),
            ("text", Some(Kind::Text("a\"b".into()))),
            ("yes", Some(Kind::Bool(true))),
        ];
        let values = kinds.map(|(name, kind)| (name.to_owned(), Value { kind })).into();
        let [event] = <[Vec<u8>; 1]>::try_from(events(&[Row { values }])).unwrap();
        let wanted = r#"{"big":-9223372036854775808,"half":0.1,"nan":"NaN","#.to_owned()
            + r#""none":null,"text":"a\"b","yes":true}"#;
        assert_eq!(String::from_utf8(event).unwrap(), wanted);
    }

    #[test]
    fn what_was_not_sent_is_left_out_and_the_nearer_deadline_holds() {
        let made = |deadline_ms, timeout_ms: Option<u64>| {
            let asked = GetFeaturesRequest { deadline_ms, ..GetFeaturesRequest::default() };
            String::from_utf8(features(&asked, timeout_ms.map(Duration::from_millis))).unwrap()
        };
        assert_eq!(made(None, None), r#"{"deadline_ms":50,"record":false}"#);
        assert_eq!(deadline_ms(None, Some(Duration::from_secs(5))), 50);
        assert_eq!(deadline_ms(Some(200), Some(Duration::from_millis(80))), 80);
        assert_eq!(deadline_ms(Some(20), Some(Duration::from_micros(3))), 1);
        assert_eq!(deadline_ms(Some(0), Some(Duration::from_secs(5))), 0);
        let asked = GetFeaturesRequest {
            keys: vec![Row::default()],
            at: Some("2026-11-24T10:00:00Z".into()),
            columns: vec!["n".into()],
            ..GetFeaturesRequest::default()
        };
        let whole = String::from_utf8(features(&asked, None)).unwrap();
        assert!(whole.ends_with(r#""keys":[{}],"at":"2026-11-24T10:00:00Z","columns":["n"]}"#));
    }
}
