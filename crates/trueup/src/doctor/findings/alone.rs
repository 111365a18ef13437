//! What is wrong with one environment.

mod database;
mod store;

use self::database::asked_directly;
use super::{Finding, Severity};
use crate::doctor::facts::Facts;
use crate::doctor::probe::Probe;

/// Another environment whose store vouches for what it is asked, and how long that takes.
type Other<'a> = Option<(&'a Facts, &'a Probe)>;

pub(super) fn findings(facts: &Facts, other: Other<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = settings(facts, other).into_iter().collect();
    if facts.refused.is_none() {
        found.extend(definitions(facts));
        found.extend(not_asked(facts));
        if let Some(store) = &facts.store {
            found.extend(store::findings(facts, store, other));
        }
        found.extend(pipeline(facts));
        found.extend(access(facts));
    }
    if let Some(database) = &facts.database {
        found.extend(database::findings(facts, database));
    }
    found
}

fn finding(
    facts: &Facts,
    severity: Severity,
    name: &'static str,
    [what, consequence, remedy]: [String; 3],
) -> Finding {
    let environments = vec![facts.environment.clone()];
    Finding { severity, name, environments, what, consequence, remedy }
}

fn settings(facts: &Facts, other: Other<'_>) -> Option<Finding> {
    let why = facts.refused.as_ref()?;
    let name = &facts.environment;
    Some(match facts.without_store {
        false => finding(
            facts,
            Severity::Error,
            "settings-refused",
            [
                format!("the settings of {name} are refused: {why}"),
                "no process starts by them, and nothing else of it could be examined".to_owned(),
                "mend that setting".to_owned(),
            ],
        ),
        true => finding(
            facts,
            Severity::Error,
            "no-online-store",
            [
                format!("{name} has no online store: {why}"),
                match &facts.database {
                    Some(database) => format!(
                        "no process starts by these settings; if one did, {}",
                        asked_directly(database, other)
                    ),
                    None => "no process starts by these settings, so no feature is served".into(),
                },
                "name a store that lasts, and let a worker fill it (`trueup ingest`; `trueup \
                 backfill` where the log begins too late)"
                    .to_owned(),
            ],
        ),
    })
}

fn definitions(facts: &Facts) -> Vec<Finding> {
    let (name, told) = (&facts.environment, &facts.definitions);
    let mut found = Vec::new();
    if let Some(why) = &told.trouble {
        let what = format!("the definitions of {name} cannot be used: {why}");
        let consequence = "no process starts with them".to_owned();
        let remedy = format!("`trueup check --env {name}` shows the place; mend it");
        let texts = [what, consequence, remedy];
        found.push(finding(facts, Severity::Error, "definitions-unusable", texts));
    }
    if let Some(why) = &told.served_trouble {
        let what = format!("this program cannot use the definitions in service: {why}");
        let consequence =
            "another version of the program serves them: values are by its arithmetic".to_owned();
        let remedy = "examine it, and train, with the version that serves".to_owned();
        let texts = [what, consequence, remedy];
        found.push(finding(facts, Severity::Error, "another-version", texts));
    }
    if let (Some(files), Some(served)) = (&told.files, &told.served)
        && files != served
    {
        found.push(finding(
            facts,
            Severity::Warning,
            "files-not-served",
            [
                format!("answers are by {}, the files hold {}", short(served), short(files)),
                "what is trained from these files is not what is served".to_owned(),
                format!(
                    "`trueup status --env {name}` says how far the new ones are; start an ingest \
                     process with them if they are not named there"
                ),
            ],
        ));
    }
    found
}

/// Enough of a digest to tell it from others.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

fn not_asked(facts: &Facts) -> Option<Finding> {
    let name = &facts.environment;
    let troubles = Some(facts.troubles.join("; ")).filter(|troubles| !troubles.is_empty())?;
    let is_asked = facts.store.as_ref().is_some_and(|store| store.shape.is_some());
    // With the store the rest is known, its freshness too.
    let severity = if is_asked { Severity::Warning } else { Severity::Error };
    let consequence = match is_asked {
        true => "how many events wait is not known; how fresh the state is the store says",
        false => "whether it would answer, and how fast, is not known",
    };
    let remedy = format!("`trueup status --env {name}` from a machine that reaches it");
    let what = format!("{name} could not be asked: {troubles}");
    Some(finding(facts, severity, "not-asked", [what, consequence.to_owned(), remedy]))
}

fn pipeline(facts: &Facts) -> Vec<Finding> {
    let name = &facts.environment;
    let mut found = Vec::new();
    let lacks = facts.store.as_ref().is_some_and(|store| store.lack.is_some());
    let late = facts.fresh_seconds.filter(|&seconds| seconds > facts.max_staleness_seconds);
    if let Some(seconds) = late.filter(|_| !lacks) {
        found.push(finding(
            facts,
            Severity::Error,
            "stale",
            [
                format!(
                    "the state of {name} is that of {seconds:.1} s ago; max_staleness is {} s",
                    facts.max_staleness_seconds
                ),
                "values are STALE: the latest transactions of a key are not in them".to_owned(),
                format!("see that workers run and keep up: `trueup status --env {name}`"),
            ],
        ));
    }
    for stream in facts.streams.iter().filter(|stream| !stream.gaps.is_empty()) {
        found.push(finding(
            facts,
            Severity::Error,
            "gap",
            [
                format!("stream {}: {}", stream.stream, stream.gaps.join("; ")),
                "workers of the stream end, and its state grows old".to_owned(),
                "backfill it, or declare a new beginning (`--new-beginning`)".to_owned(),
            ],
        ));
    }
    found
}

fn access(facts: &Facts) -> Option<Finding> {
    facts.insecure.then(|| {
        let texts = [
            format!("insecure = true, and servers listen on {}", facts.listen),
            "where that can be reached from other machines, everybody there may read features \
             and write events"
                .to_owned(),
            "set TRUEUP_TOKEN or token_file, and take insecure out".to_owned(),
        ];
        finding(facts, Severity::Warning, "insecure", texts)
    })
}
