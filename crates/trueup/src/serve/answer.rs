//! The answer of a view for the rows of a request: look-ups, one read of the store, the select
//! list, and the status of every column.

use super::fallback::Tables;
use super::features::{FoundRow, KeyAsk, Lens, keys, stale_reason};
use super::policy::{Refused, Rules};
use super::request::Request;
use super::rest::Rests;
use super::status::{Source, Status};
use crate::catalog::Catalog;
use crate::clock::Clock;
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_core::{Receipt, Value};
use trueup_sql::{EvalError, Output, View, array_of, raw_value_at, value_at};
use trueup_store::{Append, At, Detail, Meta, Recorded, Store};

/// Answers requests; shared by all connections.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Where the state is.
    pub store: Arc<dyn Store>,
    /// Wall-clock time.
    pub clock: Clock,
    /// How far behind the pipeline may be, microseconds, before values are STALE.
    pub max_staleness_us: i64,
    /// The database that is asked for what the store does not vouch for, if there is one.
    pub tables: Option<Tables>,
    /// What views return in place of values of some status.
    pub rules: BTreeMap<String, Rules>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answered {
    /// The view's columns that were asked for, by their place in [`View::outputs`], with their
    /// types.
    pub columns: Vec<(usize, DataType)>,
    /// One for each row of the request.
    pub rows: Vec<RowAnswer>,
    /// The value for which the view's policy refuses the request, if there is one.
    pub refused: Option<Refused>,
    /// Values that the store did not vouch for, whether or not the database had them.
    pub missed: usize,
    /// How long the read of the store took.
    pub store: Duration,
    /// How long the database was waited for, if it was.
    pub fallback: Duration,
    /// How long everything else took.
    pub compute: Duration,
}

impl Answered {
    /// The values of the asked column at `place` as a column of its type.
    pub fn array(&self, place: usize) -> ArrayRef {
        array_of(&self.columns[place].1, self.rows.iter().map(|row| &row.values[place]))
    }
}

/// What there is to say of one row.
#[derive(Clone, Debug, Default)]
pub struct RowAnswer {
    /// The value of each asked column, of its type.
    pub values: Vec<Value>,
    /// For each asked column its status, and the reason where there is something to explain.
    pub statuses: Vec<(Status, Option<String>)>,
    /// Places of the asked columns whose value is the default of the view's policy.
    pub defaulted: Vec<usize>,
    /// By the names of the key's columns, where its state came from.
    pub keys: BTreeMap<String, KeyAnswer>,
    /// The look-ups that were used.
    pub lookups: Vec<LookupAnswer>,
}

/// What there is to say of one look-up of a row.
#[derive(Clone, Debug)]
pub struct LookupAnswer {
    /// Its place in [`View::lookups`].
    pub lookup: usize,
    /// Where the key's state came from; `None` for a key that is not given.
    pub source: Option<Source>,
    /// As of when it was whole, wall-clock microseconds since 1970.
    pub fresh_us: Option<i64>,
    /// What the store knew of the group.
    pub meta: Option<Arc<Meta>>,
    /// Of each aggregate that was wanted, by its place in the look-up, what its frame held; empty
    /// unless the request asks for it.
    pub receipts: Vec<(usize, Receipt)>,
}

/// Where a key's state came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAnswer {
    /// From where.
    pub source: Source,
    /// As of when it was whole, wall-clock microseconds since 1970.
    pub fresh_us: Option<i64>,
}

impl RowAnswer {
    /// The worst status of the row.
    pub fn status(&self) -> Status {
        self.statuses.iter().map(|(status, _)| *status).max().unwrap_or(Status::Present)
    }
}

/// What of a view is wanted.
struct Wanted<'a> {
    view: &'a View,
    outputs: Vec<usize>,
    /// For each look-up, the places of the aggregates that the outputs use.
    aggregates: Vec<Vec<usize>>,
    /// The features that the outputs use: a look-up, and a place in its `aggregates`.
    used: Vec<(usize, usize)>,
    /// For each output, where those of it end in `used`.
    ends: Vec<usize>,
}

