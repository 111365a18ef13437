//! What is answered, as messages: each member as `reply` writes it for HTTP.

use super::super::record::{self, RowRecord};
use super::super::reply::Reply;
use super::super::stages::Stages;
use super::messages::{
    FeatureRow, GetFeaturesResponse, Kind, ListValue, Recorded, ScoreResponse, ScoredRow, Source,
    Status, Value,
};
use crate::score::Score;
use crate::serve::{self, RowAnswer};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trueup_sql::decode::print::{Date, Decimal, Timestamp};

/// The reply to a request for features, and the stages with its making.
pub(super) fn features(reply: &Reply<'_>) -> (GetFeaturesResponse, Stages) {
    let began = Instant::now();
    let rows = rows(reply).collect();
    let stages = Stages { encode: began.elapsed(), ..reply.got.stages };
    let response = GetFeaturesResponse {
        view: reply.view.name.clone(),
        digest: reply.view.digest.to_string(),
        rows,
        timing_us: timing_us(&stages),
    };
    (response, stages)
}

/// The reply to a request for scores.
pub(super) fn scores(reply: &Reply<'_>) -> (ScoreResponse, Stages) {
    let began = Instant::now();
    let scored = reply.scored.as_ref().expect("who asked for scores has them, or a problem");
    let rows = rows(reply).zip(scored.scores).map(|(row, score)| with_score(row, score)).collect();
    let inference = Some(scored.inference);
    let stages = Stages { encode: began.elapsed(), inference, ..reply.got.stages };
    let mut timing_us = timing_us(&stages);
    timing_us.insert("retrieval".to_owned(), micros(stages.retrieval()));
    let response = ScoreResponse {
        model: scored.model.to_owned(),
        version: scored.version.to_owned(),
        view: reply.view.name.clone(),
        digest: reply.view.digest.to_string(),
        rows,
        timing_us,
    };
    (response, stages)
}

fn with_score(row: FeatureRow, score: &Score) -> ScoredRow {
    let (score, score_reason) = match score {
        Ok(score) => (Some(*score), None),
        Err(why) => (None, Some(why.to_string())),
    };
    ScoredRow { score, score_reason, row: Some(row) }
}

fn timing_us(stages: &Stages) -> BTreeMap<String, u64> {
    stages.list().map(|(stage, took)| (stage.to_owned(), micros(took))).collect()
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn rows(reply: &Reply<'_>) -> impl Iterator<Item = FeatureRow> {
    reply.got.answered.rows.iter().enumerate().map(|(row, answer)| feature_row(reply, row, answer))
}

fn feature_row(reply: &Reply<'_>, row: usize, answer: &RowAnswer) -> FeatureRow {
    let got = reply.got;
    let columns = &got.answered.columns;
    let name = |place: usize| reply.view.outputs[columns[place].0].name.clone();
    let features = columns.iter().enumerate();
    let features =
        features.map(|(place, (_, values))| (name(place), value(values.as_ref(), row))).collect();
    let (mut statuses, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for (place, (status, why)) in answer.statuses.iter().enumerate() {
        if *status != serve::Status::Present {
            statuses.insert(name(place), told(*status).into());
            reasons.extend(why.clone().map(|why| (name(place), why)));
        }
    }
    let keys = answer.keys.iter();
    let sources = keys.clone().map(|(key, answer)| (key.clone(), source(answer.source).into()));
    let as_of =
        keys.filter_map(|(key, at)| Some((key.clone(), Timestamp(at.fresh_us?).to_string())));
    let record = got.records.as_ref().map(|records| &records.rows[row]);
    let clocked = got.asked.clocked[row].then(|| Timestamp(got.asked.at[row]).to_string());
    FeatureRow {
        features,
        status: told(answer.status()).into(),
        statuses,
        reasons,
        defaulted: answer.defaulted.iter().map(|place| name(*place)).collect(),
        sources: sources.collect(),
        as_of: as_of.collect(),
        event_time: clocked,
        recorded: record.map_or(Recorded::Unspecified, recorded).into(),
        refused: record.and_then(|record| record.refused.clone()),
    }
}

fn told(status: serve::Status) -> Status {
    match status {
        serve::Status::Present => Status::Present,
        serve::Status::NullValue => Status::NullValue,
        serve::Status::NotFound => Status::NotFound,
        serve::Status::Stale => Status::Stale,
        serve::Status::Unknown => Status::Unknown,
        serve::Status::NotInView => Status::NotInView,
    }
}

fn source(source: serve::Source) -> Source {
    match source {
        serve::Source::Request => Source::Request,
        serve::Source::Store => Source::Store,
        serve::Source::Database => Source::Database,
    }
}

fn recorded(record: &RowRecord) -> Recorded {
    match record.recorded {
        record::Recorded::Log => Recorded::Log,
        record::Recorded::State => Recorded::State,
        record::Recorded::No => Recorded::No,
    }
}

/// The value at `row`, as `json::value` has it: what JSON has as text is text.
fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value { kind: None };
    }
    let kind = match array.data_type() {
        DataType::Boolean => Kind::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Kind::Int64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Kind::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            let scale = u8::try_from(*scale).unwrap_or(0);
            Kind::Text(Decimal { value, scale }.to_string())
        }
        DataType::Timestamp(_, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            Kind::Text(Timestamp(micros).to_string())
        }
        DataType::Date32 => {
            Kind::Text(Date(array.as_primitive::<Date32Type>().value(row)).to_string())
        }
        DataType::Utf8 => Kind::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let values = (0..items.len()).map(|item| value(items.as_ref(), item)).collect();
            Kind::List(ListValue { values })
        }
        // The compiler gives columns no other type.
        _ => return Value { kind: None },
    };
    Value { kind: Some(kind) }
}
