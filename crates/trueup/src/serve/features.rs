//! Features of one look-up of a view, row by row: keys, the request's own events, and `core::read`.

use super::answer::LookupAnswer;
use super::request::Request;
use super::status::Source;
use super::vouch::Judge;
use crate::catalog::{Catalog, SLACK_US, stored};
use arrow::array::{Array, ArrayRef};
use std::sync::Arc;
use trueup_core::{
    Event, Instant, Key, Micros, Receipt, Stored, Unknown, Value, read, receipts, vouched,
};
use trueup_sql::decode::print::{Reason, Timestamp};
use trueup_sql::{GroupDef, Lookup, View, id_at, value_at};
use trueup_store::{Meta, Read};

/// One aggregate's answer for one row.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// SQL's value, or why there is none to be trusted.
    pub(super) value: Result<Value, String>,
    /// Whether its frame holds no event but perhaps the row's own.
    pub(super) empty: bool,
    /// Whether it is older than the view allows.
    pub(super) stale: bool,
    /// Whether there is no value because the store does not vouch for the frame: those who hold the
    /// events may know it.
    pub(super) missed: bool,
}

/// What a row asks of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyAsk {
    /// Nothing: the row is not in the view.
    OutOfView,
    /// Nothing: the look-up does not give all columns of this key.
    NotGiven,
    /// Nothing: NULL equals nothing, so no event can be in the frame.
    NoKey,
    /// The state of a key.
    Key(Key),
}

/// The keys that the rows of a request ask of one look-up.
pub(super) fn keys(lookup: &Lookup, request: &Request, in_view: &[bool]) -> Vec<KeyAsk> {
    let columns: Vec<&ArrayRef> =
        lookup.keys.iter().map(|&column| request.rows.column(column)).collect();
    let ask = |(row, &in_view): (usize, &bool)| {
        if !in_view {
            return KeyAsk::OutOfView;
        }
        if !lookup.keys.iter().all(|&column| request.gives(row, column)) {
            return KeyAsk::NotGiven;
        }
        if !lookup.null_matches && columns.iter().any(|column| column.is_null(row)) {
            return KeyAsk::NoKey;
        }
        let values: Vec<Value> = columns.iter().map(|column| value_at(column, row)).collect();
        KeyAsk::Key(Key::of(&values))
    };
    in_view.iter().enumerate().map(ask).collect()
}

/// The event of a row that is as if appended: none if the group's filter leaves it out, or why that
/// cannot be told.
pub(super) type OwnEvent = Result<Option<Event>, String>;

/// What the answers of one look-up are computed with.
pub(super) struct Lens<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) view: &'a View,
    pub(super) lookup: &'a Lookup,
    pub(super) request: &'a Request,
    /// Now, microseconds since 1970.
    pub(super) now_us: i64,
    /// Now less the view's staleness bound, microseconds since 1970.
    pub(super) stale_before_us: i64,
    /// Places in [`Lookup::aggregates`] that are wanted.
    pub(super) wanted: &'a [usize],
}

/// A row's answers from one look-up.
pub(super) struct FoundRow {
    /// One for each wanted aggregate, in that order.
    pub(super) found: Vec<Found>,
    /// Where the key's state came from; `None` for a key that is not given.
    pub(super) source: Option<Source>,
    /// Wall-clock microseconds since 1970, as of which the key's state was whole.
    pub(super) fresh_us: Option<i64>,
    /// What the store knew of the group when it was read.
    pub(super) meta: Option<Arc<Meta>>,
    /// What the frame of each wanted aggregate held, where that is asked for and known.
    pub(super) receipts: Vec<Receipt>,
}

/// What a fill vouches for.
pub(super) struct Claim {
    /// Event times from here on, microseconds since 1970.
    pub(super) from_us: i64,
    /// As of when, wall-clock microseconds since 1970.
    pub(super) fresh_us: i64,
}

/// Events of a frame that a receipt lists: what a person reads through.
const MAX_LISTED: usize = 100;

impl FoundRow {
    /// What there is to say of it beside its values.
    pub(super) fn answer(&self, lookup: usize, wanted: &[usize]) -> LookupAnswer {
        LookupAnswer {
            lookup,
            source: self.source,
            fresh_us: self.fresh_us,
            meta: self.meta.clone(),
            receipts: wanted.iter().copied().zip(self.receipts.iter().cloned()).collect(),
        }
    }
}

