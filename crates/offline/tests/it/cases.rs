//! The golden cases as training sets: each request is a row that asks over the case's events.

use crate::support::{definitions, us};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use trueup_core::{Kind, Value};
use trueup_offline::{History, Options, RequestRows, train};
use trueup_sql::bridge::{kind_of, value_at};
use trueup_sql::decode::Decoder;
use trueup_sql::decode::print::{Date, Decimal, Timestamp};
use trueup_sql::{Definitions, Stream};

/// A log's time where a case names none: after every event.
const LONG_AFTER_US: i64 = i64::MAX / 2;

#[derive(Debug, Default)]
struct Counted {
    cases: usize,
    requests: usize,
    look_ups: usize,
    equal: usize,
    unknown_alike: usize,
    known_here_alone: usize,
    differ: Vec<String>,
}

#[test]
fn golden_cases_come_out_of_training_as_they_are_served() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|path| path.join("definition.sql").exists());
    cases.sort();
    let mut counted = Counted::default();
    for case in &cases {
        run(case, &mut counted);
        counted.cases += 1;
    }
    println!("{counted:?}");
    assert!(counted.differ.is_empty(), "{}", counted.differ.join("\n"));
    assert!(counted.cases >= 80 && counted.equal >= 500, "{counted:?}");
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

fn run(case: &Path, counted: &mut Counted) {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let definitions = definitions(&[&fs::read_to_string(case.join("definition.sql")).unwrap()]);
    let events = fs::read_to_string(case.join("events.jsonl")).unwrap_or_default();
    let histories: Vec<History> =
        definitions.streams.iter().map(|stream| history(stream, &events)).collect();
    let dead: u64 = histories.iter().map(|history| history.dead_letters().total()).sum();
    let refused = fs::read_to_string(case.join("dead_letters.jsonl")).unwrap_or_default();
    let refused = lines(&refused).count() as u64;
    assert!(dead <= refused, "{name}: {dead} dead letters, {refused} expected");
    let expected = fs::read_to_string(case.join("expected.jsonl")).unwrap();
    let requests = fs::read_to_string(case.join("requests.jsonl")).unwrap();
    for (request, expected) in lines(&requests).zip(lines(&expected)) {
        let place = format!("{name}: {request}");
        let parts = fields(request);
        let Some(row) = parts.get("row") else {
            counted.look_ups += 1;
            continue;
        };
        counted.requests += 1;
        let view: String = serde_json::from_str(parts["view"].get()).unwrap();
        answer(&definitions, &view, &histories, row.get(), expected, &place, counted);
    }
}

/// The fields of an object as their text, so that numbers keep their digits.
fn fields(object: &str) -> HashMap<String, Box<RawValue>> {
    serde_json::from_str(object).unwrap()
}

fn history(stream: &Arc<Stream>, events: &str) -> History {
    let decoder = Decoder::new(stream.clone());
    let (mut rows, mut times) = (Vec::new(), Vec::new());
    for line in events.lines().filter(|line| !line.trim().is_empty()) {
        let parts = fields(line);
        if parts["stream"].get().trim_matches('"') != stream.name {
            continue;
        }
        rows.push(parts["event"].get().to_string());
        let time = parts.get("log_time").map(|time| us(time.get().trim_matches('"')));
        times.push(time.unwrap_or(LONG_AFTER_US));
    }
    let mut history = History::new(stream.clone());
    history.push("events.jsonl", 0, decoder.json_rows(&rows).unwrap(), Some(&times)).unwrap();
    history
}

fn answer(
    definitions: &Definitions,
    view: &str,
    histories: &[History],
    row: &str,
    expected: &str,
    place: &str,
    counted: &mut Counted,
) {
    let stream = &definitions.streams[definitions.view(view).unwrap().stream];
    let decoded = Decoder::new(stream.clone()).json_rows(&[row]).unwrap();
    let mut rows = RequestRows::new();
    let all_known = vec![i64::MAX; decoded.batch.num_rows()];
    if let Some(bad) = decoded.bad.first() {
        panic!("{place}: {bad}");
    }
    rows.push(stream, decoded.batch, Some(&all_known)).unwrap();
    let options = Options { rows: Some(&rows), ..Options::default() };
    let table = train(definitions, view, histories, &options).unwrap().table().unwrap();
    let expected = fields(expected);
    let statuses: Json = serde_json::from_str(expected["statuses"].get()).unwrap();
    if table.columns.num_rows() == 0 {
        assert!(statuses.to_string().contains("NOT_IN_VIEW"), "{place}");
        counted.equal += 1;
        return;
    }
    let features = fields(expected["features"].get());
    for (at, field) in table.columns.schema().fields().iter().enumerate() {
        let kind = kind_of(field.data_type()).unwrap();
        let found = value_at(table.columns.column(at), 0);
        let unknown = table.unknown.iter().any(|cell| cell.column == at);
        match (statuses[field.name()] == "UNKNOWN", unknown) {
            (true, true) => counted.unknown_alike += 1,
            // What a store has let go, or cannot tell apart any more, history still holds.
            (true, false) => counted.known_here_alone += 1,
            (false, _) => {
                let text = features[field.name()].get();
                match is(&found, &kind, text) {
                    true => counted.equal += 1,
                    false => {
                        let name = field.name();
                        counted.differ.push(format!("{place}: {name} is {found:?}, not {text}"));
                    }
                }
            }
        }
    }
}

/// Whether a value is what a case spells.
fn is(value: &Value, kind: &Kind, text: &str) -> bool {
    match value {
        // Rust reads doubles to the bit, which not every reader of JSON does.
        Value::Float(x) => text.parse() == Ok(*x),
        _ => spell(value, kind) == serde_json::from_str::<Json>(text).unwrap(),
    }
}

/// A value as cases spell it.
fn spell(value: &Value, kind: &Kind) -> Json {
    match (value, kind) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(x), _) => json!(x),
        (Value::Int(x), _) => json!(x),
        (Value::Float(x), _) => json!(x),
        (Value::Text(x), _) => json!(x),
        (Value::Time(x), _) => json!(Timestamp(*x).to_string()),
        (Value::Date(x), _) => json!(Date(*x).to_string()),
        (Value::Decimal(x), Kind::Decimal { scale }) => {
            json!(Decimal { value: *x, scale: *scale }.to_string())
        }
        (Value::List(items), Kind::List(kind)) => items.iter().map(|x| spell(x, kind)).collect(),
        (value, kind) => panic!("{value:?} is no {kind:?}"),
    }
}
