//! State of binned and lifetime groups: partials of what is old, and the youngest events still raw.
//!
//! ```text
//! body     oldest i64 LE │ newest i64 LE │ floor │ bins │ raw events │ recent ids │ admitted
//! floor    0 │ 1, sealed                                               see `state::bins`
//! recent   how many were ever sealed beyond them: 0 or 1 │ n varint
//!          │ (time zigzag, id), ascending
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
use super::bins::{Bins, Sealed, join};
use super::seen::{Ids, Seen};
use crate::codec::{
    Corrupt, Position, Reader, open, put_events, put_i64, put_id, put_u64, read_events, read_id,
    records, seal,
};
use crate::events::{Event, Events, Met};
use crate::group::Keep;
use crate::inspect::{Base, Partials, known};
use crate::plan::Plan;
use crate::value::Id;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

/// How many ids of sealed events a key remembers: 2 to 4 KiB, some minutes of a hot key's repeats.
pub(crate) const RECENT_IDS: usize = 256;

pub(crate) struct PartialState<'a> {
    /// The oldest event time ever taken in; `i64::MAX` before the first.
    oldest: i64,
    /// The newest event time ever taken in.
    pub(crate) newest: i64,
    pub(crate) floor: Option<Sealed>,
    pub(crate) bins: Bins<'a>,
    pub(crate) raw: Events,
    /// (time, id) of the newest sealed events, ascending.
    pub(crate) recent: VecDeque<(i64, Id)>,
    /// Whether ids of sealed events have been forgotten.
    pub(crate) forgot: bool,
    admitted: BTreeMap<(u32, u32), u64>,
}

