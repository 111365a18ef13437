//! One look-up of a view for all rows: by key, each key's events ordered once, and every
//! aggregate's window moved over them.
//!
//! ```text
//! key's rows ─▶ do they know its events in the order of time? ── yes ─▶ core::slide
//!                                                             └─ no ──▶ core::slide_known
//! ```
//!
//! They do where history does not say when events became known, where events became known in the
//! order of their times, and where no id comes twice; request rows with an event of their own never
//! do. Either way costs about the same for counts and sums; `trueup_core::slide_known` says what
//! events cost that came out of order.

use crate::asking::{Asking, Origin};
use crate::dead::DeadLetters;
use crate::keyed::{ByNumber, Keyed, NO_KEY, keys_of};
use crate::past::{IdRef, Past};
use crate::set::Reason;
use std::borrow::Cow;
use std::collections::HashMap;
use trueup_core::{
    Ask, Column, Events, Id, Known, Look, Micros, Plan, Unknown, Value, is_ordered, slide,
    slide_known,
};
use trueup_sql::bridge::value_at;
use trueup_sql::{GroupDef, Lookup, View};

/// How many events a window may go back for a row before that counts as far: what a network's
/// delays turn around, and cheap.
const FAR_BACK: usize = 256;

/// How many passes over a key's events looking back must cost before another pass is opened.
const PASSES: usize = 4;

/// Passes over a key's events at most: history in an order that has no end of late events is then
/// answered row by row, at the cost of a frame each.
const MOST_LANES: usize = 16;

/// A look-up ready to answer.
pub(crate) struct Work<'a> {
    plan: Plan,
    aggregates: &'a [usize],
    past: &'a Past,
    asking: &'a Asking,
    keyed: Keyed,
    /// Rows by key; those of no key stand behind the last one.
    rows: ByNumber,
    own: Own,
    /// Rows whose own event the group cannot take, and why: a server says so of their features.
    refused: HashMap<u32, String>,
}

/// Which rows' own events belong to the key that they look up.
enum Own {
    None,
    /// Those for which it holds (all, if `None`); their events are in the history.
    Events(Option<Vec<bool>>),
    /// The same of request rows, with the group's slots of all of them.
    Rows(Option<Vec<bool>>, Vec<Column>),
}