impl<'a> Wanted<'a> {
    fn new(view: &'a View, outputs: Vec<usize>) -> Wanted<'a> {
        let mut aggregates = vec![Vec::new(); view.lookups.len()];
        let mut used = Vec::with_capacity(outputs.len());
        let mut ends = Vec::with_capacity(outputs.len());
        for &output in &outputs {
            for feature in &view.outputs[output].features {
                let Some((lookup, aggregate)) = view.feature(*feature) else { continue };
                let wanted: &mut Vec<usize> = &mut aggregates[lookup];
                let known = wanted.iter().position(|&known| known == aggregate);
                used.push((lookup, known.unwrap_or(wanted.len())));
                if known.is_none() {
                    wanted.push(aggregate);
                }
            }
            ends.push(used.len());
        }
        Wanted { view, outputs, aggregates, used, ends }
    }

    /// The features that the output at `place` uses.
    fn used(&self, place: usize) -> &[(usize, usize)] {
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.used[begin..self.ends[place]]
    }
}

/// Where the values of an output come from.
enum Origin<'a> {
    /// A column of the rows.
    Row(&'a ArrayRef),
    /// What a look-up found, by its number and the place of the aggregate.
    Found(usize, usize),
    /// An expression's value for every row, and why some rows have none.
    Computed(ArrayRef, Vec<(usize, EvalError)>),
    /// No expression can be evaluated on the rows.
    Unfit(&'a str),
}

impl Serving {
    /// Answers a request for the columns `outputs` of a view (places in [`View::outputs`]). The
    /// store is given until `deadline`; what it has not answered by then is UNKNOWN.
    pub async fn answer(
        &self,
        view: &View,
        outputs: Vec<usize>,
        request: &Request,
        deadline: Instant,
    ) -> Answered {
        self.answer_recording(view, outputs, request, &[], deadline).await.0
    }

    /// The same, and puts early copies of the request's events behind the values of their keys, in
    /// the step that reads these; for each copy, whether it is known to be there.
    pub async fn answer_recording(
        &self,
        view: &View,
        outputs: Vec<usize>,
        request: &Request,
        copies: &[Append<'_>],
        deadline: Instant,
    ) -> (Answered, Vec<bool>) {
        let began = Instant::now();
        let wanted = Wanted::new(view, outputs);
        let in_view = in_view(view, request);
        let asking: Vec<bool> = in_view.iter().map(is_in).collect();
        let asks: Vec<Vec<KeyAsk>> = view
            .lookups
            .iter()
            .zip(&wanted.aggregates)
            .map(|(lookup, aggregates)| match aggregates.is_empty() {
                true => vec![KeyAsk::NotGiven; request.at.len()],
                false => keys(lookup, request, &asking),
            })
            .collect();
        let (touched, places, store) =
            self.read(view, &asks, copies, request.detail, deadline).await;
        let now = self.clock.now();
        let stale_before_us = now.back(self.max_staleness_us).0;
        let lens = |(lookup, wanted)| Lens {
            catalog: &self.catalog,
            view,
            lookup,
            request,
            now_us: now.0,
            stale_before_us,
            wanted,
        };
        let aggregates = wanted.aggregates.iter().map(Vec::as_slice);
        let lenses: Vec<Lens<'_>> = view.lookups.iter().zip(aggregates).map(lens).collect();
        let mut found = find(&lenses, &asks, &touched, &places).await;
        let missed = found.iter().flatten().flat_map(|row| &row.found);
        let missed = missed.filter(|found| found.missed).count();
        let fallback = self.fill(&lenses, &asks, &mut found, deadline).await;
        self.sample(view, request, &asks, &found);
        let rows = self.assemble(&wanted, request, &in_view, &found);
        let rules = self.rules.get(&view.name);
        let refused = rules.and_then(|rules| rules.refused(view, &wanted.outputs, &rows));
        let typed = |&output: &usize| (output, view.outputs[output].ty.clone());
        let columns = wanted.outputs.iter().map(typed).collect();
        let compute = began.elapsed().saturating_sub(store + fallback);
        let appended = touched.map_or_else(|_| vec![false; copies.len()], |it| it.appended);
        (Answered { columns, rows, refused, missed, store, fallback, compute }, appended)
    }

    /// Reads all keys at one moment, and puts copies behind values then; for each look-up and row,
    /// the place of its read.
    async fn read(
        &self,
        view: &View,
        asks: &[Vec<KeyAsk>],
        copies: &[Append<'_>],
        detail: Detail,
        deadline: Instant,
    ) -> (Result<Recorded, String>, Vec<Vec<Option<usize>>>, Duration) {
        let mut ats = Vec::new();
        let mut places = Vec::with_capacity(asks.len());
        for (lookup, asks) in view.lookups.iter().zip(asks) {
            let space = self.catalog.space(lookup.group);
            let mut row_places = Vec::with_capacity(asks.len());
            for ask in asks {
                row_places.push(match ask {
                    KeyAsk::Key(key) => {
                        ats.push(At { space, key: key.bytes() });
                        Some(ats.len() - 1)
                    }
                    _ => None,
                });
            }
            places.push(row_places);
        }
        let began = Instant::now();
        if ats.is_empty() && copies.is_empty() {
            return (Ok(Recorded::default()), places, Duration::ZERO);
        }
        let touch = self.touch(&ats, copies, detail);
        let touched = match tokio::time::timeout_at(deadline.into(), touch).await {
            Ok(Ok(touched)) => Ok(touched),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the store did not answer before the deadline".to_string()),
        };
        (touched, places, began.elapsed())
    }

    /// Evaluates the select list on rows and features, and gives every column its status.
    fn assemble(
        &self,
        wanted: &Wanted<'_>,
        request: &Request,
        in_view: &[Result<bool, String>],
        found: &[Vec<FoundRow>],
    ) -> Vec<RowAnswer> {
        let view = wanted.view;
        let rules = self.rules.get(&view.name);
        let computed = wanted.outputs.iter().any(|&n| view.outputs[n].expr.as_column().is_none());
        let wide = computed.then(|| wide(wanted, request, found));
        let origins: Vec<Origin<'_>> = (0..wanted.outputs.len())
            .map(|place| origin(wanted, request, wide.as_ref(), place))
            .collect();
        let row = |(row, in_view): (usize, &Result<bool, String>)| {
            let mut answer = RowAnswer {
                values: Vec::with_capacity(origins.len()),
                statuses: Vec::with_capacity(origins.len()),
                keys: key_answers(&self.catalog, wanted, found, row),
                lookups: lookup_answers(wanted, found, row),
                ..RowAnswer::default()
            };
            for (place, (origin, &number)) in origins.iter().zip(&wanted.outputs).enumerate() {
                let output = &view.outputs[number];
                let (value, error) = origin.value(found, row);
                let lacks = lacks_row(wanted, request, place, row);
                let judged = judge(wanted, in_view, found, place, row, lacks, error);
                let (status, reason) = judged.unwrap_or(match value {
                    Value::Null => (Status::NullValue, None),
                    _ => (Status::Present, None),
                });
                let hidden = matches!(status, Status::Unknown | Status::NotInView);
                let value = match hidden || !gives_row(request, output, row) {
                    true => Value::Null,
                    false => value,
                };
                answer.statuses.push((status, reason));
                let value = match rules {
                    Some(rules) => rules.apply(number, value, &mut answer),
                    None => value,
                };
                answer.values.push(value);
            }
            answer
        };
        in_view.iter().enumerate().map(row).collect()
    }
}

impl Origin<'_> {
    /// The value for a row; NULL and the reason where an expression has none.
    fn value(&self, found: &[Vec<FoundRow>], row: usize) -> (Value, Option<String>) {
        match self {
            Origin::Row(column) => (raw_value_at(column, row), None),
            Origin::Found(lookup, at) => {
                let value = found[*lookup][row].found[*at].value.as_ref();
                (value.map_or(Value::Null, Value::clone), None)
            }
            Origin::Computed(values, failed) => {
                let failed = failed.iter().find(|(place, _)| *place == row);
                (raw_value_at(values, row), failed.map(|(_, error)| error.to_string()))
            }
            Origin::Unfit(why) => (Value::Null, Some((*why).to_owned())),
        }
    }
}

/// Where the values of the output at `place` come from; `wide` is there if any is an expression.
fn origin<'a>(
    wanted: &Wanted<'_>,
    request: &'a Request,
    wide: Option<&'a Result<RecordBatch, String>>,
    place: usize,
) -> Origin<'a> {
    let view = wanted.view;
    let output = &view.outputs[wanted.outputs[place]];
    match (output.expr.as_column(), wide) {
        (Some(column), _) if column < view.row_width() => Origin::Row(request.rows.column(column)),
        (Some(_), _) => match wanted.used(place) {
            &[(lookup, at)] => Origin::Found(lookup, at),
            _ => Origin::Unfit("the column is of no look-up"),
        },
        (None, Some(Ok(wide))) => {
            let (values, failed) = output.expr.evaluate_each(wide);
            Origin::Computed(values, failed)
        }
        (None, Some(Err(why))) => Origin::Unfit(why),
        (None, None) => Origin::Unfit("the expression was not evaluated"),
    }
}

/// What the look-ups find for all rows. Many rows take milliseconds, so it rests now and then.
async fn find(
    lenses: &[Lens<'_>],
    asks: &[Vec<KeyAsk>],
    touched: &Result<Recorded, String>,
    places: &[Vec<Option<usize>>],
) -> Vec<Vec<FoundRow>> {
    let (mut found, mut rests) = (Vec::with_capacity(lenses.len()), Rests::new());
    for (number, (lens, asks)) in lenses.iter().zip(asks).enumerate() {
        let own = lens.own_events(asks);
        let mut rows = Vec::with_capacity(asks.len());
        for (row, ask) in asks.iter().enumerate() {
            let read = match (touched, places[number][row]) {
                (Ok(touched), Some(place)) => Ok(&touched.reads[place]),
                (Ok(_), None) => Err("the key was not read"),
                (Err(why), _) => Err(why.as_str()),
            };
            rows.push(lens.answer(row, ask, own.as_ref().map(|own| &own[row]), read));
            rests.now_and_then().await;
        }
        found.push(rows);
    }
    found
}

/// The batch that expressions are evaluated on.
fn wide(
    wanted: &Wanted<'_>,
    request: &Request,
    found: &[Vec<FoundRow>],
) -> Result<RecordBatch, String> {
    let view = wanted.view;
    let columns = 0..view.row_schema.fields().len();
    let columns = columns.map(|column| column_of(wanted, request, found, column)).collect();
    let schema = match request.is_lookup() {
        false => &view.row_schema,
        true => &view.loose_schema,
    };
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| format!("the row does not fit the view: {error}"))
}

/// A column of [`View::row_schema`]; NULLs for a feature that is not wanted or not known.
fn column_of(
    wanted: &Wanted<'_>,
    request: &Request,
    found: &[Vec<FoundRow>],
    column: usize,
) -> ArrayRef {
    let view = wanted.view;
    let Some(feature) = column.checked_sub(view.row_width()) else {
        return Arc::clone(request.rows.column(column));
    };
    let at = view.feature(feature).and_then(|(lookup, place)| {
        let at = wanted.aggregates[lookup].iter().position(|&wanted| wanted == place)?;
        Some((&found[lookup], at))
    });
    let ty = view.row_schema.field(column).data_type();
    let Some((rows, at)) = at else { return new_null_array(ty, request.at.len()) };
    array_of(ty, rows.iter().map(|row| row.found[at].value.as_ref().unwrap_or(&Value::Null)))
}

fn is_in(in_view: &Result<bool, String>) -> bool {
    *in_view == Ok(true)
}

/// Which rows the view's WHERE keeps, or why that cannot be told; a look-up has no row to leave
/// out.
fn in_view(view: &View, request: &Request) -> Vec<Result<bool, String>> {
    let rows = request.at.len();
    let Some(filter) = view.filter.as_ref().filter(|_| !request.is_lookup()) else {
        return vec![Ok(true); rows];
    };
    let (passes, failed) = filter.evaluate_each(&request.rows);
    let pass = |row: usize| match failed.iter().find(|(place, _)| *place == row) {
        Some((_, error)) => Err(error.to_string()),
        None => Ok(value_at(&passes, row) == Value::Bool(true)),
    };
    (0..rows).map(pass).collect()
}

/// The status of an output for a row, which may lack what the output needs; `None` leaves it to
/// the value.
fn judge(
    wanted: &Wanted<'_>,
    in_view: &Result<bool, String>,
    found: &[Vec<FoundRow>],
    place: usize,
    row: usize,
    lacks: bool,
    error: Option<String>,
) -> Option<(Status, Option<String>)> {
    match in_view {
        Ok(false) => return Some((Status::NotInView, None)),
        Err(why) => return Some((Status::Unknown, Some(why.clone()))),
        Ok(true) => {}
    }
    if lacks {
        let reason = "a look-up has no row, and gives no such key".to_string();
        return Some((Status::NullValue, Some(reason)));
    }
    let used = wanted.used(place).iter();
    let used = used.map(|&(lookup, at)| (&found[lookup][row].found[at], &found[lookup][row]));
    let unknown = used.clone().find_map(|(found, _)| found.value.as_ref().err());
    if let Some(why) = unknown.cloned().or(error) {
        return Some((Status::Unknown, Some(why)));
    }
    if let Some((_, from)) = used.clone().find(|(found, _)| found.stale) {
        return Some((Status::Stale, from.fresh_us.map(stale_reason)));
    }
    let empty = used.len() > 0 && used.clone().all(|(found, _)| found.empty);
    empty.then_some((Status::NotFound, None))
}

/// Whether a look-up gives too little for the output at `place`: it needs the row, or a key that is
/// not given.
fn lacks_row(wanted: &Wanted<'_>, request: &Request, place: usize, row: usize) -> bool {
    let keys = wanted.used(place).iter();
    let mut keys = keys.flat_map(|&(lookup, _)| &wanted.view.lookups[lookup].keys);
    let output = &wanted.view.outputs[wanted.outputs[place]];
    request.is_lookup()
        && !(gives_row(request, output, row) && keys.all(|&column| request.gives(row, column)))
}

/// Whether a request gives all columns of the row that an output needs.
fn gives_row(request: &Request, output: &Output, row: usize) -> bool {
    output.row_columns.iter().all(|&column| request.gives(row, column))
}

/// The look-ups of a row that are used.
fn lookup_answers(wanted: &Wanted<'_>, found: &[Vec<FoundRow>], row: usize) -> Vec<LookupAnswer> {
    let used = found.iter().enumerate().zip(&wanted.aggregates);
    let used = used.filter(|(_, aggregates)| !aggregates.is_empty());
    used.map(|((lookup, rows), aggregates)| rows[row].answer(lookup, aggregates)).collect()
}

fn key_answers(
    catalog: &Catalog,
    wanted: &Wanted<'_>,
    found: &[Vec<FoundRow>],
    row: usize,
) -> BTreeMap<String, KeyAnswer> {
    let mut answers: BTreeMap<String, KeyAnswer> = BTreeMap::new();
    let columns = &catalog.streams()[wanted.view.stream].stream.columns;
    for (number, lookup) in wanted.view.lookups.iter().enumerate() {
        if wanted.aggregates[number].is_empty() {
            continue;
        }
        let names: Vec<&str> = lookup.keys.iter().map(|&c| columns[c].name.as_str()).collect();
        let found = &found[number][row];
        let Some(source) = found.source else { continue };
        let answer = KeyAnswer { source, fresh_us: found.fresh_us };
        let held = answers.entry(names.join(",")).or_insert(answer);
        held.source = held.source.max(answer.source);
        held.fresh_us = match (held.fresh_us, answer.fresh_us) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    answers
}
