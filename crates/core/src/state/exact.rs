//! Exact state: the set of a key's events, trimmed.
//!
//! What trimming keeps is a suffix of the order of times: events not older than the newest less the
//! horizon, and the newest n + 1 for ROWS frames, whatever their age; of these the newest that
//! weigh no more than the bound on bytes. Both edges only ever move on as the set of events grows,
//! so an event that was trimmed once would be trimmed from any larger set too: the state is a
//! function of the set of events. From when it is whole follows from the oldest event time ever
//! seen, and from the edge of the bound, which are functions of the set as well.
//!
//! That the edge of the bound only moves on takes care of two kinds. Events of one time go
//! together, or which of them stay would depend on what came when. And of two events with one id
//! and different content the one that loses goes on weighing, as one of the *beaten*, until the
//! edges pass it: were its weight given back to events that have gone already, they would be
//! missed.
//!
//! ```text
//! body    oldest i64 LE │ cut from i64 LE │ events │ beaten │ [ vouch ]
//! beaten  n varint │ (time zigzag, hash u64 LE, weight varint), ascending
//! vouch   from i64 LE │ as of i64 LE               where a fill has left its word (`fill`)
//! ```

use super::{Limits, Stored, Vouch};
use crate::codec::{
    Corrupt, Reader, Record, hash_of, open, put_events, put_i64, put_u64, read_events, records,
    seal, weight, weight_at_most,
};
use crate::events::{Events, Met};
use crate::inspect::{Base, known};
use crate::plan::Plan;
use crate::value::Micros;
use std::collections::BTreeSet;

/// What one of the beaten takes in a base beside the weight of its event, in bytes.
const BEATEN_BYTES: u64 = 19;

/// Bytes of a short record: what room is made for before a tail is read.
const RECORD_BYTES: usize = 24;

/// An event that has given way to another with its id: what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Beaten {
    time: i64,
    /// Of id and content, so that a repeat weighs once.
    hash: u64,
    weight: u64,
}

