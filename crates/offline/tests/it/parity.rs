//! Training against the path that serves: for every row, the records of the events that it knows
//! are read by `trueup_core::read`, as a server would; all cells must be equal, bit for bit.

use crate::support::{definitions, stream};
use arrow::array::{Array, ArrayRef, RecordBatch};
use trueup_core::testing::Dice;
use trueup_core::{
    Event, Id, IdKind, Instant, Key, Limits, Micros, Plan, Position, Stored, Unknown, Value, read,
    record,
};
use trueup_offline::{History, Options, RequestRows, train};
use trueup_sql::bridge::{array_of, value_at};
use trueup_sql::decode::Decoder;
use trueup_sql::{Definitions, GroupDef, View};

const SEEDS: u64 = 1_500;

const SQL: &str = "
CREATE TABLE t (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, known TIMESTAMP, u BIGINT, v BIGINT,
  d DECIMAL(10,2), x DOUBLE, s VARCHAR, ok BOOLEAN
) WITH (event_time = 'at', known_at = 'known', lateness = '9000 days', future = '9000 days',
        reorder = '9000 days');
CREATE TABLE logins (
  id VARCHAR PRIMARY KEY, at TIMESTAMP NOT NULL, known TIMESTAMP, u BIGINT, s VARCHAR
) WITH (event_time = 'at', known_at = 'known', lateness = '9000 days', future = '9000 days',
        reorder = '9000 days');
CREATE VIEW wide AS SELECT id,
  count(*) OVER hour AS n, count(d) FILTER (WHERE ok) OVER hour AS c, sum(d) OVER hour AS sd,
  avg(x) OVER hour AS ax, stddev_samp(x) OVER hour AS sx, min(s) OVER hour AS ls,
  max(x) FILTER (WHERE ok) OVER hour AS gx, count(DISTINCT s) OVER hour AS ds,
  first_value(s) OVER hour AS fs, last_value(d) OVER delayed AS ld, min(d) OVER delayed AS md,
  bool_and(ok) OVER hour AS ba, approx_percentile_cont(x, 0.5) OVER hour AS px,
  sum(x) OVER ever AS ex, max(d) OVER ever AS ed, approx_distinct(s) OVER ever AS ea,
  first_value(x) OVER ever AS ef,
  count(*) OVER bins AS bn, sum(x) OVER bins AS bs, max(s) OVER bins AS bm,
  approx_distinct(s) OVER bins AS bd, approx_percentile_cont(x, 0.9) OVER bins AS bp,
  sum(d) OVER last3 AS rs, array_agg(s) OVER last3 AS ra, max(x) OVER before AS rb,
  lag(d, 2) OVER hour AS lg,
  (SELECT count(*) FROM logins l WHERE l.u = t.u AND l.at BETWEEN t.at - INTERVAL '1 hour' AND t.at)
    AS logins,
  (SELECT max(l.s) FROM logins l WHERE l.u = t.u AND l.at <= t.at) AS device,
  (SELECT count(*) FROM t o WHERE o.u = t.v AND o.at BETWEEN t.at - INTERVAL '1 hour' AND t.at)
    AS other
