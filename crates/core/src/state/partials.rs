//! State of binned and lifetime groups: partials of what is old, and the youngest events still raw.
//!
//! ```text
//! body     oldest i64 LE │ newest i64 LE │ floor │ bins │ raw events │ recent ids │ admitted
//! floor    0 │ 1, newest zigzag, events varint, partial, partial, …       one partial a measure
//! bins     n varint │ (start zigzag, newest zigzag, events varint, partial, …), ascending
//! recent   how many were ever sealed beyond them: 0 or 1 │ n varint │ (time zigzag, id), ascending
//! admitted n varint │ (source, partition, offset varints), ascending
//! ```
//!
//! The life of an event: it enters `raw`; when it is older than the newest by more than `raw_us` it
//! is sealed into its bin, or into the floor where there are no bins; its id stays among the recent
//! ones for a while; its bin leaves the horizon and is dropped, or falls into the floor if a frame
//! is unbounded.
//!
//! Ids cannot all be kept, so two other rules keep an event from counting twice: a record at or
//! below its partition's admitted offset is a redelivery, and an id among the raw or recent ones is
//! a producer's repeat. A repeat that comes after [`RECENT_IDS`] newer events of its key have been
//! sealed is counted again: that is the documented bound.

use super::Stored;
use crate::aggregate::Partial;
use crate::codec::{
    Corrupt, Position, Reader, open, put_events, put_i64, put_id, put_u64, read_events, read_id,
    records, seal,
};
use crate::events::{Event, Events, Met};
use crate::group::Keep;
use crate::plan::Plan;
use crate::value::Id;
use std::collections::{BTreeMap, BTreeSet};

/// How many ids of sealed events a key remembers: 2 to 4 KiB, some minutes of a hot key's repeats.
pub(crate) const RECENT_IDS: usize = 256;

/// Partials of sealed events: of one bin, or of all that is older than the bins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    /// The newest event time in it.
    pub(crate) newest: i64,
    /// How many events it holds.
    pub(crate) events: u64,
    pub(crate) partials: Vec<Partial>,
}

pub(crate) struct PartialState {
    /// The oldest event time ever taken in; `i64::MAX` before the first.
    oldest: i64,
    /// The newest event time ever taken in.
    pub(crate) newest: i64,
    pub(crate) floor: Option<Sealed>,
    pub(crate) bins: BTreeMap<i64, Sealed>,
    pub(crate) raw: Events,
    /// (time, id) of the newest sealed events.
    pub(crate) recent: BTreeSet<(i64, Id)>,
    /// Whether ids of sealed events have been forgotten.
    pub(crate) forgot: bool,
    admitted: BTreeMap<(u32, u32), u64>,
}

impl PartialState {
    fn empty(plan: &Plan) -> PartialState {
        PartialState {
            oldest: i64::MAX,
            newest: i64::MIN,
            floor: None,
            bins: BTreeMap::new(),
            raw: Events::new(&plan.group.slots),
            recent: BTreeSet::new(),
            forgot: false,
            admitted: BTreeMap::new(),
        }
    }

    pub(crate) fn load(
        plan: &Plan,
        key: &[u8],
        stored: Stored<'_>,
    ) -> Result<(PartialState, Met), Corrupt> {
        let mut state = match stored.base {
            None => PartialState::empty(plan),
            Some(base) => {
                let body = open(plan.group.keep, key, base)?;
                PartialState::decode(plan, body).ok_or(Corrupt::Base)?
            }
        };
        let mut met = Met::default();
        records(&plan.group, key, stored.tail, |event, position| {
            state.take(plan, event, position, &mut met);
        })?;
        Ok((state, met))
    }

    fn take(&mut self, plan: &Plan, event: Event, position: Option<Position>, met: &mut Met) {
        let Some(position) = position else {
            met.unpositioned += 1;
            return;
        };
        let partition = (position.source, position.partition);
        if self.admitted.get(&partition).is_some_and(|&top| position.offset <= top) {
            met.duplicates += 1;
            return;
        }
        self.admitted.insert(partition, position.offset);
        if self.recent.iter().any(|(_, id)| *id == event.id) {
            met.duplicates += 1;
            return;
        }
        self.newest = self.newest.max(event.time);
        self.oldest = self.oldest.min(event.time);
        let mut one = Events::new(&plan.group.slots);
        one.push(event.time, event.id, &event.slots);
        let raw = std::mem::replace(&mut self.raw, Events::new(&[]));
        let (raw, found) = raw.merge(one);
        self.raw = raw;
        met.duplicates += found.duplicates;
        met.conflicts += found.conflicts;
        met.added += found.added;
        self.seal_old(plan, met);
    }

    fn seal_old(&mut self, plan: &Plan, met: &mut Met) {
        let old = self.raw.before(self.newest.saturating_sub(plan.raw_us));
        for i in 0..old {
            self.seal_one(plan, i, met);
        }
        if old > 0 {
            self.raw.drop_front(old);
        }
        if let Keep::Binned { .. } = plan.group.keep {
            let edge = plan.bin(self.newest.saturating_sub(plan.horizon_us));
            while let Some(bin) = self.bins.first_entry().filter(|bin| *bin.key() < edge) {
                let sealed = bin.remove();
                if plan.unbounded {
                    self.floor = Some(join(self.floor.take(), sealed));
                }
            }
        }
    }

