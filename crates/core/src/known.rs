//! Features for training where rows do not know the same events: history says when each event
//! became known, and events became known in another order than they happened in; or a row's own
//! event is not the one that the history holds.
//!
//! Rows come in the order of what they know. From one to the next the window takes in what became
//! known between them, gives up what a newer version of an event replaced, and moves its ends,
//! forward or back. So a row costs the events by which its window differs from the last one's, and
//! never more than its frame: an event that came `d` events late costs in the order of `d`, once.
//! ROWS frames are gathered anew for each row, at the cost of their length.

use crate::aggregate::{Measure, Partial};
use crate::answer::Unknown;
use crate::events::Events;
use crate::group::{Frame, Keep};
use crate::plan::Plan;
use crate::value::{Micros, Value};
use crate::window::Window;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// When an event counts, by what a row knows: for rows with `from <= as_of < until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it became known.
    pub from: Micros,
    /// When another event with its id took its place.
    pub until: Micros,
}

impl Known {
    /// An event that counts for every row.
    pub const EVER: Known = Known { from: Micros(i64::MIN), until: Micros(i64::MAX) };
    /// An event that counts for no row but as its own.
    pub const NEVER: Known = Known { from: Micros(i64::MAX), until: Micros(i64::MIN) };

    fn by(&self, as_of: i64) -> bool {
        self.from.0 <= as_of && (as_of < self.until.0 || self.until.0 == i64::MAX)
    }
}

/// A row that asks for features, by what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its event time.
    pub at: Micros,
    /// It knows the events that were known then.
    pub as_of: Micros,
    /// The place of its own event, which counts whether it was known or not.
    pub own: Option<usize>,
    /// Places of other events with its id: its own stands in for them.
    pub hides: Vec<usize>,
}

/// Answers aggregates for all rows; `each` gets the place in `aggregates`, the row's number and the
/// value, rows in their order for one aggregate after the other.
///
/// The events are ordered by (event time, id); `known` has one entry for each, and at any `as_of`
/// knows an id once. The rows are ordered by `as_of`; the nearer they are to the order of event
/// time too, the cheaper.
pub fn slide_known(
    plan: &Plan,
    aggregates: &[usize],
    events: &Events,
    known: &[Known],
    looks: &[Look],
    mut each: impl FnMut(usize, usize, Result<Value, Unknown>),
) {
    let changes = Changes::of(known);
    for (place, &aggregate) in aggregates.iter().enumerate() {
        let mut sight = Sight {
            plan,
            frame: plan.frames[plan.frame_of[aggregate]],
            window: Window::loose(plan, aggregate, events),
            events,
            known,
            changes: &changes,
            came: 0,
            went: 0,
            as_of: i64::MIN,
            range: 0..0,
        };
        for (number, look) in looks.iter().enumerate() {
            each(place, number, sight.answer(look));
        }
    }
}

/// Places in the order of becoming known, and in that of being replaced.
struct Changes {
    came: Vec<usize>,
    went: Vec<usize>,
}

impl Changes {
    fn of(known: &[Known]) -> Changes {
        let mut came: Vec<usize> = (0..known.len()).collect();
        let mut went = came.clone();
        came.retain(|&i| known[i].from.0 < i64::MAX);
        went.retain(|&i| known[i].until.0 < i64::MAX && known[i].from < known[i].until);
        came.sort_by_key(|&i| known[i].from);
        went.sort_by_key(|&i| known[i].until);
        Changes { came, went }
    }
}

/// One aggregate's window as rows see it, one after the other.
struct Sight<'a> {
    plan: &'a Plan,
    frame: Frame,
    window: Window<'a>,
    events: &'a Events,
    known: &'a [Known],
    changes: &'a Changes,
    /// How many of the changes are in the past.
    came: usize,
    went: usize,
    as_of: i64,
    /// The places that the frame spans, known or not.
    range: Range<usize>,
}

