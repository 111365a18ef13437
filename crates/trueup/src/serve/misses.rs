//! What the store could not vouch for, from the database: raw events of the key, folded by core as
//! the stream's are.
//!
//! ```text
//! missed frames of a row ─▶ Want (one range, or the newest) ─▶ fallback ─┬─▶ write_back
//!     the values that were missing ◀─ core::read ◀─ core::record ◀─ events <= the instant
//! ```
//!
//! Only frames without a value are asked for; what the store vouches for stays. A marker that
//! covers the frames makes a missing key the empty state, so a user who is new costs no query.

use super::answer::Serving;
use super::fallback::{Fetched, Landed, Want};
use super::features::{Found, FoundRow, KeyAsk, Lens};
use super::status::Source;
use crate::catalog::Catalog;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use std::time::{Duration, Instant as Clock};
use trueup_core::{
    Answer, Event, Frame, Id, Instant, Keep, Key, Limits, Micros, Position, Receipt, Stored,
    Unknown, read, record,
};
use trueup_sql::decode::print::Reason;
use trueup_sql::{id_at, value_at};

/// What folds at once: all that the database was asked for, whose rows are bounded already.
pub(super) const LIMITS: Limits = Limits { max_bytes: usize::MAX };

/// The log of events that no log gave a position: partials take none without.
const NO_LOG: u32 = 0;

/// What one row misses of one look-up, by one question.
pub(super) struct Miss {
    pub(super) lookup: usize,
    pub(super) row: usize,
    pub(super) want: Want,
    /// Places in [`Lens::wanted`].
    pub(super) places: Vec<usize>,
}

impl Serving {
    /// Asks the database for what is missing, until the deadline; how long that took.
    pub(super) async fn fill(
        &self,
        lenses: &[Lens<'_>],
        asks: &[Vec<KeyAsk>],
        found: &mut [Vec<FoundRow>],
        deadline: Clock,
    ) -> Duration {
        let began = Clock::now();
        let Some(tables) = self.tables.as_ref().filter(|_| began < deadline) else {
            return Duration::ZERO;
        };
        let mut misses = Vec::new();
        for (lookup, (lens, rows)) in lenses.iter().zip(&*found).enumerate() {
            for (row, found) in rows.iter().enumerate() {
                let missed = found.found.iter().enumerate().filter(|(_, found)| found.missed);
                let missed: Vec<usize> = missed.map(|(place, _)| place).collect();
                if missed.is_empty() {
                    continue;
                }
                let wants = lens.wants(row, &missed).into_iter();
                misses.extend(wants.map(|(want, places)| Miss { lookup, row, want, places }));
            }
        }
        if misses.is_empty() {
            return Duration::ZERO;
        }
        // The widest first, so that others of that key find theirs in its flight.
        misses.sort_by_key(|miss| (miss.want.from_us, miss.want.newest.is_some()));
        let ask = |miss: &Miss| {
            let stream = self.catalog.group(lenses[miss.lookup].lookup.group).stream;
            tables.ask(&self.catalog, stream, &miss.want, deadline)
        };
        let asked: Vec<_> = misses.iter().map(ask).collect();
        let own: Vec<_> =
            lenses.iter().zip(asks).map(|(lens, asks)| lens.own_events(asks)).collect();
        let mut brought = Vec::with_capacity(misses.len());
        for (miss, asked) in misses.iter().zip(asked) {
            let landed = tables.wait(asked, deadline).await;
            let lens = &lenses[miss.lookup];
            let own = own[miss.lookup].as_ref().and_then(|own| own[miss.row].as_ref().ok());
            let own = own.and_then(Option::as_ref);
            if let KeyAsk::Key(key) = &asks[miss.lookup][miss.row] {
                let max_rows = tables.fallback().max_rows();
                let found = &mut found[miss.lookup][miss.row];
                lens.take(miss, key, own, &landed, max_rows, found);
            }
            brought.extend(landed.ok().map(|fetched| (miss, fetched)));
        }
        self.write_back(tables, lenses, asks, found, &brought);
        began.elapsed()
    }
}

impl Lens<'_> {
    /// The questions that bring the frames of these aggregates (places in [`Lens::wanted`]): one
    /// for all ranges of time, and one for those by number of rows.
    pub(super) fn wants(&self, row: usize, missed: &[usize]) -> Vec<(Want, Vec<usize>)> {
        let group = self.catalog.group(self.lookup.group);
        let at_us = self.request.at[row];
        let bin_us = match group.core.keep {
            Keep::Binned { width_us, .. } => width_us,
            _ => 0,
        };
        let (mut ranges, mut rows) = (Vec::new(), Vec::new());
        let (mut from_us, mut newest) = (i64::MAX, 0usize);
        for &place in missed {
            match self.frame(place) {
                Frame::Range { far_us, .. } => {
                    let far_us = far_us.map(|far_us| far_us.saturating_add(bin_us));
                    let from = far_us.map_or(i64::MIN, |far_us| at_us.saturating_sub(far_us));
                    from_us = from_us.min(from);
                    ranges.push(place);
                }
                Frame::Rows { far, .. } => {
                    newest = newest.max((far as usize).saturating_add(1));
                    rows.push(place);
                }
            }
        }
        if group.filter.is_some() {
            // How many rows pass it the database is not asked.
            newest = usize::MAX;
        }
        let keys = self.lookup.keys.iter();
        let want = |from_us, newest| Want {
            keys: group.keys.clone(),
            values: keys
                .clone()
                .map(|&column| value_at(self.request.rows.column(column), row))
                .collect(),
            from_us,
            to_us: at_us,
            newest,
        };
        let of_ranges = (want(from_us, None), ranges);
        let of_rows = (want(i64::MIN, Some(newest)), rows);
        [of_ranges, of_rows].into_iter().filter(|(_, places)| !places.is_empty()).collect()
    }

