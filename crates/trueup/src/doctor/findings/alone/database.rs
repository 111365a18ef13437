//! What is wrong with a database, and what it costs to ask it for everything.

use super::{Other, finding};
use crate::doctor::facts::{DatabaseFacts, Facts, IndexFacts};
use crate::doctor::findings::{Finding, Severity, ms};
use crate::doctor::probe::Probe;

/// What the story was: every feature is a query.
pub(super) fn asked_directly(database: &DatabaseFacts, other: Other<'_>) -> String {
    let measured = |probe: &Probe| {
        let (p50, p99) = probe.p50_ms.zip(probe.p99_ms)?;
        Some(format!("{} (p50), {} (p99) of {} asked now", ms(p50), ms(p99), probe.timed))
    };
    let took = match database.miss.as_ref().map(|miss| (miss, measured(miss))) {
        Some((_, Some(measured))) => format!(": {measured}"),
        Some((miss, None)) => {
            let why = miss.reason.as_deref().unwrap_or("no reason was given");
            format!(", and none of {} asked now was answered ({why})", miss.asks)
        }
        None => String::new(),
    };
    let beside = other.and_then(|(other, probe)| {
        let p50 = ms(probe.p50_ms?);
        Some(format!("; the store of {} takes {p50} (p50)", other.environment))
    });
    let beside = beside.unwrap_or_default();
    format!("every feature would be a query on {}{took}{beside}", database.place)
}

pub(super) fn findings(facts: &Facts, database: &DatabaseFacts) -> Vec<Finding> {
    let DatabaseFacts { place, trouble, missing_indexes, miss, .. } = database;
    let mut found = Vec::new();
    if let Some(why) = trouble {
        found.push(finding(
            facts,
            Severity::Error,
            "database-unusable",
            [
                format!("the database {place}: {why}"),
                "what the store does not vouch for is UNKNOWN".to_owned(),
                format!("`trueup check --env {}` looks at its tables alone", facts.environment),
            ],
        ));
    }
    let took = miss.as_ref().and_then(|miss| miss.p50_ms);
    let took = took.map_or(String::new(), |p50| format!(" (a miss takes {} now)", ms(p50)));
    for IndexFacts { key, statement } in missing_indexes {
        found.push(finding(
            facts,
            Severity::Error,
            "missing-index",
            [
                format!("no index begins with the key {key} in {place}"),
                format!("every miss of such a key reads the whole table{took}"),
                statement.clone(),
            ],
        ));
    }
    let failed = miss.as_ref().filter(|miss| miss.lacking > 0);
    if let Some(miss) = failed {
        let why = miss.reason.as_deref().unwrap_or("no reason was given");
        found.push(finding(
            facts,
            Severity::Error,
            "database-fails",
            [
                format!("{place} answered {} of {} misses", miss.asks - miss.lacking, miss.asks),
                format!("such values are UNKNOWN: {why}"),
                "see that it answers within database_timeout, and takes keys of that type"
                    .to_owned(),
            ],
        ));
    }
    found
}