impl Sight<'_> {
    fn answer(&mut self, look: &Look) -> Result<Value, Unknown> {
        match self.frame {
            Frame::Range { far_us, near_us } => {
                let (from, to) = self.plan.interval(far_us, near_us, look.at.0);
                let (start, end) = (self.events.before(from), self.events.until(to));
                self.learn(look.as_of.0);
                self.reach(start.min(end)..end);
                self.with_own(look)
            }
            Frame::Rows { far, near } => self.rows(far as usize, near as usize, look),
        }
    }

    fn sees(&self, place: usize) -> bool {
        self.known[place].by(self.as_of)
    }

    /// Takes in what became known since the last row, gives up what was replaced.
    fn learn(&mut self, as_of: i64) {
        let past = std::mem::replace(&mut self.as_of, as_of);
        while let Some(&place) = self.changes.went.get(self.went)
            && self.known[place].until.0 <= as_of
        {
            self.went += 1;
            if self.range.contains(&place) && self.known[place].by(past) {
                self.window.leave(self.plan, place);
            }
        }
        while let Some(&place) = self.changes.came.get(self.came)
            && self.known[place].from.0 <= as_of
        {
            self.came += 1;
            if self.range.contains(&place) && self.sees(place) {
                self.window.enter(self.plan, place, 0);
            }
        }
    }

    /// Moves the ends of the window; where little of it would stay, it is filled anew.
    fn reach(&mut self, to: Range<usize>) {
        let from = std::mem::replace(&mut self.range, to.clone());
        let moved = from.start.abs_diff(to.start) + from.end.abs_diff(to.end);
        if moved > to.len() {
            self.window.clear(self.plan);
            self.enter_seen(to);
            return;
        }
        // Neither end moves past the other, or the window would have been filled anew.
        self.leave_seen(from.start..to.start.min(from.end));
        self.leave_seen(to.end.max(from.start)..from.end);
        self.enter_seen(to.start..from.start.min(to.end));
        self.enter_seen(from.end.max(to.start)..to.end);
    }

    fn enter_seen(&mut self, places: Range<usize>) {
        for place in places {
            if self.sees(place) {
                self.window.enter(self.plan, place, 0);
            }
        }
    }

    fn leave_seen(&mut self, places: Range<usize>) {
        for place in places {
            if self.sees(place) {
                self.window.leave(self.plan, place);
            }
        }
    }

    /// The value with the row's own event for those that it hides.
    fn with_own(&mut self, look: &Look) -> Result<Value, Unknown> {
        let hidden = |place: &usize| self.range.contains(place) && self.sees(*place);
        let hidden: Vec<usize> = look.hides.iter().copied().filter(hidden).collect();
        let own = look.own.filter(|&own| self.range.contains(&own) && !self.sees(own));
        hidden.iter().for_each(|&place| self.window.leave(self.plan, place));
        own.iter().for_each(|&place| self.window.enter(self.plan, place, 0));
        let value = self.window.value();
        own.iter().for_each(|&place| self.window.leave(self.plan, place));
        hidden.iter().for_each(|&place| self.window.enter(self.plan, place, 0));
        value
    }

    /// A ROWS frame: places behind the row's own, of those that it sees, counted back from 1; its
    /// own is at 0.
    fn rows(&mut self, far: usize, near: usize, look: &Look) -> Result<Value, Unknown> {
        self.as_of = look.as_of.0;
        let stand = look.own.unwrap_or_else(|| self.events.until(look.at.0));
        let sees = |place: &usize| self.sees(*place) && !look.hides.contains(place);
        let behind = (0..stand).rev().filter(sees);
        let skipped = near.saturating_sub(1);
        let mut places: Vec<usize> = behind.take(far).skip(skipped).collect();
        places.reverse();
        places.extend(look.own.filter(|_| near == 0));
        self.window.clear(self.plan);
        places.iter().for_each(|&place| self.window.enter(self.plan, place, 0));
        self.window.value()
    }
}

/// Distinct sketches by bin, from which events may leave: a sketch has no inverse, so that a bin's
/// is made anew from its events when it is next asked for. The last event that came may leave at no
/// cost, which is what a row's own does.
pub(crate) struct LooseSketches {
    empty: Partial,
    bins: BTreeMap<i64, Bin>,
    /// The last that came, and the sketch of its bin before.
    last: Option<(usize, Partial)>,
}

#[derive(Default)]
struct Bin {
    places: BTreeSet<usize>,
    sketch: Option<Partial>,
}

impl Bin {
    fn sketch(&mut self, empty: &Partial, measure: &Measure, events: &Events) -> &mut Partial {
        self.sketch.get_or_insert_with(|| {
            self.places.iter().fold(empty.clone(), |mut sketch, &i| {
                sketch.add(measure, events, i);
                sketch
            })
        })
    }
}

impl LooseSketches {
    pub(crate) fn new(empty: Partial) -> LooseSketches {
        LooseSketches { empty, bins: BTreeMap::new(), last: None }
    }

    pub(crate) fn clear(&mut self) {
        self.bins.clear();
        self.last = None;
    }

    pub(crate) fn add(&mut self, plan: &Plan, measure: &Measure, events: &Events, i: usize) {
        let bin = self.bins.entry(bin_of(plan, events, i)).or_default();
        let sketch = bin.sketch(&self.empty, measure, events);
        self.last = Some((i, sketch.clone()));
        sketch.add(measure, events, i);
        bin.places.insert(i);
    }

    pub(crate) fn remove(&mut self, plan: &Plan, events: &Events, i: usize) {
        let number = bin_of(plan, events, i);
        let last = self.last.take().filter(|(last, _)| *last == i);
        let Some(bin) = self.bins.get_mut(&number) else { return };
        bin.places.remove(&i);
        bin.sketch = last.map(|(_, before)| before);
        if bin.places.is_empty() {
            self.bins.remove(&number);
        }
    }

    pub(crate) fn union(&mut self, measure: &Measure, events: &Events) -> Partial {
        let empty = &self.empty;
        self.bins.values_mut().fold(empty.clone(), |mut all, bin| {
            all.merge(bin.sketch(empty, measure, events));
            all
        })
    }
}

/// The bin of an event; all of a lifetime group are in one.
fn bin_of(plan: &Plan, events: &Events, i: usize) -> i64 {
    match plan.group.keep {
        Keep::Binned { .. } => plan.bin(events.times[i]),
        _ => 0,
    }
}