    fn aggregate(&self, place: usize) -> usize {
        self.lookup.aggregates[self.wanted[place]]
    }

    /// The group's aggregates at these places in [`Lens::wanted`].
    pub(super) fn aggregates_at(&self, places: &[usize]) -> Vec<usize> {
        places.iter().map(|&place| self.aggregate(place)).collect()
    }

    pub(super) fn frame(&self, place: usize) -> Frame {
        let group = self.catalog.group(self.lookup.group);
        group.core.aggregates[self.aggregate(place)].frame
    }

    /// Puts what the database brought where it was missing; or why it brought nothing.
    fn take(
        &self,
        miss: &Miss,
        key: &Key,
        own: Option<&Event>,
        landed: &Landed,
        max_rows: usize,
        row: &mut FoundRow,
    ) {
        let fetched = match landed {
            Ok(fetched) => fetched,
            Err(refusal) => {
                for &place in &miss.places {
                    if let Err(why) = &mut row.found[place].value {
                        *why = format!("{why}; {refusal}");
                    }
                }
                return;
            }
        };
        let (answers, receipts) = match self.over(miss, key, own, fetched) {
            Ok(over) => over,
            Err(why) => {
                miss.places.iter().for_each(|&place| row.found[place].value = Err(why.clone()));
                return;
            }
        };
        for (&place, answer) in miss.places.iter().zip(answers) {
            let value = answer.value.map_err(|unknown| match unknown {
                Unknown::NotWhole { .. } if fetched.cut => format!(
                    "the database has more than {max_rows} events of this key \
                     (database_max_rows); bin this window"
                ),
                unknown => Reason(unknown).to_string(),
            });
            row.found[place] = Found { value, empty: answer.empty, stale: false, missed: false };
        }
        if !receipts.is_empty() {
            row.receipts.resize(row.found.len(), Receipt::default());
            for (&place, receipt) in miss.places.iter().zip(receipts) {
                row.receipts[place] = receipt;
            }
        }
        row.source = Some(Source::Database);
        // Of values that the store has too, the row is as old as these.
        let store_us = row.fresh_us.filter(|_| miss.places.len() < row.found.len());
        row.fresh_us = Some(store_us.unwrap_or(i64::MAX).min(fetched.asked_us));
    }

    /// The answers over the events that were fetched, as core gives them over the stream's, with
    /// their receipts where these are asked for.
    fn over(
        &self,
        miss: &Miss,
        key: &Key,
        own: Option<&Event>,
        fetched: &Fetched,
    ) -> Result<(Vec<Answer>, Vec<Receipt>), String> {
        let at = self.request.at[miss.row];
        let tail = self.fetched(miss.row, key, own, fetched);
        let stored = Stored { base: None, tail: &tail };
        let complete_from = Micros(fetched.whole_from_us);
        let instant = Instant { at: Micros(at), own, complete_from };
        let wanted = self.aggregates_at(&miss.places);
        let plan = self.catalog.plan(self.lookup.group);
        let answers = read(plan, key.bytes(), stored, instant, &wanted, &LIMITS)
            .map_err(|damage| format!("the database's events cannot be folded: {damage}"))?;
        Ok((answers, self.receipts(key.bytes(), stored, instant, &wanted)))
    }

    /// The events that were fetched for a row, as records behind no base; without those after its
    /// instant.
    pub(super) fn fetched(
        &self,
        row: usize,
        key: &Key,
        own: Option<&Event>,
        fetched: &Fetched,
    ) -> Vec<u8> {
        let at = self.request.at[row];
        let is_exact = self.catalog.group(self.lookup.group).core.keep == Keep::Exact;
        // What comes after the instant would be the future, or trim what the frames hold. Partials
        // cannot tell what they hold; the request's own event is counted by itself.
        let counts =
            |time: i64, id: &Id| time <= at && (is_exact || own.is_none_or(|own| own.id != *id));
        records_of(self.catalog, self.lookup.group, key, fetched, counts)
    }
}

/// The events of a group that were fetched and of which time and id count, as records behind no
/// base.
pub(super) fn records_of(
    catalog: &Catalog,
    group: usize,
    key: &Key,
    fetched: &Fetched,
    counts: impl Fn(i64, &Id) -> bool,
) -> Vec<u8> {
    let group = catalog.group(group);
    let stream = &catalog.streams()[group.stream].stream;
    let rows = &fetched.rows;
    let times = rows.column(stream.event_time).as_primitive::<TimestampMicrosecondType>();
    let ids = rows.column(stream.id);
    let entering = group.evaluate(rows);
    let mut tail = Vec::new();
    let mut offset = 0;
    // The oldest first, as a log would have them.
    for place in (0..rows.num_rows()).rev() {
        let time = times.value(place);
        if time < fetched.whole_from_us || !entering.enters(place) {
            continue;
        }
        let id = id_at(ids, place, group.core.id);
        if !counts(time, &id) {
            continue;
        }
        let slots = entering.slots().iter().map(|slot| value_at(slot, place)).collect();
        offset += 1;
        let position = Position { source: NO_LOG, partition: 0, offset };
        record(key.bytes(), &Event { time, id, slots }, Some(position), &mut tail);
    }
    tail
}