FROM t
WINDOW
  hour AS (PARTITION BY u ORDER BY at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  delayed AS (PARTITION BY u ORDER BY at
    RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND INTERVAL '10 minutes' PRECEDING),
  ever AS (PARTITION BY u ORDER BY at RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
  bins AS (PARTITION BY u ORDER BY date_bin(INTERVAL '10 minutes', at)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  last3 AS (PARTITION BY u ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY u, ok ORDER BY at ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING);
CREATE VIEW narrow AS SELECT id, sum(d) OVER w AS s, last_value(s) OVER w AS l FROM t WHERE ok
WINDOW w AS (PARTITION BY v ORDER BY at RANGE BETWEEN INTERVAL '30 minutes' PRECEDING
             AND INTERVAL '0.000001 seconds' PRECEDING);";

/// How events became known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    InOrder,
    Jittered,
    Anyhow,
}

fn stamp(minute: u64) -> String {
    format!("\"2026-03-02T{:02}:{:02}:00Z\"", minute / 60, minute % 60)
}

fn any(dice: &mut Dice, of: &[&str]) -> String {
    (*dice.pick(of)).to_string()
}

/// An event's columns after `id`, `at` and `known`.
fn content(dice: &mut Dice) -> String {
    let small = ["0", "1", "1", "2", "null"];
    format!(
        r#""u":{},"v":{},"d":{},"x":{},"s":{},"ok":{}"#,
        any(dice, &small),
        any(dice, &small),
        any(dice, &["1.25", "-3", "0.1", "100", "null"]),
        any(dice, &["0.1", "0.2", "-1e15", "3", "1e-9", "null"]),
        any(dice, &[r#""a""#, r#""b""#, r#""""#, "null"]),
        any(dice, &["true", "true", "false", "null"]),
    )
}

fn known(dice: &mut Dice, arrival: Arrival, at: u64) -> u64 {
    match arrival {
        Arrival::InOrder => at,
        Arrival::Jittered => at + if dice.one_in(3) { dice.below(20) } else { 0 },
        Arrival::Anyhow => dice.below(400),
    }
}

fn events(dice: &mut Dice, arrival: Arrival, repeats: bool) -> Vec<String> {
    let n = 1 + dice.below(40);
    let mut out: Vec<String> = Vec::new();
    let mut minute = 0;
    for id in 0..n {
        minute += dice.below(12);
        let at = if arrival == Arrival::Anyhow { dice.below(240) } else { minute };
        let id = if repeats && dice.one_in(5) { dice.below(n) } else { id };
        let known = known(dice, arrival, at);
        if repeats && !out.is_empty() && dice.one_in(8) {
            let again = dice.pick(&out).clone();
            out.push(again);
            continue;
        }
        let content = content(dice);
        let (at, known) = (stamp(at), stamp(known));
        out.push(format!(r#"{{"id":{id},"at":{at},"known":{known},{content}}}"#));
    }
    out
}

fn logins(dice: &mut Dice, arrival: Arrival) -> Vec<String> {
    let n = dice.below(15);
    let login = |id| {
        let at = dice.below(240);
        let (known, at) = (stamp(known(dice, arrival, at)), stamp(at));
        let (u, s) = (any(dice, &["0", "1", "2", "null"]), any(dice, &[r#""p""#, r#""q""#]));
        format!(r#"{{"id":"l{id}","at":{at},"known":{known},"u":{u},"s":{s}}}"#)
    };
    (0..n).map(login).collect()
}

/// All rows of a stream with when each was known.
struct Side {
    batch: RecordBatch,
    known: Vec<i64>,
}

impl Side {
    fn of(definitions: &Definitions, name: &str, rows: &[String]) -> Side {
        let batch = Decoder::new(stream(definitions, name)).json_rows(rows).unwrap().batch;
        let known = (0..batch.num_rows()).map(|row| time(batch.column(2), row)).collect();
        Side { batch, known }
    }

    fn history(&self, definitions: &Definitions, name: &str) -> History {
        let stream = stream(definitions, name);
        let mut history = History::new(stream.clone());
        let decoded = Decoder::new(stream).arrow(&self.batch).unwrap();
        history.push(name, 0, decoded, None).unwrap();
        history
    }
}

fn time(array: &ArrayRef, row: usize) -> i64 {
    match value_at(array, row) {
        Value::Time(us) => us,
        other => panic!("{other:?}"),
    }
}

fn key_at(batch: &RecordBatch, columns: &[usize], row: usize) -> Key {
    let values: Vec<Value> = columns.iter().map(|&c| value_at(batch.column(c), row)).collect();
    Key::of(&values)
}

fn id_of(value: &Value, kind: IdKind) -> Id {
    match value {
        Value::Int(id) => Id::Int(*id),
        Value::Text(text) => Id::of_text(kind, text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The event of a group at a row, if the group's filter lets it in.
fn event_at(group: &GroupDef, batch: &RecordBatch, row: usize) -> Option<Event> {
    let one = batch.slice(row, 1);
    if group.filter.as_ref().is_some_and(|f| !f.is_true(&one).unwrap().value(0)) {
        return None;
    }
    let slots = group.slots.iter().map(|slot| value_at(&slot.evaluate(&one).unwrap(), 0));
    let id = id_of(&value_at(one.column(0), 0), group.core.id);
    Some(Event { time: time(one.column(1), 0), id, slots: slots.collect() })
}

/// A group as a store has it: of each event of its stream the key, and the record if the group's
/// filter lets it in.
struct Kept {
    plan: Plan,
    records: Vec<(Key, Vec<u8>)>,
}

impl Kept {
    fn of(group: &GroupDef, sides: &[Side]) -> Kept {
        let batch = &sides[group.stream].batch;
        let of_event = |event: usize| {
            let (key, mut bytes) = (key_at(batch, &group.keys, event), Vec::new());
            let position = Position { source: 1, partition: 0, offset: event as u64 };
            if let Some(it) = event_at(group, batch, event) {
                record(key.bytes(), &it, Some(position), &mut bytes);
            }
            (key, bytes)
        };
        let records = (0..batch.num_rows()).map(of_event).collect();
        Kept { plan: Plan::new(group.core.clone()), records }
    }
}

/// What a server says to a row that knows the events known at `as_of`.
fn served(
    definitions: &Definitions,
    view: &View,
    (sides, kept): (&[Side], &[Kept]),
    rows: &RecordBatch,
    row: usize,
    as_of: i64,
) -> Vec<Result<Value, Unknown>> {
    let mut columns: Vec<ArrayRef> = rows.slice(row, 1).columns().to_vec();
    let mut unknown = Vec::new();
    for (number, lookup) in view.lookups.iter().enumerate() {
        let group = &definitions.groups[lookup.group];
        let (side, kept) = (&sides[group.stream], &kept[lookup.group]);
        let key = key_at(rows, &lookup.keys, row);
        let null = lookup.keys.iter().any(|&c| rows.column(c).is_null(row)) && !lookup.null_matches;
        let mut tail = Vec::new();
        for (event, (of, bytes)) in kept.records.iter().enumerate() {
            if side.known[event] <= as_of && !null && *of == key {
                tail.extend_from_slice(bytes);
            }
        }
        let own = group.stream == view.stream && !null && key_at(rows, &group.keys, row) == key;
        let own = if own { event_at(group, rows, row) } else { None };
        let at = Micros(time(rows.column(1), row));
        let instant = Instant { at, own: own.as_ref(), complete_from: Micros(i64::MIN) };
        let stored = Stored { base: None, tail: &tail };
        let wanted = &lookup.aggregates;
        let answers =
            read(&kept.plan, key.bytes(), stored, instant, wanted, &Limits::default()).unwrap();
        for (ty, answer) in view.types_of(number).iter().zip(answers) {
            unknown.push(answer.value.as_ref().err().copied());
            columns.push(array_of(ty, &[answer.value.unwrap_or(Value::Null)]));
        }
    }
    let wide = RecordBatch::try_new(view.row_schema.clone(), columns).unwrap();
    let outputs = view.outputs.iter().map(|output| {
        match output.features.iter().find_map(|&feature| unknown[feature]) {
            Some(why) => Err(why),
            None => Ok(value_at(&output.expr.evaluate(&wide).unwrap(), 0)),
        }
    });
    outputs.collect()
}

/// Compares the training sets of all views with what is served; says how many cells were compared.
fn compare(
    definitions: &Definitions,
    sides: &[Side],
    rows: Option<(&RecordBatch, &[i64])>,
    place: &str,
) -> usize {
    let histories = [sides[0].history(definitions, "t"), sides[1].history(definitions, "logins")];
    let request = rows.map(|(batch, as_of)| {
        let mut request = RequestRows::new();
        request.push(&definitions.streams[0], batch.clone(), Some(as_of)).unwrap();
        request
    });
    let options = Options { rows: request.as_ref(), ..Options::default() };
    let (batch, as_of) = rows.unwrap_or((&sides[0].batch, &sides[0].known[..]));
    let winners = winners(&sides[0]);
    let kept: Vec<Kept> = definitions.groups.iter().map(|group| Kept::of(group, sides)).collect();
    let mut compared = 0;
    for view in &definitions.views {
        let name = &view.name;
        let table = train(definitions, name, &histories, &options).unwrap().table().unwrap();
        let mut next = 0;
        for row in 0..batch.num_rows() {
            let one = batch.slice(row, 1);
            let is_in = view.filter.as_ref().is_none_or(|f| f.is_true(&one).unwrap().value(0));
            if !is_in || (rows.is_none() && !winners[row]) {
                continue;
            }
            let served = served(definitions, view, (sides, &kept), batch, row, as_of[row]);
            for (column, expected) in served.into_iter().enumerate() {
                let unknown = table.unknown.iter().any(|c| c.row == next && c.column == column);
                let found = match unknown {
                    true => Err(Unknown::Overflow),
                    false => Ok(value_at(table.columns.column(column), next)),
                };
                let output = &view.outputs[column].name;
                assert_eq!(found, expected, "{place}: row {row}, {output} of {name}");
            }
            next += 1;
        }
        assert_eq!(next, table.columns.num_rows(), "{place}");
        compared += next * view.outputs.len();
    }
    compared
}

/// Of the rows with one id, the one that sorts last by time and columns; of equal ones the one
/// known first: written here anew, for the rule of the crate.
fn winners(side: &Side) -> Vec<bool> {
    let cell = |row: usize, column: usize| value_at(side.batch.column(column), row);
    let order = |row: usize| {
        [1, 3, 4, 5, 6, 7, 8].map(|column| match cell(row, column) {
            Value::Null => (0, 0.0, String::new()),
            Value::Text(text) => (1, 0.0, text.to_string()),
            Value::Bool(x) => (1, f64::from(u8::from(x)), String::new()),
            Value::Int(x) | Value::Time(x) => (1, x as f64, String::new()),
            Value::Decimal(x) => (1, x as f64, String::new()),
            Value::Float(x) => (1, x, String::new()),
            other => panic!("{other:?}"),
        })
    };
    let beats = |a: usize, b: usize| {
        let by_content = order(a).partial_cmp(&order(b)).unwrap();
        by_content.then(side.known[b].cmp(&side.known[a])).then(b.cmp(&a)).is_gt()
    };
    let rows = 0..side.batch.num_rows();
    let loses = |row| rows.clone().any(|o| o != row && cell(o, 0) == cell(row, 0) && beats(o, row));
    rows.clone().map(|row| !loses(row)).collect()
}

#[test]
fn training_rows_are_what_is_served_whatever_was_known_when() {
    let definitions = definitions(&[SQL]);
    let mut compared = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let arrival = *dice.pick(&[Arrival::InOrder, Arrival::Jittered, Arrival::Anyhow]);
        let repeats = dice.one_in(2);
        let rows = events(&mut dice, arrival, repeats);
        let sides = [
            Side::of(&definitions, "t", &rows),
            Side::of(&definitions, "logins", &logins(&mut dice, arrival)),
        ];
        let place = format!("seed {seed}, {arrival:?}, repeats {repeats}");
        compared += compare(&definitions, &sides, None, &place);
    }
    println!("{compared} cells of {SEEDS} histories equal what is served");
    assert!(compared > 500_000);
}

#[test]
fn request_rows_are_what_is_served_with_or_without_an_event_of_their_own() {
    let definitions = definitions(&[SQL]);
    let mut compared = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed ^ 0xa5c3);
        let arrival = *dice.pick(&[Arrival::InOrder, Arrival::Jittered, Arrival::Anyhow]);
        let repeats = dice.one_in(2);
        let rows = events(&mut dice, arrival, repeats);
        let sides = [
            Side::of(&definitions, "t", &rows),
            Side::of(&definitions, "logins", &logins(&mut dice, arrival)),
        ];
        let asked: Vec<String> = (0..1 + dice.below(12))
            .map(|_| match dice.one_in(3) {
                true => dice.pick(&rows).clone(),
                false => {
                    let (id, content) = (dice.below(60), content(&mut dice));
                    let (at, known) = (stamp(dice.below(240)), stamp(dice.below(240)));
                    format!(r#"{{"id":{id},"at":{at},"known":{known},{content}}}"#)
                }
            })
            .collect();
        let asked = Side::of(&definitions, "t", &asked).batch;
        let as_of: Vec<i64> = (0..asked.num_rows())
            .map(|row| match dice.below(3) {
                0 => i64::MAX,
                1 => time(asked.column(1), row),
                _ => time(asked.column(2), row),
            })
            .collect();
        let place = format!("seed {seed}, {arrival:?}, repeats {repeats}");
        compared += compare(&definitions, &sides, Some((&asked, &as_of)), &place);
    }
    println!("{compared} cells of {SEEDS} tables of requests equal what is served");
    assert!(compared > 200_000);
}
