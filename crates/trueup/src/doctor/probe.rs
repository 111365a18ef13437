//! Asks as a request does, for keys that nobody has, and takes the time.
//!
//! Such keys cost a read of the store as any other, and nothing of what is asked is anybody's. What
//! a long value takes to be decoded they do not show.

use crate::catalog::{Catalog, StreamPart};
use crate::serve::{Answered, Request, Serving, Source, Status};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use trueup_core::Micros;
use trueup_sql::{ColumnType, View};

/// Look-ups before those that are timed: they open connections and look at tables.
pub(super) const WARM_UP: usize = 3;

/// What was asked, and how long answers took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Look-ups that were made, one after the other.
    pub asks: usize,
    /// How many of them had a value that whoever was asked could not give.
    pub lacking: usize,
    /// Why, of the first one.
    pub reason: Option<String>,
    /// How many were timed: of the database those that it answered, of a store all.
    pub timed: usize,
    /// The median of these, milliseconds; none without any.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Look-ups.
    pub(super) asks: usize,
    /// How long each may take.
    pub(super) within: Duration,
    /// After how long no more are begun.
    pub(super) altogether: Duration,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// What lacks is what the store did not vouch for.
    Store,
    /// What lacks is what the database did not give.
    Database,
}

/// Asks for one row of each view in turn; `None` where no view needs a key.
pub(super) async fn probe(serving: &Serving, of: Of, extent: Extent) -> Option<Probe> {
    let catalog = &serving.catalog;
    let views = catalog.definitions().views.iter().filter(|view| !view.lookups.is_empty());
    let views: Vec<&View> = views.collect();
    let (mut times, mut asks, mut lacking, mut reason) = (Vec::new(), 0, 0, None);
    let began = Instant::now();
    for nth in 0..WARM_UP + extent.asks {
        if nth > 0 && began.elapsed() >= extent.altogether {
            break;
        }
        let view = views.get(nth % views.len().max(1))?;
        let request = of_nobody(catalog, view, serving.clock.now())?;
        let outputs = (0..view.outputs.len()).collect();
        let asked = Instant::now();
        let answered = serving.answer(view, outputs, &request, asked + extent.within).await;
        let took = asked.elapsed();
        // A database that takes seconds has no other answers.
        if nth < WARM_UP && took < extent.altogether / 10 {
            continue;
        }
        asks += 1;
        let lacks = match of {
            Of::Store => answered.missed > 0,
            Of::Database => !is_of_database(&answered),
        };
        if lacks {
            lacking += 1;
            reason = reason.or_else(|| why(&answered));
        }
        if !lacks || of == Of::Store {
            times.push(took);
        }
    }
    times.sort_unstable();
    let (p50_ms, p99_ms) = (percentile(&times, 50), percentile(&times, 99));
    Some(Probe { asks, lacking, reason, timed: times.len(), p50_ms, p99_ms })
}

fn is_of_database(answered: &Answered) -> bool {
    let mut keys = answered.rows.iter().flat_map(|row| row.keys.values());
    keys.any(|key| key.source == Source::Database)
}

/// The first reason for a value that is not known.
fn why(answered: &Answered) -> Option<String> {
    let mut statuses = answered.rows.iter().flat_map(|row| &row.statuses);
    statuses.find(|(status, _)| *status == Status::Unknown)?.1.clone()
}

/// The least of sorted times that so many of 100 do not exceed, milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).map(|time| time.as_secs_f64() * 1e3)
}

/// A look-up of keys by chance for all that a view needs.
fn of_nobody(catalog: &Catalog, view: &View, now: Micros) -> Option<Request> {
    let part: &StreamPart = &catalog.streams()[view.stream];
    let mut given: Vec<usize> =
        view.lookups.iter().flat_map(|lookup| lookup.keys.iter().copied()).collect();
    given.sort_unstable();
    given.dedup();
    let chance = getrandom::u32().ok()?;
    let columns = given.iter().map(|&column| &part.stream.columns[column]);
    let keys: Map<String, Value> =
        columns.map(|column| (column.name.clone(), key(column.ty, chance))).collect();
    let keys = Value::Object(keys).to_string();
    Request::keys(part, &[keys.as_bytes()], vec![given], now).ok()
}

/// A value of a type that any database takes in such a column, and hardly any has.
fn key(ty: ColumnType, chance: u32) -> Value {
    match ty {
        ColumnType::Boolean => json!(chance.is_multiple_of(2)),
        ColumnType::SmallInt => json!(chance % 32_768),
        // Text may well be a UUID there.
        ColumnType::Varchar => json!(format!("00000000-0000-4000-8000-0000{chance:08x}")),
        ColumnType::Integer | ColumnType::BigInt => json!(1_000_000_000 + chance % 1_000_000_000),
        ColumnType::Double => json!(f64::from(chance)),
        ColumnType::Decimal { precision, scale } => {
            let whole = u32::from(precision.saturating_sub(scale)).min(9);
            json!((chance % 10u32.pow(whole)).to_string())
        }
        ColumnType::Timestamp => json!(format!("1971-01-01T00:00:00.{:06}Z", chance % 1_000_000)),
        ColumnType::Date => json!(format!("1971-01-{:02}", 1 + chance % 28)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_times_that_were_taken() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Some(100.0));
        assert_eq!(percentile(&times, 99), Some(198.0));
        assert_eq!(percentile(&times[..1], 99), Some(1.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
