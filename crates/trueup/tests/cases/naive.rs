//! The naive oracle: for every answer, every event is looked at. What a view's columns, keys and
//! statuses are is spelled out here once more, from the README of the cases, and shares with the
//! server's code only the evaluation of row expressions and the printing of values.

use crate::ask::decode;
use crate::case::{Asked, Case};
use crate::records::admit;
use crate::report::{Column, each_case};
use crate::{KEPT_NO_MORE, SKETCHED};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use trueup::json;
use trueup::serve::{Mode, Request};
use trueup_core::testing::oracle;
use trueup_core::{Aggregate, Event, Func, Value};
use trueup_sql::{GroupDef, Lookup, Output, RowExpr, View, array_of, id_at, value_at};

#[test]
fn the_naive_oracle() {
    each_case(|case, found| {
        if SKETCHED.contains(&case.name.as_str()) {
            found.left_out += 1;
            return;
        }
        let history = History::of(case);
        for (number, asked) in case.requests.iter().enumerate() {
            let mut columns = history.answer(asked);
            if KEPT_NO_MORE.contains(&case.name.as_str()) {
                // What it gives instead is what training is held against.
                for column in &mut columns {
                    let status = asked.expected.statuses.get(&column.name);
                    if status.is_some_and(|status| status == "UNKNOWN") {
                        found.left_out += 1;
                        column.value = "null".to_string();
                        column.status = None;
                    }
                }
            }
            found.row(number, "", &asked.expected, &columns);
        }
    });
}

/// All events of a case that are admitted, by stream.
pub(crate) struct History<'a> {
    case: &'a Case,
    pub(crate) streams: Vec<RecordBatch>,
}

/// An expression or an aggregate has no value.
#[derive(Clone, Copy)]
struct NoValue;

/// What the oracle says of one aggregate for one row.
struct Feature {
    /// An error where there is none: it overflows, or the row is no event of the group.
    value: Result<Value, NoValue>,
    /// Whether its frame holds no event but perhaps the row's own.
    empty: bool,
}

