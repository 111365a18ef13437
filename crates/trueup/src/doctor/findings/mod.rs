//! What follows from facts: what is wrong with an environment, and where two differ, each with what
//! comes of it and what to do. Pure.

mod alone;
mod between;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::probe::Probe;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Numbers, or the time that they take, are not what a model was trained with: not to be gone
    /// live with.
    Error,
    /// It is worth a decision.
    Warning,
    /// Two environments differ there, as they well may.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, for programs: it does not change.
    pub name: &'static str,
    /// Where: one environment, or the two that differ.
    pub environments: Vec<String>,
    /// What was found.
    pub what: String,
    /// What comes of it.
    pub consequence: String,
    /// What to do.
    pub remedy: String,
}

/// All of it, the worst first: what is wrong with each environment, and where the others differ
/// from the first.
pub fn findings(all: &[Facts]) -> Vec<Finding> {
    let mut found = Vec::new();
    for facts in all {
        let mut others = all.iter().filter(|other| *other != facts);
        let other = others.find_map(|other| Some((other, retrieval(other)?)));
        found.extend(alone::findings(facts, other));
    }
    if let Some((first, others)) = all.split_first() {
        others.iter().for_each(|other| found.extend(between::findings(first, other)));
    }
    found.sort_by_key(|finding: &Finding| finding.severity);
    found
}

/// How long answers from the store take, where it vouches for them.
fn retrieval(facts: &Facts) -> Option<&Probe> {
    let store = facts.store.as_ref().filter(|store| store.lack.is_none())?;
    store.retrieval.as_ref()
}

/// Milliseconds as a person reads them.
pub(super) fn ms(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
