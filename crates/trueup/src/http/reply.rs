//! The body of an answer, written straight into bytes.
//!
//! ```text
//! {"view", "digest", "rows": [{"features": {…}, "status", "statuses"?, "reasons"?, "defaulted"?,
//!   "sources", "as_of", "event_time"? (the server's clock), "recorded"?, "refused"?, "explain"?}],
//!  "timing_us": {"queue", "parse", …, "log"?}}
//! ```
//!
//! Of scores it begins with `"model", "version"`, a row with `"score"` and, where that is null,
//! with `"score_reason"`, and the times end with `"inference"` and `"retrieval"`, all but the
//! model and the log.

use super::features::Retrieved;
use super::stages::Stages;
use crate::catalog::Catalog;
use crate::json;
use crate::score::Score;
use crate::serve::{RowAnswer, Status};
use std::io::Write;
use std::time::{Duration, Instant};
use trueup_sql::View;
use trueup_sql::decode::print::{Double, Timestamp};

/// What a reply is written from.
pub(super) struct Reply<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) view: &'a View,
    pub(super) got: &'a Retrieved,
    pub(super) scored: Option<Scored<'a>>,
}

/// What a model made of the features.
pub(super) struct Scored<'a> {
    pub(super) model: &'a str,
    pub(super) version: &'a str,
    /// One for each row.
    pub(super) scores: &'a [Score],
    pub(super) inference: Duration,
}

/// Bytes that a row's answer takes, to size the body.
const GUESSED_ROW_BYTES: usize = 1_024;

/// The body, and the stages with its writing.
pub(super) fn write_reply(reply: &Reply<'_>) -> (Vec<u8>, Stages) {
    let began = Instant::now();
    let rows = &reply.got.answered.rows;
    let mut out = Vec::with_capacity(256 + rows.len() * GUESSED_ROW_BYTES);
    out.push(b'{');
    if let Some(Scored { model, version, .. }) = &reply.scored {
        out.extend_from_slice(b"\"model\":");
        json::text(&mut out, model);
        // Writing to memory does not fail, here and below.
        let _ = write!(out, ",\"version\":\"{version}\",");
    }
    out.extend_from_slice(b"\"view\":");
    json::text(&mut out, &reply.view.name);
    let _ = write!(out, ",\"digest\":\"{}\",\"rows\":", reply.view.digest);
    array(&mut out, rows.iter().enumerate(), |out, (row, answer)| {
        out.push(b'{');
        if let Some(scored) = &reply.scored {
            write_score(out, &scored.scores[row]);
        }
        write_row(out, reply, row, answer);
    });
    let inference = reply.scored.as_ref().map(|scored| scored.inference);
    let stages = Stages { encode: began.elapsed(), inference, ..reply.got.stages };
    out.extend_from_slice(b",\"timing_us\":");
    let retrieval = inference.map(|_| ("retrieval", stages.retrieval()));
    object(&mut out, stages.list().chain(retrieval), |out, (stage, took)| {
        let _ = write!(out, "\"{stage}\":{}", took.as_micros());
    });
    out.push(b'}');
    (out, stages)
}

/// As the members of a row that come first.
fn write_score(out: &mut Vec<u8>, score: &Score) {
    match score {
        Ok(score) => {
            let _ = write!(out, "\"score\":{},", Double(*score));
        }
        Err(why) => {
            out.extend_from_slice(b"\"score\":null,\"score_reason\":");
            json::text(out, why);
            out.push(b',');
        }
    }
}

/// The members of a row, and its end.
fn write_row(out: &mut Vec<u8>, reply: &Reply<'_>, row: usize, answer: &RowAnswer) {
    let got = reply.got;
    let name = |place: usize| reply.view.outputs[got.answered.columns[place].0].name.as_str();
    out.extend_from_slice(b"\"features\":");
    let features = answer.values.iter().zip(&got.answered.columns).enumerate();
    object(out, features, |out, (place, (value, (_, ty)))| {
        json::text(out, name(place));
        out.push(b':');
        json::typed(out, value, ty);
    });
    let _ = write!(out, ",\"status\":\"{}\"", answer.status());
    let statuses = answer.statuses.iter().enumerate();
    let other: Vec<_> = statuses.filter(|(_, (status, _))| *status != Status::Present).collect();
    if !other.is_empty() {
        out.extend_from_slice(b",\"statuses\":");
        object(out, other.iter(), |out, (place, (status, _))| {
            json::text(out, name(*place));
            let _ = write!(out, ":\"{status}\"");
        });
    }
    let reasons: Vec<_> =
        other.iter().filter_map(|(place, (_, why))| Some((*place, why.as_ref()?))).collect();
    if !reasons.is_empty() {
        out.extend_from_slice(b",\"reasons\":");
        object(out, reasons.iter(), |out, (place, why)| {
            json::text(out, name(*place));
            out.push(b':');
            json::text(out, why);
        });
    }
    if !answer.defaulted.is_empty() {
        out.extend_from_slice(b",\"defaulted\":");
        array(out, answer.defaulted.iter(), |out, place| json::text(out, name(*place)));
    }
    out.extend_from_slice(b",\"sources\":");
    object(out, answer.keys.iter(), |out, (key, answer)| {
        json::text(out, key);
        let _ = write!(out, ":\"{}\"", answer.source.name());
    });
    out.extend_from_slice(b",\"as_of\":");
    let fresh = answer.keys.iter().filter_map(|(key, answer)| Some((key, answer.fresh_us?)));
    object(out, fresh, |out, (key, fresh_us)| {
        json::text(out, key);
        let _ = write!(out, ":\"{}\"", Timestamp(fresh_us));
    });
    if got.asked.clocked[row] {
        let _ = write!(out, ",\"event_time\":\"{}\"", Timestamp(got.asked.at[row]));
    }
    if let Some(record) = got.records.as_ref().map(|records| &records.rows[row]) {
        let _ = write!(out, ",\"recorded\":\"{}\"", record.recorded.name());
        if let Some(why) = &record.refused {
            out.extend_from_slice(b",\"refused\":");
            json::text(out, why);
        }
    }
    if got.explain {
        super::explain::write(out, reply, row);
    }
    out.push(b'}');
}

/// Writes an object whose members `each` writes.
pub(super) fn object<T>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = T>,
    each: impl Fn(&mut Vec<u8>, T),
) {
    enclosed(out, *b"{}", members, each);
}

/// Writes an array whose items `each` writes.
pub(super) fn array<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    each: impl Fn(&mut Vec<u8>, T),
) {
    enclosed(out, *b"[]", items, each);
}

fn enclosed<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    parts: impl Iterator<Item = T>,
    each: impl Fn(&mut Vec<u8>, T),
) {
    out.push(open);
    for (number, part) in parts.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        each(out, part);
    }
    out.push(close);
}
