//! A key's events in columns: times, ids and slots, ordered by (event time, id), each id once.

use crate::column::Column;
use crate::value::{Id, Kind, Value};
use std::cmp::Ordering;

/// One event as a group needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Event time, microseconds since 1970.
    pub time: i64,
    /// Its identity.
    pub id: Id,
    /// One value per slot of the group.
    pub slots: Vec<Value>,
}

/// Events in columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// Event times, microseconds since 1970.
    pub times: Vec<i64>,
    /// Event ids.
    pub ids: Vec<Id>,
    /// One column per slot.
    pub slots: Vec<Column>,
}

/// What a merge or a fold met, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Events that are new in the state.
    pub added: u64,
    /// Events that were there already, with equal content.
    pub duplicates: u64,
    /// Events that came with an id that was there with other content.
    pub conflicts: u64,
    /// Events that were too old for every frame, lateness included, when they came.
    pub late: u64,
    /// Records that a group without ids refused because they carry no position.
    pub unpositioned: u64,
}

impl Events {
    /// No events, for a group with these slots.
    pub fn new(slots: &[Kind]) -> Events {
        Events::with_capacity(slots, 0)
    }

    /// The same with room for `n` events.
    pub(crate) fn with_capacity(slots: &[Kind], n: usize) -> Events {
        Events {
            times: Vec::with_capacity(n),
            ids: Vec::with_capacity(n),
            slots: slots.iter().map(|kind| Column::with_capacity(kind, n)).collect(),
        }
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// All of them, one by one.
    pub(crate) fn all(&self) -> Vec<Event> {
        let event = |i: usize| Event {
            time: self.times[i],
            id: self.ids[i].clone(),
            slots: self.slots.iter().map(|column| column.value(i)).collect(),
        };
        (0..self.len()).map(event).collect()
    }

    /// Appends an event without looking at order or identity; [`Events::normalise`] or
    /// [`Events::merge`] comes after.
    pub fn push(&mut self, time: i64, id: Id, slots: &[Value]) {
        self.times.push(time);
        self.ids.push(id);
        for (column, value) in self.slots.iter_mut().zip(slots) {
            column.push(value);
        }
    }

    /// The order of events: (event time, id).
    fn order(&self, i: usize, other: &Events, j: usize) -> Ordering {
        self.times[i].cmp(&other.times[j]).then_with(|| self.ids[i].cmp(&other.ids[j]))
    }

    /// The order that settles which of two events with one id counts, the one here at `i` or that
    /// of `other` at `j`: (event time, slots). The last counts.
    pub fn rank(&self, i: usize, other: &Events, j: usize) -> Ordering {
        let slots = || {
            let pairs = self.slots.iter().zip(&other.slots);
            pairs.map(|(a, b)| a.compare(i, b, j)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        };
        self.times[i].cmp(&other.times[j]).then_with(slots)
    }

    /// The events at `places`, in that order.
    pub fn gather(&self, places: &[u32]) -> Events {
        Events {
            times: places.iter().map(|&i| self.times[i as usize]).collect(),
            ids: places.iter().map(|&i| self.ids[i as usize].clone()).collect(),
            slots: self.slots.iter().map(|column| column.gather(places)).collect(),
        }
    }

    /// Orders the events and leaves each id once: of two with one id the one that sorts last by
    /// (event time, slots) stays.
    ///
    /// Last and not first, because trimming keeps the newest: a winner that has been trimmed has no
    /// loser left in the state, so what remains is a function of the set of events, whatever came
    /// when.
    pub fn normalise(self) -> (Events, Met) {
        let empty = Events {
            times: Vec::new(),
            ids: Vec::new(),
            slots: self.slots.iter().map(|c| Column::new(c.kind())).collect(),
        };
        empty.merge(self)
    }

    /// Adds `more`, in any order and with repeats, to these events, which are ordered and unique.
    pub fn merge(self, more: Events) -> (Events, Met) {
        self.merge_telling(more, &mut |_, _| {})
    }

    /// As [`Events::merge`], and tells `beaten` of each event that gives way to another with its id
    /// and other content.
    pub(crate) fn merge_telling(
        mut self,
        more: Events,
        beaten: &mut dyn FnMut(&Events, usize),
    ) -> (Events, Met) {
        let mut met = Met::default();
        if more.is_empty() {
            return (self, met);
        }
        let mut newcomers = unique(&more, &mut met, beaten);
        let losers = self.settle(&more, &mut newcomers, &mut met, beaten);
        met.added = newcomers.len() as u64;
        newcomers.sort_unstable_by(|&a, &b| more.order(a as usize, &more, b as usize));
        // As most tails are that no compaction has seen yet: each event once, and in order.
        let is_whole = newcomers.len() == more.len() && newcomers.is_sorted();
        if self.is_empty() && is_whole {
            return (more, met);
        }
        let in_order = losers.is_empty()
            && newcomers.first().is_none_or(|&first| {
                self.is_empty() || self.order(self.len() - 1, &more, first as usize).is_lt()
            });
        let behind = self.len();
        let kept = (0..behind as u32).filter(|i| losers.binary_search(i).is_err());
        let kept: Vec<u32> = if in_order { Vec::new() } else { kept.collect() };
        self.extend(&more, &newcomers);
        if in_order {
            return (self, met);
        }
        let added: Vec<u32> = (behind as u32..self.len() as u32).collect();
        let places = interleave(&kept, &added, |a, b| self.order(a as usize, &self, b as usize));
        (self.gather(&places), met)
    }

    fn extend(&mut self, more: &Events, places: &[u32]) {
        for &i in places {
            self.times.push(more.times[i as usize]);
            self.ids.push(more.ids[i as usize].clone());
        }
        for (column, other) in self.slots.iter_mut().zip(&more.slots) {
            for &i in places {
                column.push(&other.value(i as usize));
            }
        }
    }

    /// Of newcomers (sorted by id) whose id is here already, drops those that lose, and returns the
    /// places here that lose.
    fn settle(
        &self,
        more: &Events,
        newcomers: &mut Vec<u32>,
        met: &mut Met,
        beaten: &mut dyn FnMut(&Events, usize),
    ) -> Vec<u32> {
        let mut losers = Vec::new();
        let mut stays = vec![true; newcomers.len()];
        for (i, id) in self.ids.iter().enumerate() {
            let found = newcomers.binary_search_by(|&j| more.ids[j as usize].cmp(id));
            let Ok(at) = found else { continue };
            match more.rank(newcomers[at] as usize, self, i) {
                Ordering::Equal => {
                    met.duplicates += 1;
                    stays[at] = false;
                }
                Ordering::Less => {
                    met.conflicts += 1;
                    beaten(more, newcomers[at] as usize);
                    stays[at] = false;
                }
                Ordering::Greater => {
                    met.conflicts += 1;
                    beaten(self, i);
                    losers.push(i as u32);
                }
            }
        }
        let mut stays = stays.into_iter();
        newcomers.retain(|_| stays.next().unwrap_or(true));
        losers
    }

    /// Place of the event with this id, if it is here.
    pub fn find(&self, id: &Id) -> Option<usize> {
        self.ids.iter().position(|other| other == id)
    }

    /// Puts `event` in at its place, instead of the one that has its id, and returns the place and
    /// whether one was replaced.
    pub fn put(&mut self, event: &Event) -> (usize, bool) {
        let replaced = self.find(&event.id);
        if let Some(old) = replaced {
            self.remove(old);
        }
        let place = self.place(0, event.time, &event.id);
        self.insert(place, event.clone());
        (place, replaced.is_some())
    }

    /// Where an event of this time and id stands or would stand, among those from place `from` on.
    pub(crate) fn place(&self, from: usize, time: i64, id: &Id) -> usize {
        let first = from + self.times[from..].partition_point(|&t| t < time);
        let ties = self.times[first..].partition_point(|&t| t == time);
        first + self.ids[first..first + ties].partition_point(|other| other < id)
    }

    pub(crate) fn insert(&mut self, place: usize, event: Event) {
        self.times.insert(place, event.time);
        self.ids.insert(place, event.id);
        for (column, value) in self.slots.iter_mut().zip(&event.slots) {
            column.insert(place, value);
        }
    }

    /// How the event at `i` ranks against another one with its id.
    pub(crate) fn rank_of(&self, i: usize, other: &Event) -> Ordering {
        let slots = || {
            let pairs = self.slots.iter().zip(&other.slots);
            pairs.map(|(a, b)| a.compare_to(i, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        };
        self.times[i].cmp(&other.time).then_with(slots)
    }

    pub(crate) fn remove(&mut self, i: usize) {
        self.times.remove(i);
        self.ids.remove(i);
        for column in &mut self.slots {
            column.remove(i);
        }
    }

    /// Drops the first `n` events.
    pub(crate) fn drop_front(&mut self, n: usize) {
        self.times.drain(..n);
        self.ids.drain(..n);
        for column in &mut self.slots {
            column.drop_front(n);
        }
    }

    /// How many events have a time before `time`.
    pub fn before(&self, time: i64) -> usize {
        self.times.partition_point(|&t| t < time)
    }

    /// How many events have a time at or before `time`.
    pub fn until(&self, time: i64) -> usize {
        self.times.partition_point(|&t| t <= time)
    }

    /// The event at place `i`.
    pub fn event(&self, i: usize) -> Event {
        Event {
            time: self.times[i],
            id: self.ids[i].clone(),
            slots: self.slots.iter().map(|column| column.value(i)).collect(),
        }
    }
}

/// Places of one event per id, the winner of each, sorted by id.
fn unique(events: &Events, met: &mut Met, beaten: &mut dyn FnMut(&Events, usize)) -> Vec<u32> {
    let mut places: Vec<u32> = (0..events.len() as u32).collect();
    if places.len() > 1 {
        places.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            events.ids[a].cmp(&events.ids[b]).then_with(|| events.rank(b, events, a))
        });
        places.dedup_by(|next, first| {
            let (next, first) = (*next as usize, *first as usize);
            let same = events.ids[next] == events.ids[first];
            if same && events.rank(next, events, first).is_eq() {
                met.duplicates += 1;
            } else if same {
                met.conflicts += 1;
                beaten(events, next);
            }
            same
        });
    }
    places
}

fn interleave(a: &[u32], b: &[u32], order: impl Fn(u32, u32) -> Ordering) -> Vec<u32> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if order(a[i], b[j]).is_le() {
            out.push(a[i]);
            i += 1;
        } else {
            out.push(b[j]);
            j += 1;
        }
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}