impl<'a> PartialState<'a> {
    fn empty(plan: &Plan) -> PartialState<'a> {
        PartialState {
            oldest: i64::MAX,
            newest: i64::MIN,
            floor: None,
            bins: Bins::default(),
            raw: Events::new(&plan.group.slots),
            recent: VecDeque::new(),
            forgot: false,
            admitted: BTreeMap::new(),
        }
    }

    /// Decodes the base and takes in those records of the tail that are `settled`; the bytes of the
    /// others are put behind `kept`.
    pub(crate) fn load(
        plan: &Plan,
        key: &[u8],
        stored: Stored<'a>,
        settled: &dyn Fn(Position) -> bool,
        kept: &mut Vec<u8>,
    ) -> Result<(PartialState<'a>, Met), Corrupt> {
        let mut state = match stored.base {
            None => PartialState::empty(plan),
            Some(base) => {
                let body = open(plan.group.keep, key, base)?;
                PartialState::decode(plan, body).ok_or(Corrupt::Base)?
            }
        };
        let mut met = Met::default();
        if !stored.tail.is_empty() {
            let mut incoming = Vec::new();
            records(&plan.group, key, stored.tail, |record, bytes| {
                let position = record.position;
                if position.is_none_or(settled) {
                    incoming.push((record.event(), position));
                } else {
                    kept.extend_from_slice(bytes);
                }
            })?;
            state.put_in_order(&mut incoming);
            state.take_all(plan, incoming, &mut met).ok_or(Corrupt::Base)?;
        }
        Ok((state, met))
    }

    /// Puts records in the order of the log, unless each partition's are: a worker that went back
    /// to its checkpoint sends again what is in the tail, and before it may stand what it had sent
    /// to a store that lost the records between.
    fn put_in_order(&self, incoming: &mut [(Event, Option<Position>)]) {
        let mut tops: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let in_order = incoming.iter().filter_map(|(_, position)| *position).all(|position| {
            let partition = (position.source, position.partition);
            if self.admitted.get(&partition).is_some_and(|&top| position.offset <= top) {
                return true;
            }
            tops.insert(partition, position.offset).is_none_or(|top| top < position.offset)
        });
        if !in_order {
            incoming.sort_by_key(|(_, position)| *position);
        }
    }

    /// Takes records in, one after the other: what is sealed, and so which repeats are known,
    /// depends on their order. `None` if a bin that must be opened is damaged.
    fn take_all(
        &mut self,
        plan: &Plan,
        incoming: Vec<(Event, Option<Position>)>,
        met: &mut Met,
    ) -> Option<()> {
        let mut ids = Ids::of(incoming.iter().map(|(event, _)| event));
        for (id, &time) in self.raw.ids.iter().zip(&self.raw.times) {
            ids.mark(id, Seen::Raw { time });
        }
        self.recent.iter().for_each(|(_, id)| ids.mark(id, Seen::Recent));
        let mut taking = Taking { plan, ids, sealed: 0, met };
        for (event, position) in incoming {
            self.take(&mut taking, event, position)?;
        }
        let sealed = taking.sealed;
        self.raw.drop_front(sealed);
        Some(())
    }

    fn take(
        &mut self,
        taking: &mut Taking<'_>,
        event: Event,
        position: Option<Position>,
    ) -> Option<()> {
        let Some(position) = position else {
            taking.met.unpositioned += 1;
            return Some(());
        };
        let partition = (position.source, position.partition);
        if self.admitted.get(&partition).is_some_and(|&top| position.offset <= top) {
            taking.met.duplicates += 1;
            return Some(());
        }
        self.admitted.insert(partition, position.offset);
        let seen = taking.ids.get(&event.id);
        if seen == Seen::Recent {
            taking.met.duplicates += 1;
            return Some(());
        }
        // Judged as it comes: what is merely sealed after its bin has left is not late.
        let is_late = self.is_gone(taking.plan, event.time);
        self.newest = self.newest.max(event.time);
        self.oldest = self.oldest.min(event.time);
        if self.gives_way(taking, seen, &event) {
            let place = self.raw.place(taking.sealed, event.time, &event.id);
            taking.ids.mark(&event.id, Seen::Raw { time: event.time });
            self.raw.insert(place, event);
            taking.met.added += 1;
            taking.met.late += u64::from(is_late);
        }
        self.seal_old(taking)
    }

    /// Whether an event of this time is in a bin that no frame sees any more.
    fn is_gone(&self, plan: &Plan, time: i64) -> bool {
        let edge = self.newest.saturating_sub(plan.horizon_us);
        let binned = matches!(plan.group.keep, Keep::Binned { .. });
        time < edge && binned && !plan.unbounded && plan.bin(time) < plan.bin(edge)
    }

    /// Makes room for an event among the raw ones: takes out the one that has its id, if there is
    /// one that it beats. False if that one stays.
    fn gives_way(&mut self, taking: &mut Taking<'_>, seen: Seen, event: &Event) -> bool {
        let Seen::Raw { time } = seen else { return true };
        let held = self.raw.place(taking.sealed, time, &event.id);
        if self.raw.ids.get(held) != Some(&event.id) {
            return true;
        }
        match self.raw.rank_of(held, event) {
            Ordering::Equal => taking.met.duplicates += 1,
            Ordering::Greater => taking.met.conflicts += 1,
            Ordering::Less => {
                taking.met.conflicts += 1;
                self.raw.remove(held);
                return true;
            }
        }
        false
    }

    fn seal_old(&mut self, taking: &mut Taking<'_>) -> Option<()> {
        let plan = taking.plan;
        let young = self.newest.saturating_sub(plan.raw_us);
        while self.raw.times.get(taking.sealed).is_some_and(|&time| time < young) {
            self.seal_one(taking)?;
            taking.sealed += 1;
        }
        if let Keep::Binned { .. } = plan.group.keep {
            let edge = plan.bin(self.newest.saturating_sub(plan.horizon_us));
            while let Some(bin) = self.bins.pop_before(edge) {
                if plan.unbounded {
                    join(&mut self.floor, bin, plan)?;
                }
            }
        }
        Some(())
    }

    /// Seals the oldest raw event that is not sealed yet.
    fn seal_one(&mut self, taking: &mut Taking<'_>) -> Option<()> {
        let (plan, i) = (taking.plan, taking.sealed);
        let time = self.raw.times[i];
        self.remember(&mut taking.ids, (time, self.raw.ids[i].clone()));
        let bin = plan.bin(time);
        let edge = plan.bin(self.newest.saturating_sub(plan.horizon_us));
        if plan.group.keep == Keep::Lifetime || (bin < edge && plan.unbounded) {
            let floor = self.floor.get_or_insert_with(|| Sealed::empty(plan));
            floor.add(plan, &self.raw, i);
        } else if bin >= edge {
            self.bins.open(plan, bin)?.add(plan, &self.raw, i);
        }
        Some(())
    }

    fn remember(&mut self, ids: &mut Ids, sealed: (i64, Id)) {
        ids.mark(&sealed.1, Seen::Recent);
        let place = self.recent.partition_point(|other| *other < sealed);
        self.recent.insert(place, sealed);
        if self.recent.len() > RECENT_IDS {
            if let Some((_, id)) = self.recent.pop_front() {
                ids.mark(&id, Seen::Nowhere);
            }
            self.forgot = true;
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

    /// What is there, for a person; `None` if a bin's bytes are no bin.
    pub(crate) fn show(&self, plan: &Plan) -> Option<Base> {
        let bins = self.bins.within(i64::MIN, i64::MAX).map(|(start, bin)| {
            let (newest_us, events) = bin.head()?;
            Some(Partials { start_us: *start, newest_us, events })
        });
        let floor = self.floor.as_ref().map(|floor| Partials {
            start_us: i64::MIN,
            newest_us: floor.newest,
            events: floor.events,
        });
        let admitted = self.admitted.iter().map(|(&(source, partition), &offset)| Position {
            source,
            partition,
            offset,
        });
        Some(Base {
            events: self.raw.all(),
            bins: bins.collect::<Option<_>>()?,
            floor,
            oldest_us: known(self.oldest),
            newest_us: known(self.newest),
            whole_from_us: known(self.whole_from(plan)),
            recent_ids: self.recent.len(),
            admitted: admitted.collect(),
            ..Base::default()
        })
    }

    pub(crate) fn base(&self, plan: &Plan, key: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(&self.oldest.to_le_bytes());
        body.extend_from_slice(&self.newest.to_le_bytes());
        body.push(u8::from(self.floor.is_some()));
        self.floor.iter().for_each(|floor| floor.put(&mut body));
        self.bins.put(&mut body);
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

    fn decode(plan: &Plan, body: &'a [u8]) -> Option<PartialState<'a>> {
        let mut input = Reader::new(body);
        let mut state = PartialState::empty(plan);
        state.oldest = i64::from_le_bytes(input.array()?);
        state.newest = i64::from_le_bytes(input.array()?);
        state.floor = match input.byte()? {
            0 => None,
            1 => Some(Sealed::read(plan, &mut input)?),
            _ => return None,
        };
        state.bins = Bins::read(&mut input)?;
        state.raw = read_events(&plan.group, &mut input, &|_| true)?;
        state.forgot = match input.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        for _ in 0..input.count(2)? {
            state.recent.push_back((input.i64()?, read_id(&mut input, plan.group.id)?));
        }
        for _ in 0..input.count(3)? {
            let source = u32::try_from(input.u64()?).ok()?;
            let partition = u32::try_from(input.u64()?).ok()?;
            state.admitted.insert((source, partition), input.u64()?);
        }
        input.is_empty().then_some(state)
    }
}

/// What goes along while the records of a tail are taken in.
struct Taking<'t> {
    plan: &'t Plan,
    ids: Ids,
    /// So many of the first raw events are sealed; they are dropped together at the end.
    sealed: usize,
    met: &'t mut Met,
}
