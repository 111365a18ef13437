//! A case as data: its definitions, events, requests, and what must come out.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use trueup::catalog::Catalog;
use trueup_core::Value;
use trueup_sql::decode::Cell;
use trueup_sql::decode::print::Double;
use trueup_sql::{SourceFile, compile};

/// A case, compiled.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) events: Vec<LoggedEvent>,
    pub(crate) requests: Vec<Asked>,
    pub(crate) dead: Vec<DeadEvent>,
}

/// An event with the time at which the log takes it, microseconds since 1970.
pub(crate) struct LoggedEvent {
    pub(crate) stream: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) log_us: i64,
}

/// A request and its answer.
pub(crate) struct Asked {
    pub(crate) view: String,
    pub(crate) ask: Ask,
    pub(crate) expected: Expected,
}

/// What is asked, as JSON.
pub(crate) enum Ask {
    Row(Vec<u8>),
    Keys { keys: Vec<u8>, at: String },
}

/// Names and values as JSON text, in the view's order; the statuses that are not PRESENT.
pub(crate) struct Expected {
    pub(crate) features: Vec<(String, String)>,
    pub(crate) statuses: BTreeMap<String, String>,
}

/// An event that must be refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadEvent {
    pub(crate) index: usize,
    pub(crate) column: Option<String>,
    pub(crate) reason_contains: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    stream: String,
    #[serde(borrow)]
    event: &'a RawValue,
    log_time: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestLine<'a> {
    view: String,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    at: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedLine {
    features: Members,
    statuses: BTreeMap<String, String>,
}

/// The members of a JSON object in their order, values as text.
pub(crate) struct Members(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, value.get().to_string()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The one spelling of a JSON value: no spaces, doubles as [`Double`] prints them, texts escaped
/// only where they must be. What Trueup answers must be spelled so.
pub(crate) fn canonical(text: &str) -> String {
    match text.as_bytes()[0] {
        b'[' => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
            let items: Vec<String> = items.iter().map(|item| canonical(item.get())).collect();
            format!("[{}]", items.join(","))
        }
        b'"' => serde_json::to_string(&serde_json::from_str::<String>(text).unwrap()).unwrap(),
        b'-' | b'0'..=b'9' if text.contains(['.', 'e', 'E']) => {
            Double(text.parse().unwrap()).to_string()
        }
        _ => text.to_string(),
    }
}

/// All cases, or the one that `TRUEUP_CASE` names; read once a process.
pub(crate) fn all() -> &'static [Case] {
    static ALL: OnceLock<Vec<Case>> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        let named = std::env::var("TRUEUP_CASE").ok();
        let is_named = |case: &PathBuf| named.as_ref().is_none_or(|name| case.ends_with(name));
        let cases: Vec<Case> =
            folders.iter().filter(|case| is_named(case)).map(|c| read(c)).collect();
        assert!(!cases.is_empty(), "no case {named:?} in {}", folder.display());
        cases
    })
}

fn read(folder: &Path) -> Case {
    let name = folder.file_name().unwrap().to_str().unwrap().to_string();
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let source = SourceFile { name: "definition.sql".into(), text: text("definition.sql") };
    let definitions = compile(&[source]).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    let catalog = Catalog::new(definitions);
    let events = lines(&text("events.jsonl")).map(|line| event(&name, &catalog, line)).collect();
    let (asked, answers) = (text("requests.jsonl"), text("expected.jsonl"));
    assert_eq!(lines(&asked).count(), lines(&answers).count(), "{name}: requests and answers");
    let requests = lines(&asked).zip(lines(&answers)).map(|(a, b)| request(&name, a, b)).collect();
    let dead = text("dead_letters.jsonl");
    let dead = lines(&dead).map(|line| serde_json::from_str(line).unwrap()).collect();
    Case { name, catalog: Arc::new(catalog), events, requests, dead }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

fn event(case: &str, catalog: &Catalog, line: &str) -> LoggedEvent {
    let line: EventLine<'_> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{case}: {e}"));
    let stream = catalog.streams().iter().position(|part| part.stream.name == line.stream);
    let stream = stream.unwrap_or_else(|| panic!("{case}: no stream {}", line.stream));
    let part = &catalog.streams()[stream];
    let bytes = line.event.get().as_bytes().to_vec();
    let given = line.log_time.map(|time| instant(catalog, stream, &time));
    // An event without a time of its own is bad whenever it comes.
    let log_us = given.unwrap_or_else(|| {
        let decoded = part.decoder.json_rows(&[&bytes]).unwrap().batch;
        let times = decoded.column(part.stream.event_time);
        match trueup_sql::value_at(times, 0) {
            Value::Time(us) => us,
            _ => 0,
        }
    });
    LoggedEvent { stream, bytes, log_us }
}

/// A time as the stream's events spell it, microseconds since 1970.
pub(crate) fn instant(catalog: &Catalog, stream: usize, text: &str) -> i64 {
    let part = &catalog.streams()[stream];
    match part.decoder.value(part.stream.event_time, Cell::Text(text)) {
        Ok(Value::Time(us)) => us,
        other => panic!("{text} is no time: {other:?}"),
    }
}

fn request(case: &str, asked: &str, answer: &str) -> Asked {
    let asked: RequestLine<'_> =
        serde_json::from_str(asked).unwrap_or_else(|e| panic!("{case}: {e}"));
    let answer: ExpectedLine =
        serde_json::from_str(answer).unwrap_or_else(|e| panic!("{case}: {e}"));
    let ask = match (asked.row, asked.keys, asked.at) {
        (Some(row), None, None) => Ask::Row(row.get().as_bytes().to_vec()),
        (None, Some(keys), Some(at)) => Ask::Keys { keys: keys.get().as_bytes().to_vec(), at },
        _ => panic!("{case}: a request has a row, or keys and at"),
    };
    let Members(features) = answer.features;
    let features = features.into_iter().map(|(name, value)| (name, canonical(&value))).collect();
    Asked { view: asked.view, ask, expected: Expected { features, statuses: answer.statuses } }
}