impl<'a> History<'a> {
    pub(crate) fn of(case: &'a Case) -> History<'a> {
        let batches = |(stream, part): (usize, &trueup::catalog::StreamPart)| {
            let in_stream = (0..case.events.len()).filter(|&i| case.events[i].stream == stream);
            let admitted: Vec<_> = in_stream.filter_map(|index| admit(case, index).ok()).collect();
            concat_batches(&part.stream.schema, &admitted).unwrap()
        };
        let streams = case.catalog.streams().iter().enumerate().map(batches).collect();
        History { case, streams }
    }

    /// The answer to a request.
    pub(crate) fn answer(&self, asked: &Asked) -> Vec<Column> {
        let view = self.case.catalog.view(&asked.view).unwrap();
        let request = decode(self.case, asked);
        let mut columns: Vec<ArrayRef> = request.rows.columns().to_vec();
        let mut features = Vec::new();
        for (number, lookup) in view.lookups.iter().enumerate() {
            let group = self.case.catalog.group(lookup.group);
            for (&aggregate, ty) in lookup.aggregates.iter().zip(view.types_of(number)) {
                let aggregate = &group.core.aggregates[aggregate];
                let feature = self.feature(view, lookup, group, aggregate, &request);
                let value = feature.value.clone().unwrap_or(Value::Null);
                columns.push(array_of(&ty, [&value]));
                features.push(feature);
            }
        }
        let wide = RecordBatch::try_new(view.loose_schema.clone(), columns).unwrap();
        let is_row = request.mode == Mode::Rows;
        // Without a value, WHERE does not say whether the row is in the view.
        let in_view = match view.filter.as_ref().filter(|_| is_row) {
            None => Some(true),
            Some(f) => value_of(f, &request.rows, 0).ok().map(|value| value == Value::Bool(true)),
        };
        let column = |output: &Output| {
            let (values, failed) = output.expr.evaluate_each(&wide);
            let used: Vec<&Feature> = output.features.iter().map(|&f| &features[f]).collect();
            let unknown = used.iter().any(|f| f.value.is_err()) || !failed.is_empty();
            let lacks_row = lacks(view, output, &request);
            let status = match () {
                () if in_view == Some(false) => "NOT_IN_VIEW",
                () if in_view.is_none() => "UNKNOWN",
                () if lacks_row => "NULL_VALUE",
                () if unknown => "UNKNOWN",
                () if !used.is_empty() && used.iter().all(|f| f.empty) => "NOT_FOUND",
                () if value_at(&values, 0) == Value::Null => "NULL_VALUE",
                () => "PRESENT",
            };
            let mut text = b"null".to_vec();
            if !(lacks_row || matches!(status, "UNKNOWN" | "NOT_IN_VIEW")) {
                text.clear();
                json::value(&mut text, values.as_ref(), 0);
            }
            Column {
                name: output.name.clone(),
                value: String::from_utf8(text).unwrap(),
                status: Some(status.to_string()),
            }
        };
        view.outputs.iter().map(column).collect()
    }

    fn feature(
        &self,
        view: &View,
        lookup: &Lookup,
        group: &GroupDef,
        aggregate: &Aggregate,
        request: &Request,
    ) -> Feature {
        let key: Vec<Value> =
            lookup.keys.iter().map(|&column| value_at(request.rows.column(column), 0)).collect();
        let nothing_equals = !lookup.null_matches && key.contains(&Value::Null);
        let from = &self.streams[group.stream];
        let mut events = Vec::new();
        for row in (0..from.num_rows()).filter(|_| !nothing_equals) {
            let columns = group.keys.iter();
            let same = columns.map(|&column| value_at(from.column(column), row)).eq(key.clone());
            if same && let Ok(event) = self.event(group, from, row) {
                events.extend(event);
            }
        }
        let own_key: Vec<Value> = match group.stream == view.stream {
            true => group.keys.iter().map(|&c| value_at(request.rows.column(c), 0)).collect(),
            false => Vec::new(),
        };
        let appended = group.stream == view.stream && request.mode == Mode::Rows;
        let own = match appended && !nothing_equals && own_key == key {
            true => self.event(group, &request.rows, 0),
            false => Ok(None),
        };
        let Ok(own) = own else { return Feature { value: Err(NoValue), empty: false } };
        let (at, own, set) = (request.at[0], own.as_ref(), oracle::distinct(&events));
        let all = Aggregate { func: Func::Count, arg: None, filter: None, frame: aggregate.frame };
        let count = |set: &[Event]| oracle::answer(&group.core, &all, set, at, own);
        Feature {
            value: oracle::answer(&group.core, aggregate, &set, at, own).map_err(|_| NoValue),
            empty: count(&set) == count(&[]),
        }
    }

    /// The event of a row as a group keeps it: `None` if its filter leaves it out, an error if an
    /// expression of the group has no value for it.
    fn event(
        &self,
        group: &GroupDef,
        rows: &RecordBatch,
        row: usize,
    ) -> Result<Option<Event>, NoValue> {
        let stream = &self.case.catalog.streams()[group.stream].stream;
        if let Some(filter) = &group.filter
            && value_of(filter, rows, row)? != Value::Bool(true)
        {
            return Ok(None);
        }
        let Value::Time(time) = value_at(rows.column(stream.event_time), row) else {
            panic!("an event has a time")
        };
        let values: Vec<Result<Value, NoValue>> =
            group.slots.iter().map(|slot| value_of(slot, rows, row)).collect();
        // SQL computes an argument only where its FILTER holds.
        let idle = |filter: usize| matches!(values[filter], Ok(Value::Null | Value::Bool(false)));
        let needed = |slot: usize| {
            group.core.aggregates.iter().any(|aggregate| {
                let argument = aggregate.arg == Some(slot) && !aggregate.filter.is_some_and(idle);
                aggregate.filter == Some(slot) || argument
            })
        };
        let mut slots = Vec::new();
        for (slot, value) in values.iter().enumerate() {
            slots.push(match value {
                Ok(value) => value.clone(),
                Err(_) if needed(slot) => return Err(NoValue),
                Err(_) => Value::Null,
            });
        }
        let id = id_at(rows.column(stream.id), row, group.core.id);
        Ok(Some(Event { time, id, slots }))
    }
}

fn value_of(expr: &RowExpr, rows: &RecordBatch, row: usize) -> Result<Value, NoValue> {
    let values = expr.evaluate(&rows.slice(row, 1)).map_err(|_| NoValue)?;
    Ok(value_at(&values, 0))
}

/// Whether a lookup gives too little for an output: a column of the row, or a key.
fn lacks(view: &View, output: &Output, request: &Request) -> bool {
    let Mode::Lookup(given) = &request.mode else { return false };
    let keys = output.features.iter().flat_map(|&feature| {
        let (lookup, _) = view.feature(feature).unwrap();
        &view.lookups[lookup].keys
    });
    output.row_columns.iter().chain(keys).any(|column| !given[0].contains(column))
}
