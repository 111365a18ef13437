//! What a process says of definitions: to its callers, its health and its log.

use super::{Hydration, Note, Release};
use crate::catalog::Catalog;
use serde_json::{Value, json};
use trueup_sql::decode::print::Timestamp;

/// Definitions as this process last saw them.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Those that it answers by.
    pub served: String,
    /// Those in service as the store says, since when; `None` before anything was noted.
    pub current: Option<(String, i64)>,
    /// Those that one step leads back to.
    pub previous: Option<(String, i64)>,
    /// Those on their way.
    pub candidate: Option<CandidateTold>,
}

/// Definitions on their way.
#[derive(Clone, Debug)]
pub struct CandidateTold {
    /// Their digest.
    pub digest: String,
    /// Since when they are on their way, wall-clock microseconds since 1970.
    pub since_us: i64,
    /// Their views.
    pub views: Vec<String>,
    /// Groups that are new with them.
    pub groups: Vec<GroupTold>,
    /// What they lack to be served, and the log brings.
    pub waits: Vec<String>,
    /// What they lack, and the log does not bring.
    pub stuck: Vec<String>,
}

/// A group that is being hydrated.
#[derive(Clone, Debug)]
pub struct GroupTold {
    /// Its name.
    pub name: String,
    /// How much of the log is applied to it, percent; `None` before the first word.
    pub percent: Option<u64>,
}

impl Told {
    /// What a note says, to a process that answers by definitions of the digest `served`.
    pub fn of(
        served: &str,
        note: Option<&Note>,
        candidate: Option<&Catalog>,
        hydration: Option<&Hydration>,
    ) -> Told {
        let named = |release: &Release| (release.digest.clone(), release.since_us);
        let on_its_way = note.and_then(|note| {
            let release = note.candidate.as_ref()?;
            let known = hydration.filter(|hydration| hydration.digest == release.digest);
            Some(CandidateTold {
                digest: release.digest.clone(),
                since_us: release.since_us,
                views: candidate.map(view_names).unwrap_or_default(),
                groups: candidate.map(|it| new_groups(it, note, known)).unwrap_or_default(),
                waits: known.map(|known| known.waits.clone()).unwrap_or_default(),
                stuck: known.map(|known| known.stuck.clone()).unwrap_or_default(),
            })
        });
        Told {
            served: served.to_owned(),
            current: note.map(|note| named(&note.current)),
            previous: note.and_then(|note| note.previous.as_ref()).map(named),
            candidate: on_its_way,
        }
    }

    /// What is on its way, as a sentence.
    pub fn sentence(&self) -> Option<String> {
        let candidate = self.candidate.as_ref()?;
        let group = |group: &GroupTold| match group.percent {
            Some(percent) => format!("group {}, {percent} %", group.name),
            None => format!("group {}", group.name),
        };
        let groups: Vec<String> = candidate.groups.iter().map(group).collect();
        let stuck: String = candidate.stuck.iter().map(|why| format!("; {why}")).collect();
        Some(format!(
            "definitions {} are being hydrated: {}{stuck}; until then definitions {} answer",
            short(&candidate.digest),
            if groups.is_empty() { "no new group".to_owned() } else { groups.join("; ") },
            short(&self.served),
        ))
    }

    /// Why there is no such view, if one comes with what is on its way.
    pub fn view_to_come(&self, view: &str) -> Option<String> {
        let comes = self.candidate.as_ref()?.views.iter().any(|name| name == view);
        comes.then(|| self.sentence()).flatten()
    }

    /// As answers of the server hold it.
    pub fn json(&self) -> Value {
        let named = |named: &Option<(String, i64)>| {
            named.as_ref().map(|(digest, since_us)| {
                json!({ "digest": digest, "since": Timestamp(*since_us).to_string() })
            })
        };
        let candidate = self.candidate.as_ref().map(|candidate| {
            let group =
                |group: &GroupTold| json!({ "group": group.name, "percent": group.percent });
            json!({
                "digest": candidate.digest,
                "since": Timestamp(candidate.since_us).to_string(),
                "views": candidate.views,
                "hydrating": candidate.groups.iter().map(group).collect::<Vec<_>>(),
                "waits": candidate.waits,
                "stuck": candidate.stuck,
            })
        });
        json!({
            "served": self.served,
            "current": named(&self.current),
            "previous": named(&self.previous),
            "candidate": candidate,
        })
    }
}

/// Enough of a digest to tell definitions apart.
fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

fn view_names(catalog: &Catalog) -> Vec<String> {
    catalog.definitions().views.iter().map(|view| view.name.clone()).collect()
}

fn new_groups(catalog: &Catalog, note: &Note, known: Option<&Hydration>) -> Vec<GroupTold> {
    let groups = catalog.definitions().groups.iter();
    let is_new = |digest: String| !note.current.groups.iter().any(|own| own.digest == digest);
    let told = |group: &trueup_sql::GroupDef| GroupTold {
        name: group.name.clone(),
        percent: known
            .and_then(|known| known.percent(&catalog.streams()[group.stream].stream.name)),
    };
    groups.filter(|group| is_new(group.digest.to_string())).map(told).collect()
}
