//! Where two environments differ, and where they are one though they should be two.

mod differences;

use super::alone::short;
use super::{Finding, Severity, ms, retrieval};
use crate::doctor::facts::{Facts, StoreFacts, StreamFacts};
use std::collections::BTreeSet;

/// How many times as long a look-up may take, and how much longer, milliseconds, before it is
/// another experience: what differs by less is the network between machines.
const TIMES: f64 = 10.0;
const LONGER_MS: f64 = 5.0;

pub(super) fn findings(first: &Facts, other: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(digests(first, other));
    found.extend(one_store(first, other));
    found.extend(one_source(first, other));
    found.extend(one_database(first, other));
    found.extend(slower(first, other));
    found.extend(differences::findings(first, other));
    found
}

fn finding(
    (first, other): (&Facts, &Facts),
    severity: Severity,
    name: &'static str,
    [what, consequence, remedy]: [String; 3],
) -> Finding {
    let environments = vec![first.environment.clone(), other.environment.clone()];
    Finding { severity, name, environments, what, consequence, remedy }
}

fn digests(first: &Facts, other: &Facts) -> Option<Finding> {
    let (one, two) = (&first.definitions, &other.definitions);
    let (ours, theirs) = one.in_effect().zip(two.in_effect())?;
    if ours == theirs {
        return None;
    }
    let names: BTreeSet<&String> = one.views.keys().chain(two.views.keys()).collect();
    let differ = names.into_iter().filter(|&name| one.views.get(name) != two.views.get(name));
    let said = |name: &String| match (one.views.get(name), two.views.get(name)) {
        (Some(_), None) => format!("{name} (only in {})", first.environment),
        (None, Some(_)) => format!("{name} (only in {})", other.environment),
        _ => name.clone(),
    };
    let views: Vec<String> = differ.map(said).collect();
    let views = match views.is_empty() {
        true => "streams alone".to_owned(),
        false => format!("views {}", views.join(", ")),
    };
    let (here, there) = (&first.environment, &other.environment);
    let texts = [
        format!(
            "definitions differ: {} in {here}, {} in {there}; {views}",
            short(ours),
            short(theirs)
        ),
        format!("a model that was trained in {here} gets other numbers in {there}"),
        "deploy one set of definitions in both; train with the digest that is served".to_owned(),
    ];
    Some(finding((first, other), Severity::Error, "definitions-differ", texts))
}

fn one_store(first: &Facts, other: &Facts) -> Option<Finding> {
    let (one, two) = first.store.as_ref().zip(other.store.as_ref())?;
    let (here, there) = (&first.environment, &other.environment);
    if one.identity.iter().any(|it| two.identity.contains(it)) {
        let texts = [
            format!("{here} and {there} have one store, {}", two.place),
            format!("what is tried in {here} is written into what {there} answers from"),
            "give each a store of its own, or another store_prefix".to_owned(),
        ];
        return Some(finding((first, other), Severity::Error, "one-store", texts));
    }
    let lives = |store: &StoreFacts| -> BTreeSet<String> {
        store.servers.iter().map(|server| server.life.clone()).collect()
    };
    (!lives(one).is_disjoint(&lives(two))).then(|| {
        let texts = [
            format!("the stores of {here} and {there} are on one server, {}", two.place),
            "they share its memory and its time: a load on one is latency in the other, and \
             when it is full both stop"
                .to_owned(),
            "give production a server of its own".to_owned(),
        ];
        finding((first, other), Severity::Warning, "one-server", texts)
    })
}

fn one_source(first: &Facts, other: &Facts) -> Vec<Finding> {
    let is_theirs = |source: &str| other.streams.iter().any(|it| it.shared && it.source == source);
    let shared = first.streams.iter().filter(|it| it.shared && is_theirs(&it.source));
    let one = |stream: &StreamFacts| {
        let texts = [
            format!("stream {}: both read {} as one group", stream.stream, stream.source),
            format!(
                "workers of {} take partitions from those of {}: each state gets a part of the \
                 events",
                first.environment, other.environment
            ),
            "give each a group of its own (`?group=NAME`)".to_owned(),
        ];
        finding((first, other), Severity::Error, "one-source", texts)
    };
    shared.map(one).collect()
}

fn one_database(first: &Facts, other: &Facts) -> Option<Finding> {
    let (one, two) = first.database.as_ref().zip(other.database.as_ref())?;
    (one.place == two.place).then(|| {
        let texts = [
            format!("both ask the database {}", one.place),
            format!(
                "what is tried in {} is load on what {} answers from",
                first.environment, other.environment
            ),
            "give each its own, or a replica to the one that is for trials".to_owned(),
        ];
        finding((first, other), Severity::Warning, "one-database", texts)
    })
}

fn slower(first: &Facts, other: &Facts) -> Option<Finding> {
    let p50 = |facts| retrieval(facts).and_then(|probe| probe.p50_ms);
    let (one, two) = p50(first).zip(p50(other))?;
    let (fast, slow) = if one <= two { (one, two) } else { (two, one) };
    if slow < fast * TIMES || slow - fast < LONGER_MS {
        return None;
    }
    let severity = if two > one { Severity::Error } else { Severity::Note };
    let (here, there) = (&first.environment, &other.environment);
    let texts = [
        format!("a look-up takes {} in {here}, {} in {there} (p50)", ms(one), ms(two)),
        "what was measured in one does not hold in the other".to_owned(),
        "ask from a machine beside the servers of each; then look at network and load".to_owned(),
    ];
    Some(finding((first, other), severity, "slower", texts))
}
