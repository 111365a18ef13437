//! What is answered, as messages: each member as `reply` writes it for HTTP.

use super::super::explain;
use super::super::record::{self, RowRecord};
use super::super::reply::Reply;
use super::super::stages::Stages;
use super::messages::{
    FeatureRow, GetFeaturesResponse, Kind, ListValue, Recorded, ScoreResponse, ScoredRow, Source,
    Status, Value,
};
use crate::json;
use crate::score::Score;
use crate::serve::{self, RowAnswer};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trueup_core as core;
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
    let features = answer.values.iter().zip(columns).enumerate();
    let features = features.map(|(place, (it, (_, ty)))| (name(place), value(it, ty))).collect();
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
        explain: got.explain.then(|| explain::text(reply, row)),
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

/// A value of the type `ty`, as `json::typed` has it: what JSON has as text is text.
fn value(value: &core::Value, ty: &DataType) -> Value {
    let kind = match (value, ty) {
        (core::Value::Bool(value), _) => Kind::Bool(*value),
        (core::Value::Int(value), _) => Kind::Int64(*value),
        (core::Value::Float(value), _) => Kind::Double(*value),
        (core::Value::Decimal(value), _) => {
            Kind::Text(Decimal { value: *value, scale: json::scale(ty) }.to_string())
        }
        (core::Value::Time(micros), _) => Kind::Text(Timestamp(*micros).to_string()),
        (core::Value::Date(days), _) => Kind::Text(Date(*days).to_string()),
        (core::Value::Text(text), _) => Kind::Text(text.to_string()),
        (core::Value::List(items), DataType::List(item)) => {
            let values = items.iter().map(|it| self::value(it, item.data_type())).collect();
            Kind::List(ListValue { values })
        }
        // A list of another type is none.
        (core::Value::Null | core::Value::List(_), _) => return Value { kind: None },
    };
    Value { kind: Some(kind) }
}