impl Lens<'_> {
    /// Answers a row: its own event is one of [`Lens::own_events`], and `read` what the store said
    /// of its key.
    pub(super) fn answer(
        &self,
        row: usize,
        ask: &KeyAsk,
        own: Option<&OwnEvent>,
        read: Result<&Read, &str>,
    ) -> FoundRow {
        match ask {
            KeyAsk::OutOfView => self.row(Ok(Value::Null), false),
            KeyAsk::NotGiven => FoundRow { source: None, ..self.row(Ok(Value::Null), false) },
            KeyAsk::NoKey => self.evaluate(row, &[], Stored::default(), None, i64::MIN),
            KeyAsk::Key(key) => {
                let own = match own {
                    Some(Err(why)) => return self.row(Err(why.clone()), false),
                    Some(Ok(event)) => event.as_ref(),
                    None => None,
                };
                match read {
                    Err(why) => self.missed(why.to_string()),
                    Ok(read) => self.stored(row, key, own, read),
                }
            }
        }
    }

    /// The rows' own events, where the look-up is into the rows' own stream: a row is as if
    /// appended to it, so its event counts where its key in the group is the one that is looked up.
    pub(super) fn own_events(&self, asks: &[KeyAsk]) -> Option<Vec<OwnEvent>> {
        let group = self.catalog.group(self.lookup.group);
        if group.stream != self.view.stream || self.request.is_lookup() {
            return None;
        }
        let rows = &self.request.rows;
        let entering = group.evaluate(rows);
        let ids = rows.column(self.catalog.streams()[group.stream].stream.id);
        let is_own = |row: usize, asked: &Key| {
            let values = group.keys.iter().map(|&column| value_at(rows.column(column), row));
            group.keys == self.lookup.keys || Key::of(&values.collect::<Vec<_>>()) == *asked
        };
        let event = |(row, ask): (usize, &KeyAsk)| {
            if !matches!(ask, KeyAsk::Key(asked) if is_own(row, asked)) {
                return Ok(None);
            }
            if let Some(error) = entering.refusal(row) {
                return Err(error.to_string());
            }
            Ok(entering.enters(row).then(|| Event {
                time: self.request.at[row],
                id: id_at(ids, row, group.core.id),
                slots: entering.slots().iter().map(|values| value_at(values, row)).collect(),
            }))
        };
        Some(asks.iter().enumerate().map(event).collect())
    }

    /// The same answer for every wanted aggregate of a row that needs no store.
    fn row(&self, value: Result<Value, String>, stale: bool) -> FoundRow {
        let found = Found { value, empty: false, stale, missed: false };
        FoundRow {
            found: vec![found; self.wanted.len()],
            source: Some(Source::Request),
            fresh_us: None,
            meta: None,
            receipts: Vec::new(),
        }
    }

    /// The same for one that the store does not vouch for.
    fn missed(&self, why: String) -> FoundRow {
        let mut row = self.row(Err(why), false);
        row.found.iter_mut().for_each(|found| found.missed = true);
        row
    }

    /// What the store's marker vouches for, and beyond it what a fill does.
    fn stored(&self, row: usize, key: &Key, own: Option<&Event>, read: &Read) -> FoundRow {
        let mut found = self.marked(row, key, own, read);
        let is_marked = found.found.iter().any(|found| !found.missed);
        if found.found.iter().all(|found| !found.missed) {
            return found;
        }
        let Some(Claim { from_us, fresh_us }) = self.claim(row, key, read) else { return found };
        let stored = read.value.as_ref().map(stored).unwrap_or_default();
        let filled = self.evaluate(row, key.bytes(), stored, own, from_us);
        if found.receipts.is_empty() {
            found.receipts = filled.receipts;
        }
        let mut is_filled = false;
        for (held, filled) in found.found.iter_mut().zip(filled.found) {
            if held.missed && filled.value.is_ok() {
                *held = filled;
                is_filled = true;
            }
        }
        if is_filled {
            // The row is as old as the oldest of its values.
            let marked_us = found.fresh_us.filter(|_| is_marked);
            found.fresh_us = Some(marked_us.map_or(fresh_us, |marked_us| marked_us.min(fresh_us)));
        }
        found
    }

    /// What the store's marker vouches for.
    fn marked(&self, row: usize, key: &Key, own: Option<&Event>, read: &Read) -> FoundRow {
        let group = self.catalog.group(self.lookup.group);
        let unknown = |why: String| FoundRow {
            source: Some(Source::Store),
            fresh_us: read.meta.fresh_us,
            meta: Some(Arc::clone(&read.meta)),
            ..self.missed(why)
        };
        let (Some(fresh_us), Some(since_us)) = (read.meta.fresh_us, read.meta.complete_since_us)
        else {
            return unknown(no_pipeline(group));
        };
        if self.may_have_expired(row, read) {
            return unknown(expired(group));
        }
        let stored = read.value.as_ref().map(stored).unwrap_or_default();
        let mut found = self.evaluate(row, key.bytes(), stored, own, since_us);
        let stale = fresh_us < self.stale_before_us;
        found.found.iter_mut().for_each(|found| found.stale = stale);
        let meta = Some(Arc::clone(&read.meta));
        FoundRow { source: Some(Source::Store), fresh_us: Some(fresh_us), meta, ..found }
    }

    /// What a fill vouches for of the value, if there was one whose word counts.
    pub(super) fn claim(&self, row: usize, key: &Key, read: &Read) -> Option<Claim> {
        let stored = stored(read.value.as_ref()?);
        let plan = self.catalog.plan(self.lookup.group);
        // Damage is for the answer to tell.
        let vouch = vouched(plan, key.bytes(), stored).ok().flatten()?;
        let judge = Judge {
            meta: &read.meta,
            stale_before_us: self.stale_before_us,
            bound_us: self.now_us.saturating_sub(self.stale_before_us),
            lateness_us: self.catalog.group(self.lookup.group).core.lateness_us,
            may_have_expired: self.may_have_expired(row, read),
        };
        let fresh_us = judge.fresh_us(vouch, self.request.at[row])?;
        Some(Claim { from_us: vouch.from.0, fresh_us })
    }

    /// Whether what the row's frames hold may have gone by its age: on a store whose values expire,
    /// for an instant that lies further back than clocks and deliveries may be off, once the oldest
    /// value can have expired at all.
    fn may_have_expired(&self, row: usize, read: &Read) -> bool {
        let Some(began_us) = read.meta.began_us else { return false };
        let space = self.catalog.space(self.lookup.group);
        let kept = self.catalog.expiry().iter().find(|(expiring, _)| *expiring == space);
        let Some((_, kept)) = kept else { return false };
        let kept_us = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let slack_us = i64::try_from(SLACK_US).unwrap_or(i64::MAX);
        let is_old = self.request.at[row] < self.now_us.saturating_sub(slack_us);
        is_old && self.now_us >= began_us.saturating_add(kept_us)
    }

    fn evaluate(
        &self,
        row: usize,
        key: &[u8],
        stored: Stored<'_>,
        own: Option<&Event>,
        since_us: i64,
    ) -> FoundRow {
        let plan = self.catalog.plan(self.lookup.group);
        let at = Micros(self.request.at[row]);
        let instant = Instant { at, own, complete_from: Micros(since_us) };
        let wanted: Vec<usize> =
            self.wanted.iter().map(|&place| self.lookup.aggregates[place]).collect();
        let receipts = self.receipts(key, stored, instant, &wanted);
        match read(plan, key, stored, instant, &wanted, &self.catalog.limits) {
            Err(damage) => self.row(Err(format!("the stored state is damaged: {damage}")), false),
            Ok(answers) => {
                let found = answers.into_iter().map(|answer| Found {
                    missed: matches!(answer.value, Err(Unknown::NotWhole { .. })),
                    value: answer.value.map_err(|unknown| Reason(unknown).to_string()),
                    empty: answer.empty,
                    stale: false,
                });
                let found = found.collect();
                let source = Some(Source::Request);
                FoundRow { found, source, fresh_us: None, meta: None, receipts }
            }
        }
    }

    /// What the frames of these aggregates of the group held, if the request asks for it; none for
    /// a state that is damaged, which the answers say.
    pub(super) fn receipts(
        &self,
        key: &[u8],
        stored: Stored<'_>,
        instant: Instant<'_>,
        aggregates: &[usize],
    ) -> Vec<Receipt> {
        if !self.request.receipts {
            return Vec::new();
        }
        let (plan, limits) = (self.catalog.plan(self.lookup.group), &self.catalog.limits);
        receipts(plan, key, stored, instant, aggregates, limits, MAX_LISTED).unwrap_or_default()
    }
}

fn no_pipeline(group: &GroupDef) -> String {
    format!(
        "no pipeline vouches for group {} yet; `trueup run` or `trueup ingest` makes one",
        group.name
    )
}

fn expired(group: &GroupDef) -> String {
    format!(
        "state of group {} that old may have expired; training sets from history hold such rows",
        group.name
    )
}

/// Why a stale value is so, for a person.
pub(super) fn stale_reason(fresh_us: i64) -> String {
    format!("the pipeline last had everything at {}", Timestamp(fresh_us))
}