pub(crate) struct ExactState {
    pub(crate) events: Events,
    beaten: BTreeSet<Beaten>,
    /// The oldest event time ever seen; `i64::MAX` before the first.
    oldest: i64,
    /// The edge of the bound on bytes, if it is beyond that of the horizon: events before it have
    /// gone. `i64::MIN` if not.
    cut_from: i64,
    /// Whether the bound on bytes was hit now.
    pub(crate) cut: bool,
    /// The word of the fill that stands.
    pub(super) vouch: Option<Vouch>,
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
        let mut state = match stored.base {
            None => ExactState {
                events: Events::new(&plan.group.slots),
                beaten: BTreeSet::new(),
                oldest: i64::MAX,
                cut_from: i64::MIN,
                cut: false,
                vouch: None,
            },
            Some(base) => {
                let body = open(plan.group.keep, key, base)?;
                decode(plan, body, &|slot| all || needed(slot)).ok_or(Corrupt::Base)?
            }
        };
        let mut met = Met::default();
        // A base is as trimming left it.
        if all {
            met = state.take(plan, key, stored.tail)?;
            state.trim(plan, limits);
        }
        Ok((state, met))
    }

    fn take(&mut self, plan: &Plan, key: &[u8], tail: &[u8]) -> Result<Met, Corrupt> {
        let mut more = Events::with_capacity(&plan.group.slots, tail.len() / RECORD_BYTES);
        let mut newest = self.events.times.last().copied().unwrap_or(i64::MIN);
        let mut late = 0;
        records(&plan.group, key, tail, |Record { time, id, slots, .. }, _| {
            self.oldest = self.oldest.min(time);
            late += u64::from(self.is_late(plan, &more, newest, time));
            newest = newest.max(time);
            if time >= self.cut_from {
                more.push(time, id, slots);
            }
        })?;
        let events = std::mem::replace(&mut self.events, Events::new(&[]));
        let (events, mut met) = events.merge_telling(more, &mut |events, i| {
            let (time, weight) = (events.times[i], weight(events, i) + BEATEN_BYTES);
            self.beaten.insert(Beaten { time, hash: hash_of(events, i), weight });
        });
        self.events = events;
        met.late += late;
        Ok(met)
    }

    /// Whether an event of this time comes when nothing can see it any more. Those `before` it in
    /// the tail have come already, and the `newest` of all is known. What is merely folded after
    /// it has left every frame is not late, so trimming cannot tell; a repeat of what has gone is.
    fn is_late(&self, plan: &Plan, before: &Events, newest: i64, time: i64) -> bool {
        if time < self.cut_from {
            return true;
        }
        if time >= newest.saturating_sub(plan.horizon_us) {
            return false;
        }
        let here = self.events.len() - self.events.until(time);
        let wanted = plan.newest_rows.saturating_sub(here);
        let newer = before.times.iter().rev().filter(|&&other| other > time);
        newer.take(wanted).count() == wanted
    }

    fn trim(&mut self, plan: &Plan, limits: &Limits) {
        let Some(&newest) = self.events.times.last() else { return };
        let edge = newest.saturating_sub(plan.horizon_us);
        let horizon = match plan.newest_rows {
            0 => edge,
            // Ties stay or go together, so that the oldest time here tells whether anything has
            // gone.
            rows => match self.events.len().checked_sub(rows) {
                Some(first) => edge.min(self.events.times[first]),
                None => i64::MIN,
            },
        };
        self.drop_before(horizon);
        if self.cut_from <= horizon {
            self.cut_from = i64::MIN;
        }
        if let Some(from) = self.outgrown(limits.max_bytes as u64) {
            self.drop_before(from);
            self.cut_from = from;
            self.cut = true;
        }
    }

    /// Drops what is older than `time`.
    fn drop_before(&mut self, time: i64) {
        self.events.drop_front(self.events.before(time));
        self.beaten = self.beaten.split_off(&Beaten { time, hash: 0, weight: 0 });
    }

    /// The least time from which on all events, the beaten among them, weigh at most `max_bytes`;
    /// `None` if all do.
    fn outgrown(&self, max_bytes: u64) -> Option<i64> {
        let beaten = self.beaten.iter().map(|beaten| beaten.weight).sum::<u64>();
        if weight_at_most(&self.events) + beaten <= max_bytes {
            return None;
        }
        let events = (0..self.events.len()).rev();
        let mut events = events.map(|i| (self.events.times[i], weight(&self.events, i))).peekable();
        let mut beaten = self.beaten.iter().rev().map(|b| (b.time, b.weight)).peekable();
        let mut sum = 0;
        loop {
            let newer = match (events.peek(), beaten.peek()) {
                (Some(event), Some(other)) if event.0 < other.0 => beaten.next(),
                (None, _) => beaten.next(),
                _ => events.next(),
            };
            let (time, weight) = newer?;
            sum += weight;
            if sum > max_bytes {
                return Some(time.saturating_add(1));
            }
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

    /// What is there, for a person.
    pub(crate) fn show(&self, plan: &Plan) -> Base {
        Base {
            events: self.events.all(),
            beaten: self.beaten.len(),
            oldest_us: known(self.oldest),
            newest_us: self.events.times.last().copied(),
            whole_from_us: known(self.whole_from(plan)),
            vouch: self.vouch,
            ..Base::default()
        }
    }

    pub(crate) fn base(&self, plan: &Plan, key: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(32 + 16 * self.events.len());
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.cut_from.to_le_bytes());
        put_events(&mut body, &self.events);
        put_u64(&mut body, self.beaten.len() as u64);
        for beaten in &self.beaten {
            put_i64(&mut body, beaten.time);
            body.extend_from_slice(&beaten.hash.to_le_bytes());
            put_u64(&mut body, beaten.weight);
        }
        if let Some(Vouch { from, as_of }) = self.vouch {
            body.extend_from_slice(&from.0.to_le_bytes());
            body.extend_from_slice(&as_of.0.to_le_bytes());
        }
        seal(plan.group.keep, key, &body)
    }
}

fn decode(plan: &Plan, body: &[u8], needed: &dyn Fn(usize) -> bool) -> Option<ExactState> {
    let mut input = Reader::new(body);
    let oldest = i64::from_le_bytes(input.array()?);
    let cut_from = i64::from_le_bytes(input.array()?);
    let events = read_events(&plan.group, &mut input, needed)?;
    let mut beaten = BTreeSet::new();
    // A time, a hash and a weight.
    for _ in 0..input.count(10)? {
        let time = input.i64()?;
        let hash = u64::from_le_bytes(input.array()?);
        // A record is far below 4 GiB; weights of that size would overflow nothing but good sense.
        let weight = u64::from(u32::try_from(input.u64()?).ok()?);
        beaten.insert(Beaten { time, hash, weight });
    }
    let vouch = match input.is_empty() {
        true => None,
        false => {
            let from = Micros(i64::from_le_bytes(input.array()?));
            let as_of = Micros(i64::from_le_bytes(input.array()?));
            Some(Vouch { from, as_of })
        }
    };
    let state = ExactState { events, beaten, oldest, cut_from, cut: false, vouch };
    input.is_empty().then_some(state)
}