/// A key's events as they were or could be asked for, and the rows that ask.
struct Scene {
    events: Events,
    known: Vec<Known>,
    /// Rows and how they look, in the order of what they know.
    looks: Vec<(u32, Look)>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        group: &GroupDef,
        past: &'a Past,
        lookup: &'a Lookup,
        view: &View,
        asking: &'a Asking,
        dead: &mut DeadLetters,
    ) -> Work<'a> {
        let (keyed, keys, events_refused) = Keyed::new(group, past);
        let mut of = Vec::with_capacity(asking.len());
        let same_rows = group.stream == view.stream && group.keys == lookup.keys;
        match &asking.origin {
            Origin::History(_) if same_rows => {
                let rows = 0..asking.len() as u32;
                of.extend(
                    rows.filter_map(|row| asking.event(row)).map(|e| keys.number_of_event(e)),
                );
            }
            _ => asking.batches.iter().for_each(|b| keys.numbers_of(b, &lookup.keys, &mut of)),
        }
        let null = null_keys(lookup, asking);
        if let Some(null) = &null {
            of.iter_mut().zip(null).filter(|(_, null)| **null).for_each(|(of, _)| *of = NO_KEY);
        }
        let (own, mut refused) = match group.stream == view.stream {
            true => Own::new(group, lookup, asking, null),
            false => (Own::None, HashMap::new()),
        };
        if let Own::Events(is) = &own
            && !events_refused.is_empty()
        {
            let why: HashMap<u32, &String> = events_refused.iter().map(|(e, w)| (*e, w)).collect();
            let rows = (0..asking.len() as u32).filter(|&row| holds(is, row));
            let why = |row| Some((row, (*why.get(&asking.event(row)?)?).clone()));
            refused.extend(rows.filter_map(why));
        }
        refused.keys().for_each(|&row| of[row as usize] = NO_KEY);
        for (event, why) in events_refused {
            dead.push(past.letter(event as usize, why));
        }
        // Rows of no key ask an empty past, together.
        let absent = keyed.len() as u32;
        of.iter_mut().filter(|of| **of == NO_KEY).for_each(|of| *of = absent);
        let rows = ByNumber::new(&of, keyed.len() + 1);
        let plan = Plan::new(group.core.clone());
        Work { plan, aggregates: &lookup.aggregates, past, asking, keyed, rows, own, refused }
    }

    /// How many keys there are, the one of no key included.
    pub(crate) fn keys(&self) -> usize {
        self.rows.len()
    }

    /// How many rows ask for a key.
    pub(crate) fn asked(&self, key: usize) -> usize {
        self.rows.of(key).len()
    }

    /// Answers a key's rows: `each` gets the place of an aggregate and its value, for one aggregate
    /// after the other in the order of rows that is returned.
    pub(crate) fn answer(
        &self,
        key: usize,
        mut each: impl FnMut(usize, Result<Value, Reason>),
    ) -> Vec<u32> {
        let mut rows = self.rows.of(key).to_vec();
        if key < self.keyed.len() || self.refused.is_empty() {
            return self.answer_rows(key, rows, &mut each);
        }
        let refused: Vec<u32> = rows.extract_if(.., |row| self.refused.contains_key(row)).collect();
        let mut rows = self.answer_rows(key, rows, &mut each);
        for place in 0..self.aggregates.len() {
            for row in &refused {
                each(place, Err(Reason::Expression(self.refused[row].clone())));
            }
        }
        rows.extend(refused);
        rows
    }

    fn answer_rows(
        &self,
        key: usize,
        mut rows: Vec<u32>,
        each: &mut impl FnMut(usize, Result<Value, Reason>),
    ) -> Vec<u32> {
        if rows.is_empty() {
            return rows;
        }
        let mut each = |place: usize, value: Result<Value, Unknown>| {
            each(place, value.map_err(Reason::Feature));
        };
        let number = if key == self.keyed.len() { NO_KEY } else { key as u32 };
        let mut places = Cow::Borrowed(self.keyed.places(number));
        if !self.past.in_order {
            places.to_mut().sort_by(|&a, &b| self.past.order(a).cmp(&self.past.order(b)));
        }
        if let Some(asks) = self.in_order(&places, &mut rows) {
            let events = self.keyed.events(self.past, &places);
            for (place, &aggregate) in self.aggregates.iter().enumerate() {
                slide(&self.plan, aggregate, &events, &asks, |_, value| each(place, value));
            }
            return rows;
        }
        let Scene { events, known, looks } = self.scene(&places, &rows);
        rows.clear();
        for lane in lanes(&events, looks) {
            let (lane_rows, looks): (Vec<u32>, Vec<Look>) = lane.into_iter().unzip();
            let aggregates = self.aggregates;
            slide_known(&self.plan, aggregates, &events, &known, &looks, |place, _, value| {
                each(place, value);
            });
            rows.extend(lane_rows);
        }
        rows
    }

    /// The event of the history that a row is, if it belongs to the key that the row looks up.
    fn own_event(&self, row: u32) -> Option<u32> {
        match &self.own {
            Own::Events(is) if holds(is, row) => self.asking.event(row),
            _ => None,
        }
    }

    /// The rows as they slide, ordered; `None` if they do not know a first part of the events each.
    fn in_order(&self, places: &[u32], rows: &mut [u32]) -> Option<Vec<Ask>> {
        let beside = |row: &u32| match &self.own {
            Own::Rows(is, _) => holds(is, *row),
            _ => false,
        };
        let repeated = |&place: &u32| self.past.is_repeated(place);
        if rows.iter().any(beside) || places.iter().any(repeated) {
            return None;
        }
        let known: Option<Vec<i64>> = match &self.past.known {
            Some(known) => {
                let known: Vec<i64> = places.iter().map(|&place| known[place as usize]).collect();
                known.is_sorted().then_some(Some(known))?
            }
            None => None,
        };
        let order = |row: u32| {
            (self.asking.times[row as usize], self.own_event(row).map(|event| self.past.id(event)))
        };
        if !rows.is_sorted_by_key(|&row| self.asking.times[row as usize]) || !self.past.in_order {
            rows.sort_by(|&a, &b| order(a).cmp(&order(b)));
        }
        let mut asks = Vec::with_capacity(rows.len());
        let mut next = 0;
        for &row in rows.iter() {
            let own = match self.own_event(row) {
                None => None,
                Some(event) => {
                    next += places[next..].iter().position(|&place| place == event)?;
                    Some(next)
                }
            };
            let count = match &known {
                None => places.len(),
                Some(known) => known.partition_point(|&k| k <= self.asking.as_of(row)),
            };
            if own.is_some_and(|own| count <= own) {
                return None;
            }
            asks.push(Ask { at: Micros(self.asking.times[row as usize]), own, known: count });
        }
        is_ordered(&asks).then_some(asks)
    }

    /// The rows and all events with when each counts.
    fn scene(&self, places: &[u32], rows: &[u32]) -> Scene {
        let mut events = self.keyed.events(self.past, places);
        let mut orders: Vec<(i64, IdRef<'_>)> =
            places.iter().map(|&place| self.past.order(place)).collect();
        let mut own: Vec<Option<usize>> = Vec::with_capacity(rows.len());
        let place_of: HashMap<u32, usize> =
            places.iter().enumerate().map(|(at, &place)| (place, at)).collect();
        for &row in rows {
            own.push(match (&self.own, &self.asking.origin) {
                (Own::Rows(is, slots), Origin::Request(ids)) if holds(is, row) => {
                    let values: Vec<Value> = slots.iter().map(|s| s.value(row as usize)).collect();
                    let time = self.asking.times[row as usize];
                    events.push(time, Id::Int(orders.len() as i64), &values);
                    orders.push((time, ids.get(row as usize)));
                    Some(orders.len() - 1)
                }
                _ => self.own_event(row).and_then(|event| place_of.get(&event).copied()),
            });
        }
        let (known, rivals) = self.versions(places, &events, &orders);
        let mut order: Vec<u32> = (0..orders.len() as u32).collect();
        order.sort_by(|&a, &b| orders[a as usize].cmp(&orders[b as usize]));
        let mut moved = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| moved[from as usize] = to);

        let mut looks: Vec<(u32, Look)> = Vec::with_capacity(rows.len());
        for (&row, own) in rows.iter().zip(own) {
            let rivals = own.and_then(|own| rivals.get(&own)).into_iter().flatten();
            let hides = rivals.filter(|&&rival| Some(rival) != own).map(|&rival| moved[rival]);
            looks.push((
                row,
                Look {
                    at: Micros(self.asking.times[row as usize]),
                    as_of: Micros(self.asking.as_of(row)),
                    hides: hides.collect(),
                    own: own.map(|own| moved[own]),
                },
            ));
        }
        looks.sort_by_key(|(_, look)| (look.as_of, look.at, look.own));
        let known = order.iter().map(|&from| known[from as usize]).collect();
        Scene { events: events.gather(&order), known, looks }
    }

    /// When each event counts; and for events whose id others have too, those of the history with
    /// that id. The first `places.len()` are of the history.
    fn versions(
        &self,
        places: &[u32],
        events: &Events,
        orders: &[(i64, IdRef<'_>)],
    ) -> (Vec<Known>, HashMap<usize, Vec<usize>>) {
        let from = |place: u32| match &self.past.known {
            Some(known) => Known { from: Micros(known[place as usize]), ..Known::EVER },
            None => Known::EVER,
        };
        let mut known: Vec<Known> = places.iter().map(|&place| from(place)).collect();
        known.resize(orders.len(), Known::NEVER);
        let mut by_id: Vec<usize> = (0..orders.len()).collect();
        by_id.sort_by_key(|&at| orders[at].1);
        let mut rivals = HashMap::new();
        for run in by_id.chunk_by(|&a, &b| orders[a].1 == orders[b].1).filter(|r| r.len() > 1) {
            let past: Vec<usize> = run.iter().copied().filter(|&at| at < places.len()).collect();
            replace(events, &past, &mut known);
            run.iter().for_each(|&at| {
                rivals.insert(at, past.clone());
            });
        }
        (known, rivals)
    }
}

/// Rows in the order of what they know, parted so that few of a part look back far behind those
/// before them: a window that goes back and returns for one row passes all events between.
///
/// Another part costs another pass over the key's events, so one is opened only for rows that would
/// cost [`PASSES`] times that, and [`MOST_LANES`] at most; the last takes what is left as it comes.
fn lanes(events: &Events, looks: Vec<(u32, Look)>) -> Vec<Vec<(u32, Look)>> {
    let (mut lanes, mut rest) = (Vec::new(), looks);
    while lanes.len() + 1 < MOST_LANES {
        let (mut furthest, mut back) = (0, 0);
        let far = |look: &Look, furthest: usize| {
            furthest.saturating_sub(events.until(look.at.0)).max(FAR_BACK) - FAR_BACK
        };
        for (_, look) in &rest {
            back += far(look, furthest);
            furthest = furthest.max(events.until(look.at.0));
        }
        if back <= PASSES * events.len() {
            break;
        }
        furthest = 0;
        let (lane, aside): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, look)| {
            let is_near = far(look, furthest) == 0;
            furthest = furthest.max(events.until(look.at.0));
            is_near
        });
        lanes.push(lane);
        rest = aside;
    }
    lanes.push(rest);
    lanes
}

