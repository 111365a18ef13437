//! What is wrong with a store: what it does to the state, what it vouches for, how fast it is.

use super::database::asked_directly;
use super::{Other, finding};
use crate::doctor::facts::{Facts, Lack, StoreFacts};
use crate::doctor::findings::{Finding, Severity, ms};
use crate::outgrown::Outgrown;

/// What half of the look-ups may take, milliseconds: all that a payment has for features.
const RETRIEVAL_MS: f64 = 5.0;

/// How far clocks may be apart, milliseconds: more than any that is kept right is off, and far less
/// than answers may be stale by.
const CLOCK_MS: f64 = 500.0;

pub(super) fn findings(facts: &Facts, store: &StoreFacts, other: Other<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let evicting: Vec<&str> = store
        .servers
        .iter()
        .filter(|server| server.eviction != "noeviction")
        .map(|server| server.place.as_str())
        .collect();
    if let Some(server) = store.servers.iter().find(|server| server.eviction != "noeviction") {
        found.push(finding(
            facts,
            Severity::Error,
            "evicts",
            [
                format!("maxmemory-policy of {} is {}", evicting.join(", "), server.eviction),
                "a key that is evicted would read as one without events, so nothing is vouched \
                 for, and no process starts on it"
                    .to_owned(),
                "CONFIG SET maxmemory-policy noeviction there, and in its configuration file"
                    .to_owned(),
            ],
        ));
    } else if let Some(lack) = &store.lack {
        found.push(not_vouched(facts, store, lack, other));
    }
    if store.buckets.unseen > 0 {
        found.push(finding(
            facts,
            Severity::Warning,
            "store-restarted",
            [
                format!("{} buckets are of a server that began anew", store.buckets.unseen),
                "its latest writes may be gone, and no worker has looked since".to_owned(),
                "see that a worker runs: it goes back to its checkpoints within a second"
                    .to_owned(),
            ],
        ));
    }
    let slow = store.retrieval.as_ref().and_then(|probe| probe.p50_ms);
    if let Some(p50) = slow.filter(|&p50| p50 > RETRIEVAL_MS) {
        found.push(finding(
            facts,
            Severity::Warning,
            "slow-retrieval",
            [
                format!("a look-up takes {} (p50) from this machine", ms(p50)),
                format!("features alone take more than {RETRIEVAL_MS} ms of a payment's time"),
                "look at the network to the store and at its load; ask from where servers run"
                    .to_owned(),
            ],
        ));
    }
    found.extend(clocks(facts, store));
    found.extend(outgrown(facts, store));
    found
}

/// One finding for each group with keys at their bound.
fn outgrown(facts: &Facts, store: &StoreFacts) -> Vec<Finding> {
    let groups = store.outgrown.chunk_by(|one, other| one.group == other.group);
    let finding = |keys: &[Outgrown]| {
        let Outgrown { group, key, bytes, keeps_seconds, wants_seconds } = &keys[0];
        let wants = wants_seconds.map_or("as far as there are events".to_owned(), span);
        let texts = [
            format!(
                "keys of group {group} are at their bound, {} of those seen last; {key} ({} KiB) \
                 keeps the newest {} of its events, and frames with lateness reach back {wants}",
                keys.len(),
                bytes >> 10,
                span(*keeps_seconds),
            ),
            "frames that reach further back than what is kept are UNKNOWN for such keys".to_owned(),
            "bin this window: ORDER BY date_bin(INTERVAL '1 minute', ...) keeps a partial a minute \
             instead of each event; or make it shorter"
                .to_owned(),
        ];
        finding(facts, Severity::Warning, "keys-outgrown", texts)
    };
    groups.map(finding).collect()
}

/// A span of time in the largest unit of which there is one.
fn span(seconds: f64) -> String {
    match seconds {
        s if s >= 86_400.0 => format!("{:.1} days", s / 86_400.0),
        s if s >= 3_600.0 => format!("{:.1} hours", s / 3_600.0),
        s if s >= 60.0 => format!("{:.1} minutes", s / 60.0),
        s => format!("{s:.1} s"),
    }
}

fn not_vouched(facts: &Facts, store: &StoreFacts, lack: &Lack, other: Other<'_>) -> Finding {
    let Lack { of, reason } = lack;
    let what = format!("the store {} does not vouch for {of}: {reason}", store.place);
    let (name, consequence) = match &facts.database {
        Some(database) => ("database-asked-directly", asked_directly(database, other)),
        None => ("not-vouched-for", "such values are UNKNOWN in answers".to_owned()),
    };
    let remedy = format!(
        "`trueup status --env {}` shows how far it is: run a worker (`trueup ingest`), or `trueup \
         backfill` where the log begins too late",
        facts.environment
    );
    finding(facts, Severity::Error, name, [what, consequence, remedy])
}

fn clocks(facts: &Facts, store: &StoreFacts) -> Option<Finding> {
    let off = store.servers.iter().filter_map(|server| Some((server, server.clock_ms?)));
    let (server, off_ms) = off.max_by(|(_, one), (_, two)| one.abs().total_cmp(&two.abs()))?;
    if off_ms.abs() <= CLOCK_MS {
        return None;
    }
    let is_stale = off_ms.abs() / 1e3 > facts.max_staleness_seconds;
    let severity = if is_stale { Severity::Error } else { Severity::Warning };
    let side = if off_ms > 0.0 { "before" } else { "behind" };
    let texts = [
        format!("the clock of {} is {} {side} this machine's", server.place, ms(off_ms.abs())),
        "freshness is judged by the clocks of workers and servers: if these are as far apart, \
         what is fresh is called STALE, or what is stale passes for fresh; rows without a time \
         get a wrong one"
            .to_owned(),
        "keep the clocks of all machines right (chrony, ntpd)".to_owned(),
    ];
    Some(finding(facts, severity, "clocks-differ", texts))
}
