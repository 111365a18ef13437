//! The body of an answer to a client of Feast, one result a name.
//!
//! ```text
//! {"metadata": {"feature_names": [name, …], "digests": {view: digest}},
//!  "results": [{"values": […], "statuses": […], "event_timestamps": […],
//!               "trueup_statuses"?: […], "trueup_reasons"?: […]}, …]}
//! ```
//!
//! Feast has no words for `STALE`, `UNKNOWN` and `NOT_IN_VIEW`: they become `OUTSIDE_MAX_AGE`,
//! `INVALID` and `NOT_FOUND`. Where its words are not ours, ours stand in `trueup_statuses`, which
//! its clients pass over.

use super::{Answer, OnlineBody, as_of_us};
use crate::http::reply::{array, object};
use crate::json;
use crate::serve::{Answered, Status};
use std::io::Write;
use std::time::{Duration, Instant};
use trueup_core::Value;
use trueup_sql::decode::print::Timestamp;

/// The time of what has none.
pub(super) const EPOCH_US: i64 = 0;

/// The body, and how long it took to write.
pub(super) fn write_reply(
    body: &OnlineBody<'_>,
    answers: &[Answer<'_>],
    count: usize,
) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut out = Vec::with_capacity(1_024);
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":");
    let columns = answers.iter().flat_map(|answer| {
        let named = |&output: &usize| &answer.part.view.outputs[output].name;
        answer.part.outputs.iter().map(named).map(move |name| (answer, name))
    });
    let entities = body.entities.keys().map(|name| (None, name));
    let names = entities.chain(columns.map(|(answer, name)| (Some(answer), name)));
    array(&mut out, names, |out, (answer, name)| match answer {
        Some(Answer { part, .. }) if body.full_feature_names => {
            json::text(out, &format!("{}__{name}", part.view.name));
        }
        _ => json::text(out, name),
    });
    out.extend_from_slice(b",\"digests\":");
    object(&mut out, answers.iter(), |out, Answer { part, .. }| {
        json::text(out, &part.view.name);
        // Writing to memory does not fail, here and below.
        let _ = write!(out, ":\"{}\"", part.view.digest);
    });
    out.extend_from_slice(b"},\"results\":[");
    for (number, values) in body.entities.values().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"values\":");
        array(&mut out, values.iter(), |out, value| {
            out.extend_from_slice(value.get().as_bytes());
        });
        out.extend_from_slice(b",\"statuses\":");
        array(&mut out, 0..count, |out, _| out.extend_from_slice(b"\"PRESENT\""));
        times(&mut out, (0..count).map(|_| EPOCH_US));
        out.push(b'}');
    }
    for Answer { answered, .. } in answers {
        for place in 0..answered.columns.len() {
            out.push(b',');
            write_result(&mut out, answered, place);
        }
    }
    out.extend_from_slice(b"]}");
    (out, began.elapsed())
}

fn write_result(out: &mut Vec<u8>, answered: &Answered, place: usize) {
    let ty = &answered.columns[place].1;
    let values = || answered.rows.iter().map(|row| &row.values[place]);
    out.extend_from_slice(b"{\"values\":");
    array(out, values(), |out, value| json::typed(out, value, ty));
    let statuses = || answered.rows.iter().map(|row| &row.statuses[place]);
    let words: Vec<&str> = statuses()
        .zip(values())
        .map(|((status, why), value)| word(*status, why.is_some(), *value == Value::Null))
        .collect();
    out.extend_from_slice(b",\"statuses\":");
    array(out, words.iter(), |out, word| json::text(out, word));
    times(out, (0..answered.rows.len()).map(|row| as_of_us(answered, row)));
    if statuses().zip(&words).any(|((status, _), word)| status.name() != *word) {
        out.extend_from_slice(b",\"trueup_statuses\":");
        array(out, statuses(), |out, (status, _)| json::text(out, status.name()));
    }
    if statuses().any(|(_, why)| why.is_some()) {
        out.extend_from_slice(b",\"trueup_reasons\":");
        array(out, statuses(), |out, (_, why)| match why {
            Some(why) => json::text(out, why),
            None => out.extend_from_slice(b"null"),
        });
    }
    out.push(b'}');
}

/// Feast's word. Its clients up to 0.63 drop the value of what is NOT_FOUND, so a count of 0 over
/// an empty frame, which is what training has, is PRESENT. A NULL for which there is a reason
/// lacks a key or a row.
fn word(status: Status, has_reason: bool, is_null: bool) -> &'static str {
    match status {
        Status::NotFound if !is_null => Status::Present.name(),
        Status::NullValue if has_reason => Status::NotFound.name(),
        Status::Present | Status::NullValue | Status::NotFound => status.name(),
        Status::Stale => "OUTSIDE_MAX_AGE",
        Status::Unknown => "INVALID",
        Status::NotInView => Status::NotFound.name(),
    }
}

fn times(out: &mut Vec<u8>, times: impl Iterator<Item = i64>) {
    out.extend_from_slice(b",\"event_timestamps\":");
    array(out, times, |out, us| {
        let _ = write!(out, "\"{}\"", Timestamp(us));
    });
}