/// Of events with one id, each counts from when it became known until one that sorts behind it did.
fn replace(events: &Events, versions: &[usize], known: &mut [Known]) {
    let mut versions = versions.to_vec();
    versions.sort_by_key(|&at| (known[at].from, at));
    let mut now: Option<usize> = None;
    for next in versions {
        match now {
            Some(now) if events.rank(next, events, now).is_le() => {
                known[next] = Known::NEVER;
                continue;
            }
            Some(now) => known[now].until = known[next].from,
            None => {}
        }
        now = Some(next);
    }
}

fn holds(is: &Option<Vec<bool>>, row: u32) -> bool {
    is.as_ref().is_none_or(|is| is[row as usize])
}

/// For each row whether it has a NULL in its key and NULL equals nothing.
fn null_keys(lookup: &Lookup, asking: &Asking) -> Option<Vec<bool>> {
    if lookup.null_matches {
        return None;
    }
    let mut null = Vec::with_capacity(asking.len());
    for batch in &asking.batches {
        let is = |row| lookup.keys.iter().any(|&column| batch.column(column).is_null(row));
        null.extend((0..batch.num_rows()).map(is));
    }
    null.contains(&true).then_some(null)
}

impl Own {
    /// The row's own event is as if appended to the stream: it counts where its key in the group is
    /// the key that the row looks up.
    fn new(
        group: &GroupDef,
        lookup: &Lookup,
        asking: &Asking,
        null: Option<Vec<bool>>,
    ) -> (Own, HashMap<u32, String>) {
        let mut is = null.map(|null| null.into_iter().map(|null| !null).collect::<Vec<_>>());
        if group.keys != lookup.keys {
            let equal = asking.batches.iter().flat_map(|batch| {
                keys_of(batch, &group.keys).zip(keys_of(batch, &lookup.keys)).map(|(a, b)| a == b)
            });
            let known = is.take();
            let and = |(row, equal)| equal && holds(&known, row as u32);
            is = Some(equal.enumerate().map(and).collect());
        }
        if let Origin::History(_) = asking.origin {
            return (Own::Events(is), HashMap::new());
        }
        let kinds = group.core.slots.iter();
        let mut slots: Vec<Column> =
            kinds.map(|kind| Column::with_capacity(kind, asking.len())).collect();
        let (mut refused, mut before) = (HashMap::new(), 0);
        for batch in &asking.batches {
            let entering = group.evaluate(batch);
            for (array, column) in entering.slots().iter().zip(&mut slots) {
                (0..batch.num_rows()).for_each(|row| column.push(&value_at(array, row)));
            }
            for (row, error) in entering.refused() {
                let row = before + *row as u32;
                if holds(&is, row) {
                    refused.insert(row, format!("group {}: {error}", group.name));
                }
            }
            before += batch.num_rows() as u32;
        }
        (Own::Rows(is, slots), refused)
    }
}
