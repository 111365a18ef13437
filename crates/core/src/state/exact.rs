//! Exact state: the set of a key's events, trimmed.
//!
//! What trimming keeps is a suffix of the (time, id) order: events not older than the newest less
//! the horizon, and the newest n + 1 for ROWS frames, whatever their age. Since the newest time
//! only grows, an event that was trimmed once would be trimmed from any larger set too: the state
//! is a function of the set of events. From when it is whole follows from the oldest event time
//! ever seen, which is one too.
//!
//! ```text
//! body  oldest i64 LE │ cut from i64 LE │ events
//! ```

use super::{Limits, Stored};
use crate::codec::{Corrupt, Reader, open, put_events, read_events, records, seal};
use crate::events::{Events, Met};
use crate::plan::Plan;

pub(crate) struct ExactState {
    pub(crate) events: Events,
    /// The oldest event time ever seen; `i64::MAX` before the first.
    oldest: i64,
    /// Event times from here on are whole as far as the bound on events goes; `i64::MIN` if it was
    /// never hit.
    cut_from: i64,
    /// Whether the bound on events was hit now.
    pub(crate) cut: bool,
}

impl ExactState {
    /// Decodes the base and takes in the tail; of the slots only those `needed`, unless the tail
    /// holds records (whose conflicts are settled by all slots).
    pub(crate) fn load(
        plan: &Plan,
        key: &[u8],
        stored: Stored<'_>,
        limits: &Limits,
        needed: &dyn Fn(usize) -> bool,
    ) -> Result<(ExactState, Met), Corrupt> {
        let all = !stored.tail.is_empty();
        let (events, oldest, cut_from) = match stored.base {
            None => (Events::new(&plan.group.slots), i64::MAX, i64::MIN),
            Some(base) => {
                let body = open(plan.group.keep, key, base)?;
                decode(plan, body, &|slot| all || needed(slot)).ok_or(Corrupt::Base)?
            }
        };
        let mut state = ExactState { events, oldest, cut_from, cut: false };
        let mut met = Met::default();
        if all {
            let mut more = Events::new(&plan.group.slots);
            records(&plan.group, key, stored.tail, |event, _| {
                state.oldest = state.oldest.min(event.time);
                more.push(event.time, event.id, &event.slots);
            })?;
            let events = std::mem::replace(&mut state.events, Events::new(&[]));
            (state.events, met) = events.merge(more);
        }
        state.trim(plan, limits, &mut met);
        Ok((state, met))
    }

    fn trim(&mut self, plan: &Plan, limits: &Limits, met: &mut Met) {
        let Some(&newest) = self.events.times.last() else { return };
        let edge = newest.saturating_sub(plan.horizon_us);
        let rows = self.events.len().saturating_sub(plan.newest_rows);
        // Ties stay or go together, so that the oldest time here tells whether anything has gone.
        let rows = self.events.times.get(rows).map_or(rows, |&time| self.events.before(time));
        let old = self.events.before(edge).min(rows);
        if old > 0 {
            self.events.drop_front(old);
            met.late += (old as u64).min(met.added);
        }
        if let Some(over) = self.events.len().checked_sub(limits.max_events.max(1))
            && over > 0
        {
            self.cut_from = self.cut_from.max(self.events.times[over - 1].saturating_add(1));
            self.events.drop_front(over);
            self.cut = true;
        }
    }

    /// Event times from here on are whole; `i64::MIN` if nothing has ever left.
    pub(crate) fn whole_from(&self, plan: &Plan) -> i64 {
        let trimmed = self.trimmed_before(plan).unwrap_or(i64::MIN);
        trimmed.max(self.cut_from)
    }

    /// Whether an event may have left that came before all those here: ROWS frames cannot reach
    /// behind them.
    pub(crate) fn has_lost_rows(&self, plan: &Plan) -> bool {
        // Trimming leaves the newest rows, so with fewer than those nothing has left.
        let trimmed = self.trimmed_before(plan).is_some();
        trimmed && self.events.len() >= plan.newest_rows || self.cut_from > i64::MIN
    }

    /// The time before which events may have been trimmed, if one that old was ever seen and is not
    /// here.
    fn trimmed_before(&self, plan: &Plan) -> Option<i64> {
        let (first, newest) = (self.events.times.first()?, self.events.times.last()?);
        let edge = newest.saturating_sub(plan.horizon_us);
        (self.oldest < *first && self.oldest < edge).then_some(edge)
    }

    pub(crate) fn base(&self, plan: &Plan, key: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + 16 * self.events.len());
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.cut_from.to_le_bytes());
        put_events(&mut body, &self.events);
        seal(plan.group.keep, key, &body)
    }
}

fn decode(plan: &Plan, body: &[u8], needed: &dyn Fn(usize) -> bool) -> Option<(Events, i64, i64)> {
    let mut input = Reader::new(body);
    let oldest = i64::from_le_bytes(input.array()?);
    let cut_from = i64::from_le_bytes(input.array()?);
    let events = read_events(&plan.group, &mut input, needed)?;
    input.is_empty().then_some((events, oldest, cut_from))
}
