//! Facts that are to be alike, and what comes of it where they are not.

use super::finding;
use crate::doctor::facts::{Facts, ServerFacts, StoreFacts};
use crate::doctor::findings::{Finding, Severity};
use std::collections::BTreeSet;

/// A fact that two environments may differ in. One that is not known of both is not compared.
struct Difference {
    name: &'static str,
    severity: Severity,
    /// What it is called.
    label: &'static str,
    of: fn(&Facts) -> Option<String>,
    consequence: &'static str,
    remedy: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "store-kinds-differ",
        severity: Severity::Warning,
        label: "the kind of the store",
        of: |facts| facts.store.as_ref().map(|store| store.kind.clone()),
        consequence: "one process has an embedded store for itself, several share Redis: how \
                      fast one answers, and how it fails, says nothing of the other",
        remedy: "measure and rehearse on the kind that production has",
    },
    Difference {
        name: "software-differs",
        severity: Severity::Warning,
        label: "what runs the store",
        of: |facts| told(facts).map(|store| store.software.join(", ")),
        consequence: "what was tried on one version was not on the other",
        remedy: "run one version in both, or try the change",
    },
    Difference {
        name: "persistence-differs",
        severity: Severity::Warning,
        label: "what outlasts a restart of the store",
        of: |facts| policy(facts, |server| server.persistence.clone()),
        consequence: "after a restart the one that kept less is read again from the log; its \
                      answers are UNKNOWN or STALE, or come from the database, until it is there",
        remedy: "set both alike; appendonly yes shortens the catching up",
    },
    Difference {
        name: "replicas-differ",
        severity: Severity::Warning,
        label: "replicas of each server",
        of: |facts| policy(facts, |server| server.replicas.map(|n| n.to_string())),
        consequence: "a server that is lost without a replica is a store that is lost: all of it \
                      is read again from the log",
        remedy: "rehearse a failover where there are replicas; have them where it counts",
    },
    Difference {
        name: "min-replicas-differ",
        severity: Severity::Warning,
        label: "min-replicas-to-write",
        of: |facts| policy(facts, |server| server.min_replicas.map(|n| n.to_string())),
        consequence: "where it is more, writes wait while replicas are away and lag grows; where \
                      it is less, a failover loses more and workers go back further",
        remedy: "set both alike",
    },
    Difference {
        name: "max-staleness-differs",
        severity: Severity::Warning,
        label: "max_staleness",
        of: |facts| known(facts).map(|facts| format!("{} s", facts.max_staleness_seconds)),
        consequence: "the same delay is STALE in one and PRESENT in the other",
        remedy: "set one value, above the environments' sections",
    },
    Difference {
        name: "databases-differ",
        severity: Severity::Warning,
        label: "a database for what the store does not vouch for",
        of: |facts| {
            let has = facts.database.as_ref();
            let kind = |place: &str| place.split(':').next().unwrap_or_default().to_owned();
            known(facts).map(|_| has.map_or("none".into(), |it| kind(&it.place)))
        },
        consequence: "what the store lost is UNKNOWN where there is none, and another query \
                      where it is another one",
        remedy: "name one of the same kind in both, or in none",
    },
    Difference {
        name: "database-bounds-differ",
        severity: Severity::Warning,
        label: "bounds on asking the database",
        of: |facts| facts.database.as_ref().map(|database| database.bounds.clone()),
        consequence: "the same loss of the store gives more UNKNOWN in one than in the other",
        remedy: "set them alike, above the environments' sections",
    },
    Difference {
        name: "tokens-differ",
        severity: Severity::Note,
        label: "a token of callers",
        of: |facts| known(facts).map(|facts| (if facts.token { "yes" } else { "no" }).into()),
        consequence: "callers of one need what those of the other do not",
        remedy: "nothing, if it is meant so",
    },
    Difference {
        name: "stores-differ",
        severity: Severity::Note,
        label: "the store",
        of: |facts| facts.store.as_ref().map(|store| store.place.clone()),
        consequence: "they are two, as they should be",
        remedy: "nothing",
    },
    Difference {
        name: "listen-differs",
        severity: Severity::Note,
        label: "where servers listen",
        of: |facts| known(facts).map(|facts| facts.listen.clone()),
        consequence: "they are two, as they should be",
        remedy: "nothing",
    },
];

pub(super) fn findings(first: &Facts, other: &Facts) -> Vec<Finding> {
    DIFFERENCES.iter().filter_map(|it| difference(it, first, other)).collect()
}

fn difference(it: &Difference, first: &Facts, other: &Facts) -> Option<Finding> {
    let (one, two) = (it.of)(first).zip((it.of)(other))?;
    let (here, there) = (&first.environment, &other.environment);
    let what = format!("{}: {one} in {here}, {two} in {there}", it.label);
    let texts = [what, it.consequence.to_owned(), it.remedy.to_owned()];
    (one != two).then(|| finding((first, other), it.severity, it.name, texts))
}

/// An environment whose settings are taken.
fn known(facts: &Facts) -> Option<&Facts> {
    Some(facts).filter(|facts| facts.refused.is_none())
}

/// A store that was asked.
fn told(facts: &Facts) -> Option<&StoreFacts> {
    facts.store.as_ref().filter(|store| store.shape.is_some())
}

/// What a store's servers say, each once.
fn policy(facts: &Facts, of: impl Fn(&ServerFacts) -> Option<String>) -> Option<String> {
    let servers = &facts.store.as_ref()?.servers;
    let each: Option<BTreeSet<String>> = servers.iter().map(of).collect();
    let each: Vec<String> = each?.into_iter().collect();
    (!each.is_empty()).then(|| each.join(", "))
}
