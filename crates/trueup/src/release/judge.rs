//! Whether definitions vouch for as much as those in service: from what the store says of their
//! groups, in every bucket.

use super::Note;
use crate::catalog::Catalog;
use crate::ingest::backfill::is_under_way;
use crate::ingest::source::FIRST_LOG;
use std::collections::BTreeMap;
use std::fmt;
use trueup_sql::GroupDef;
use trueup_sql::decode::print::Timestamp;
use trueup_store::{Meta, Space, Store, StoreError};

/// What the store knows of groups.
pub type Metas = BTreeMap<Space, Meta>;

/// How far definitions in service had got with each stream, by source and partition.
pub type Goal = BTreeMap<(String, u32, u32), u64>;

/// Why a group does not vouch for enough yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Its name.
    pub group: String,
    /// Why.
    pub why: Why,
}

/// What a group lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A history is being read into it, or was and not to its end.
    UnderWay,
    /// An older state of it is still to be dropped.
    Dropping,
    /// Nothing of it was applied yet.
    Unbegun,
    /// It is behind the groups in service, or behind the clock.
    Behind,
    /// It begins later than what is in service, and frames reach behind that.
    Short {
        /// Complete since then, microseconds since 1970.
        since_us: i64,
        /// No frame reaches behind it from then on; never, if there is none.
        until_us: Option<i64>,
    },
}

impl Wait {
    /// Whether no amount of the log brings what it lacks.
    pub fn is_stuck(&self) -> bool {
        matches!(self.why, Why::UnderWay | Why::Short { .. })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = &self.group;
        match self.why {
            Why::UnderWay => {
                write!(f, "group {group} waits until `trueup backfill` has come to its end")
            }
            Why::Dropping => write!(f, "group {group} waits until its old state is dropped"),
            Why::Unbegun => write!(f, "group {group} has not been begun"),
            Why::Behind => write!(f, "group {group} is being hydrated"),
            Why::Short { since_us, until_us } => {
                let since = Timestamp(since_us);
                write!(
                    f,
                    "group {group} is complete only since {since}, later than what is served"
                )?;
                match until_us {
                    Some(until_us) => {
                        write!(f, "; it covers its frames at {}", Timestamp(until_us))
                    }
                    None => f.write_str("; some of its frames have no end"),
                }
            }
        }
    }
}

/// What all buckets of the store say of the groups of these definitions.
///
/// # Errors
/// The store's.
pub async fn look(store: &dyn Store, of: &[Option<&Catalog>]) -> Result<Metas, StoreError> {
    let groups = of.iter().flatten();
    let groups = groups.flat_map(|catalog| {
        (0..catalog.definitions().groups.len()).map(|group| catalog.space(group))
    });
    let mut spaces: Vec<Space> = groups.collect();
    spaces.sort_unstable();
    spaces.dedup();
    let metas = store.look(&spaces).await?.metas;
    Ok(spaces.into_iter().zip(metas).collect())
}

/// How far these definitions have got with each partition of a log: what others must reach. How
/// much of a history was read into one group is nothing that another must reach.
pub fn goal(served: Option<&Catalog>, metas: &Metas) -> Goal {
    let mut goal = Goal::new();
    for (stream, meta) in served.into_iter().flat_map(|served| groups(served, metas)) {
        for checkpoint in meta.checkpoints.iter().filter(|it| it.source >= FIRST_LOG) {
            let place = (stream.to_owned(), checkpoint.source, checkpoint.partition);
            let offset = goal.entry(place).or_default();
            *offset = (*offset).max(checkpoint.offset);
        }
    }
    goal
}

/// What the groups of `wanted` lack to be served instead of `served`: complete since no later, or
/// since before any frame; at the goal; and fresh. `(now, staleness)` are microseconds.
pub fn waits(
    wanted: &Catalog,
    served: Option<&Catalog>,
    note: &Note,
    metas: &Metas,
    goal: &Goal,
    (now_us, max_staleness_us): (i64, i64),
) -> Vec<Wait> {
    let mut since: BTreeMap<&str, i64> = BTreeMap::new();
    for (stream, meta) in served.into_iter().flat_map(|served| groups(served, metas)) {
        let latest = since.entry(stream).or_insert(i64::MIN);
        *latest = (*latest).max(meta.complete_since_us.unwrap_or(i64::MAX));
    }
    let mut waits = Vec::new();
    for (number, group) in wanted.definitions().groups.iter().enumerate() {
        let space = wanted.space(number);
        let in_service = served.is_some_and(|served| {
            (0..served.definitions().groups.len()).any(|other| served.space(other) == space)
        });
        let stream = stream_of(wanted, group);
        let why = match (metas.get(&space), note.is_retired(&group.digest.to_string())) {
            _ if in_service => None,
            (Some(meta), _) if is_under_way(meta) => Some(Why::UnderWay),
            (_, true) => Some(Why::Dropping),
            (None, _) => Some(Why::Unbegun),
            (Some(meta), _) => lack(meta, stream, goal, now_us.saturating_sub(max_staleness_us))
                .or_else(|| {
                    let horizon_us = wanted.plan(number).horizon_us();
                    let served_since_us = since.get(stream).copied().unwrap_or(i64::MAX);
                    short(meta, served_since_us, horizon_us, now_us)
                }),
        };
        waits.extend(why.map(|why| Wait { group: group.name.clone(), why }));
    }
    waits
}

fn lack(meta: &Meta, stream: &str, goal: &Goal, fresh_from_us: i64) -> Option<Why> {
    if meta.complete_since_us.is_none() || meta.checkpoints.is_empty() {
        return Some(Why::Unbegun);
    }
    // A source that it has heard nothing of is another log than the one that it is read from.
    let hears = |source: u32| meta.checkpoints.iter().any(|it| it.source == source);
    let reached = goal.iter().filter(|((of, source, _), _)| of == stream && hears(*source)).all(
        |((_, source, partition), offset)| {
            meta.offset(*source, *partition).is_some_and(|own| own >= *offset)
        },
    );
    let fresh = meta.fresh_us.is_some_and(|fresh_us| fresh_us >= fresh_from_us);
    (!reached || !fresh).then_some(Why::Behind)
}

fn short(meta: &Meta, served_since_us: i64, horizon_us: Option<i64>, now_us: i64) -> Option<Why> {
    let since_us = meta.complete_since_us?;
    let until_us = horizon_us.map(|horizon_us| since_us.saturating_add(horizon_us));
    let covers = since_us <= served_since_us || until_us.is_some_and(|until_us| until_us <= now_us);
    (!covers).then_some(Why::Short { since_us, until_us })
}

fn stream_of<'a>(catalog: &'a Catalog, group: &GroupDef) -> &'a str {
    &catalog.streams()[group.stream].stream.name
}

/// The groups of definitions that the store knows, each with its stream's name.
fn groups<'a>(catalog: &'a Catalog, metas: &'a Metas) -> impl Iterator<Item = (&'a str, &'a Meta)> {
    catalog.definitions().groups.iter().enumerate().filter_map(|(number, group)| {
        Some((stream_of(catalog, group), metas.get(&catalog.space(number))?))
    })
}