    fn seal_one(&mut self, plan: &Plan, i: usize, met: &mut Met) {
        let time = self.raw.times[i];
        self.recent.insert((time, self.raw.ids[i].clone()));
        if self.recent.len() > RECENT_IDS {
            self.recent.pop_first();
            self.forgot = true;
        }
        let mut sealed = Sealed { newest: time, events: 1, partials: Vec::new() };
        for measure in &plan.measures {
            let mut partial = Partial::empty(&plan.group, measure);
            partial.add(measure, &self.raw, i);
            sealed.partials.push(partial);
        }
        let bin = plan.bin(time);
        let edge = plan.bin(self.newest.saturating_sub(plan.horizon_us));
        if plan.group.keep == Keep::Lifetime || (bin < edge && plan.unbounded) {
            self.floor = Some(join(self.floor.take(), sealed));
        } else if bin >= edge {
            let held = self.bins.remove(&bin);
            self.bins.insert(bin, join(held, sealed));
        } else {
            met.late += 1;
        }
    }

    /// Event times from here on are whole for bounded frames; `i64::MIN` if nothing has ever left.
    pub(crate) fn whole_from(&self, plan: &Plan) -> i64 {
        let edge = plan.bin(self.newest.saturating_sub(plan.horizon_us));
        if plan.group.keep != Keep::Lifetime && self.oldest < edge { edge } else { i64::MIN }
    }

    /// Bins, floor and raw events, for the metrics.
    pub(crate) fn held(&self) -> usize {
        self.bins.len() + usize::from(self.floor.is_some()) + self.raw.len()
    }

    pub(crate) fn base(&self, plan: &Plan, key: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.newest.to_le_bytes());
        body.push(u8::from(self.floor.is_some()));
        self.floor.iter().for_each(|floor| put_sealed(&mut body, floor));
        put_u64(&mut body, self.bins.len() as u64);
        for (start, sealed) in &self.bins {
            put_i64(&mut body, *start);
            put_sealed(&mut body, sealed);
        }
        put_events(&mut body, &self.raw);
        body.push(u8::from(self.forgot));
        put_u64(&mut body, self.recent.len() as u64);
        for (time, id) in &self.recent {
            put_i64(&mut body, *time);
            put_id(&mut body, id);
        }
        put_u64(&mut body, self.admitted.len() as u64);
        for ((source, partition), offset) in &self.admitted {
            put_u64(&mut body, u64::from(*source));
            put_u64(&mut body, u64::from(*partition));
            put_u64(&mut body, *offset);
        }
        seal(plan.group.keep, key, &body)
    }

    fn decode(plan: &Plan, body: &[u8]) -> Option<PartialState> {
        let mut input = Reader::new(body);
        let mut state = PartialState::empty(plan);
        state.oldest = i64::from_le_bytes(input.array()?);
        state.newest = i64::from_le_bytes(input.array()?);
        state.floor = match input.byte()? {
            0 => None,
            1 => Some(read_sealed(plan, &mut input)?),
            _ => return None,
        };
        for _ in 0..input.count(1)? {
            let start = input.i64()?;
            if state.bins.last_key_value().is_some_and(|(&last, _)| last >= start) {
                return None;
            }
            state.bins.insert(start, read_sealed(plan, &mut input)?);
        }
        state.raw = read_events(&plan.group, &mut input, &|_| true)?;
        state.forgot = match input.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        for _ in 0..input.count(1)? {
            state.recent.insert((input.i64()?, read_id(&mut input, plan.group.id)?));
        }
        for _ in 0..input.count(1)? {
            let source = u32::try_from(input.u64()?).ok()?;
            let partition = u32::try_from(input.u64()?).ok()?;
            state.admitted.insert((source, partition), input.u64()?);
        }
        input.is_empty().then_some(state)
    }
}

fn join(held: Option<Sealed>, more: Sealed) -> Sealed {
    let Some(mut held) = held else { return more };
    held.newest = held.newest.max(more.newest);
    held.events = held.events.saturating_add(more.events);
    held.partials.iter_mut().zip(&more.partials).for_each(|(a, b)| a.merge(b));
    held
}

fn put_sealed(out: &mut Vec<u8>, sealed: &Sealed) {
    put_i64(out, sealed.newest);
    put_u64(out, sealed.events);
    sealed.partials.iter().for_each(|partial| partial.put(out));
}

fn read_sealed(plan: &Plan, input: &mut Reader<'_>) -> Option<Sealed> {
    let (newest, events) = (input.i64()?, input.u64()?);
    let partials = plan.measures.iter().map(|m| Partial::read(&plan.group, m, input));
    Some(Sealed { newest, events, partials: partials.collect::<Option<_>>()? })
}
