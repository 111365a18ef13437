//! What the doctor says, for people: the facts side by side, then what is wrong, the worst first.

use crate::cli::table::Table;
use crate::doctor::{Facts, Finding, Probe, ServerFacts, Severity, StoreFacts};
use std::collections::BTreeSet;

/// What is not known.
const UNKNOWN: &str = "?";

/// What there is none of.
const NONE: &str = "none";

/// Digits of a digest that are shown to people.
const SHORT_HEX: usize = 16;

type Fact = (&'static str, fn(&Facts) -> String);

/// The rows of the table.
const FACTS: &[Fact] = &[
    ("definitions", |it| digest(it.definitions.files.as_deref())),
    ("  served", |it| digest(it.definitions.served.as_deref())),
    ("store", |it| of_store(it, |store| Some(store.place.clone()))),
    ("  servers", |it| of_store(it, software)),
    ("  when full", |it| policy(it, |server| Some(server.eviction.clone()))),
    ("  outlasts a restart", |it| policy(it, |server| server.persistence.clone())),
    ("  replicas", |it| policy(it, |server| server.replicas.map(|n| n.to_string()))),
    ("  needed to write", |it| policy(it, |server| server.min_replicas.map(|n| n.to_string()))),
    ("  clock", |it| policy(it, |server| server.clock_ms.map(|ms| format!("{ms:+.1} ms")))),
    ("  not vouched for", |it| of_store(it, lacking)),
    ("  a look-up", |it| of_store(it, |store| store.retrieval.as_ref().map(took))),
    ("fresh", |it| of_store(it, |_| it.fresh_seconds.map(|s| format!("{s:.1} s ago")))),
    ("max_staleness", |it| known(it, format!("{} s", it.max_staleness_seconds))),
    ("sources", sources),
    ("database", |it| {
        let place = it.database.as_ref().map(|database| database.place.clone());
        known(it, place.unwrap_or_else(|| NONE.into()))
    }),
    ("  a miss", |it| match &it.database {
        None => String::new(),
        Some(database) => database.miss.as_ref().map_or(UNKNOWN.into(), took),
    }),
    ("listen", |it| {
        let token = if it.token { "with a token" } else { "no token" };
        let insecure = if it.insecure { ", insecure" } else { "" };
        known(it, format!("{}, {token}{insecure}", it.listen))
    }),
];

pub(super) fn text(all: &[Facts], found: &[Finding]) -> String {
    let heads: Vec<String> = all.iter().map(|facts| format!("<{}", facts.environment)).collect();
    let heads: Vec<&str> =
        ["<environment"].into_iter().chain(heads.iter().map(|it| it.as_str())).collect();
    let mut table = Table::new(&heads);
    for (name, of) in FACTS {
        let row: Vec<String> = [(*name).to_owned()].into_iter().chain(all.iter().map(of)).collect();
        // What none has need not be said.
        if row[1..].iter().any(|cell| !cell.is_empty()) {
            table.row(row);
        }
    }
    let outdented = |line: &String| line.strip_prefix("  ").unwrap_or(line).to_owned();
    let mut lines: Vec<String> = table.lines().iter().map(outdented).collect();
    for finding in found.iter().filter(|finding| finding.severity != Severity::Note) {
        let word = if finding.severity == Severity::Error { "ERROR" } else { "warning" };
        let Finding { name, environments, what, consequence, remedy, .. } = finding;
        lines.push(String::new());
        lines.push(format!("{word}  {name} ({})", environments.join(", ")));
        lines.push(format!("  {what}"));
        lines.push(format!("  so: {consequence}"));
        lines.push(format!("  do: {remedy}"));
    }
    lines.push(String::new());
    let notes = found.iter().filter(|finding| finding.severity == Severity::Note);
    lines.extend(notes.map(|note| format!("note: {}", note.what)));
    lines.push(summary(found));
    lines.join("\n") + "\n"
}

fn summary(found: &[Finding]) -> String {
    let count = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let said = |n: usize, what: &str| match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    format!(
        "{}, {}",
        said(count(Severity::Error), "error"),
        said(count(Severity::Warning), "warning")
    )
}

fn known(facts: &Facts, said: String) -> String {
    // Of settings that could not be read nothing is known; what only lacks a store has the rest.
    match facts.refused.is_some() && facts.listen.is_empty() {
        true => UNKNOWN.into(),
        false => said,
    }
}

fn digest(digest: Option<&str>) -> String {
    digest.map_or(UNKNOWN.into(), |digest| digest.get(..SHORT_HEX).unwrap_or(digest).into())
}

fn of_store(facts: &Facts, of: impl Fn(&StoreFacts) -> Option<String>) -> String {
    match &facts.store {
        Some(store) => of(store).unwrap_or_else(|| UNKNOWN.into()),
        None if facts.without_store => NONE.to_uppercase(),
        None => UNKNOWN.into(),
    }
}

fn software(store: &StoreFacts) -> Option<String> {
    let shape = store.shape.as_ref()?;
    Some(match store.software.is_empty() {
        true => shape.clone(),
        false => format!("{}, {shape}", store.software.join(", ")),
    })
}

fn lacking(store: &StoreFacts) -> Option<String> {
    match &store.lack {
        Some(lack) => Some(lack.of.to_uppercase()),
        None => store.shape.as_ref().map(|_| "nothing".to_owned()),
    }
}

/// What servers say, each once; nothing of a store that has none.
fn policy(facts: &Facts, of: impl Fn(&ServerFacts) -> Option<String>) -> String {
    let Some(store) = &facts.store else { return String::new() };
    let each = store.servers.iter().map(|server| of(server).unwrap_or_else(|| UNKNOWN.into()));
    each.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn sources(facts: &Facts) -> String {
    let each = facts.streams.iter().map(|stream| {
        let lag = stream.lag_events.map_or(String::new(), |lag| format!(" (lag {lag})"));
        format!("{} from {}{lag}", stream.stream, stream.source)
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { UNKNOWN.into() } else { each.join(", ") }
}

fn took(probe: &Probe) -> String {
    match probe.p50_ms.zip(probe.p99_ms) {
        Some((p50, p99)) => {
            format!("{p50:.2} ms (p50), {p99:.2} ms (p99) of {}", probe.timed)
        }
        None => format!("none of {} answered", probe.asks),
    }
}
