//! An aggregate over a range of ordered events that moves forward: the one way in which `read` and
//! `slide` compute, so that a row served and the same row in a training set cannot differ.
//!
//! Counts, sums and truths subtract, so a step costs what enters and leaves. Extremes keep a
//! monotonic queue (Lemire, "Streaming maximum-minimum filter using no more than three comparisons
//! per element", 2006), order statistics a sorted list, distinct counts the next place of each
//! value; first, last, lag and lists the places of the events that pass the filter.

use crate::aggregate::{Class, Measure, Partial, finish_quantile};
use crate::answer::Unknown;
use crate::column::{Cells, Column};
use crate::events::Events;
use crate::group::{Aggregate, Func};
use crate::known::LooseSketches;
use crate::loose::{LooseDistinct, Ranks};
use crate::plan::Plan;
use crate::value::{Kind, Value};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

/// One aggregate's window over one key's events.
pub(crate) struct Window<'a> {
    events: &'a Events,
    aggregate: &'a Aggregate,
    measure: &'a Measure,
    kind: Kind,
    range: Range<usize>,
    held: Held,
}

enum Held {
    Group(Partial),
    /// Places whose values could still become the least (or greatest).
    Extreme(VecDeque<usize>, bool),
    /// Places that pass the filter.
    Passing(VecDeque<usize>),
    Distinct(Distinct),
    Sorted(Vec<f64>),
    /// Sketches by bin, and their union up to a bin.
    Bins(BinSketches),
    /// Loose: how many events hold each value.
    LooseDistinct(LooseDistinct),
    /// Loose: all values by rank, so that any may leave; whether the greatest counts.
    Ranked(Ranks, bool),
    /// Loose: places that pass the filter.
    Places(BTreeSet<usize>),
    /// Loose: sketches by bin, made anew where an event left.
    LooseBins(LooseSketches),
}

impl<'a> Window<'a> {
    /// A window that is to move within `places`.
    pub(crate) fn new(
        plan: &'a Plan,
        aggregate: usize,
        events: &'a Events,
        places: Range<usize>,
    ) -> Window<'a> {
        let measure = &plan.measures[plan.measure_of[aggregate]];
        let aggregate = &plan.group.aggregates[aggregate];
        let kind = aggregate.arg.map_or(Kind::Int, |slot| plan.group.slots[slot].clone());
        let exact = plan.group.keep == crate::group::Keep::Exact;
        let held = match (&aggregate.func, measure.class) {
            (Func::CountDistinct, _) => Held::Distinct(Distinct::new(measure, events, places)),
            (Func::ApproxDistinct, _) if exact => {
                Held::Distinct(Distinct::new(measure, events, places))
            }
            (Func::Percentile(_), _) if exact => Held::Sorted(Vec::new()),
            (Func::ApproxDistinct, _) => {
                Held::Bins(BinSketches::new(Partial::empty(&plan.group, measure)))
            }
            (_, Class::Min) => Held::Extreme(VecDeque::new(), false),
            (_, Class::Max) => Held::Extreme(VecDeque::new(), true),
            (_, Class::First | Class::Last | Class::Raw) => Held::Passing(VecDeque::new()),
            _ => Held::Group(Partial::empty(&plan.group, measure)),
        };
        Window { events, aggregate, measure, kind, range: 0..0, held }
    }

    /// A window that events may enter and leave at any place; dearer than one that moves forward.
    pub(crate) fn loose(plan: &'a Plan, aggregate: usize, events: &'a Events) -> Window<'a> {
        let mut window = Window::new(plan, aggregate, events, 0..0);
        window.held = match window.held {
            Held::Distinct(_) => Held::LooseDistinct(LooseDistinct::new(window.column())),
            Held::Extreme(_, greatest) => Held::Ranked(Ranks::new(window.column()), greatest),
            Held::Passing(_) => Held::Places(BTreeSet::new()),
            Held::Bins(bins) => Held::LooseBins(LooseSketches::new(bins.empty)),
            held => held,
        };
        window
    }

    fn column(&self) -> Option<&'a Column> {
        self.aggregate.arg.map(|slot| &self.events.slots[slot])
    }

    /// Answers another aggregate from now on, of the same measure. Says whether it can: what needs
    /// the events themselves holds them in ways of its own.
    pub(crate) fn turn_to(&mut self, plan: &'a Plan, aggregate: usize) -> bool {
        if self.measure.class == Class::Raw {
            return false;
        }
        self.aggregate = &plan.group.aggregates[aggregate];
        true
    }

    /// Moves the window to `to`, whose ends are not before the present ones.
    pub(crate) fn advance(&mut self, plan: &Plan, to: Range<usize>) {
        let to = to.start..to.end.max(to.start);
        if to.start >= self.range.end {
            self.clear(plan);
            self.range = to.start..to.start;
        }
        if let Held::Group(partial) = &mut self.held {
            for i in self.range.start..to.start {
                partial.sub(self.measure, self.events, i);
            }
            for i in self.range.end..to.end {
                partial.add(self.measure, self.events, i);
            }
            self.range = to;
            return;
        }
        for i in self.range.start..to.start {
            self.leave(plan, i);
        }
        let (column, entering) = (self.column(), self.range.end..to.end);
        match (&mut self.held, column) {
            (Held::Extreme(places, greatest), Some(column)) => {
                let entering = entering.filter(|&i| self.measure.passes(self.events, i));
                column.queue_extremes(places, *greatest, entering);
            }
            _ => entering.for_each(|i| self.enter(plan, i, to.start)),
        }
        let first = to.start;
        match &mut self.held {
            Held::Extreme(places, _) | Held::Passing(places) => {
                while places.front().is_some_and(|&i| i < first) {
                    places.pop_front();
                }
            }
            Held::Bins(bins) => bins.drop_before(self.events.times.get(first).copied(), plan),
            _ => {}
        }
        self.range = to;
    }

    pub(crate) fn clear(&mut self, plan: &Plan) {
        match &mut self.held {
            Held::Group(partial) => *partial = Partial::empty(&plan.group, self.measure),
            Held::Extreme(places, _) | Held::Passing(places) => places.clear(),
            Held::Distinct(distinct) => distinct.count = 0,
            Held::LooseDistinct(distinct) => distinct.clear(),
            Held::Sorted(values) => values.clear(),
            Held::Bins(bins) => bins.clear(),
            Held::Ranked(ranks, _) => ranks.clear(),
            Held::Places(places) => places.clear(),
            Held::LooseBins(bins) => bins.clear(),
        }
    }

    /// Takes the event at `i` in, which is behind all that are in unless the window is loose; those
    /// before `first` are on their way out. Extremes are queued where the window moves.
    pub(crate) fn enter(&mut self, plan: &Plan, i: usize, first: usize) {
        let column = self.column();
        let counts = self.measure.passes(self.events, i);
        let valid = counts && column.is_none_or(|c| c.is_valid(i));
        match &mut self.held {
            Held::Passing(places) if counts => places.push_back(i),
            Held::Group(partial) => partial.add(self.measure, self.events, i),
            Held::Distinct(distinct) if valid => distinct.enter(i, first),
            Held::LooseDistinct(distinct) if valid => distinct.enter(i),
            Held::Sorted(values) if valid => {
                if let Some(x) = column.and_then(|c| number(c, &self.kind, i)) {
                    let at = values.partition_point(|y| *y < x);
                    values.insert(at, x);
                }
            }
            Held::Bins(bins) if valid => {
                bins.add(plan, self.measure, self.events, i);
            }
            Held::Places(places) if counts => {
                places.insert(i);
            }
            Held::Ranked(ranks, _) if valid => {
                ranks.enter(i);
            }
            Held::LooseBins(bins) if valid => {
                bins.add(plan, self.measure, self.events, i);
            }
            _ => {}
        }
    }

    /// Takes the event at `i` out. Where the window is not loose, its old end passes over what has
    /// no inverse.
    pub(crate) fn leave(&mut self, plan: &Plan, i: usize) {
        let column = self.column();
        let valid = self.measure.passes(self.events, i) && column.is_some_and(|c| c.is_valid(i));
        let end = self.range.end;
        match &mut self.held {
            Held::Group(partial) => {
                partial.sub(self.measure, self.events, i);
            }
            Held::Distinct(distinct) if valid => distinct.leave(i, end),
            Held::LooseDistinct(distinct) if valid => distinct.leave(i),
            Held::Sorted(values) if valid => {
                if let Some(x) = column.and_then(|c| number(c, &self.kind, i)) {
                    let at = values.partition_point(|y| *y < x);
                    values.remove(at);
                }
            }
            Held::Places(places) => {
                places.remove(&i);
            }
            Held::Ranked(ranks, _) if valid => {
                ranks.leave(i);
            }
            Held::LooseBins(bins) if valid => bins.remove(plan, self.events, i),
            _ => {}
        }
    }

    /// The aggregate's value over the present range.
    pub(crate) fn value(&mut self) -> Result<Value, Unknown> {
        let column = self.column();
        let at = |place: Option<&usize>| match (place, column) {
            (Some(&i), Some(column)) => Ok(column.value(i)),
            _ => Ok(Value::Null),
        };
        match &mut self.held {
            Held::Group(partial) => partial.finish(&self.aggregate.func, &self.kind),
            Held::Extreme(places, _) => at(places.front()),
            Held::Ranked(ranks, greatest) => at(ranks.first(*greatest)),
            Held::Passing(places) => match self.aggregate.func {
                Func::Last => at(places.back()),
                Func::ArrayAgg => Ok(list(column, places.iter())),
                _ => at(places.front()),
            },
            Held::Distinct(distinct) => Ok(Value::Int(distinct.count)),
            Held::LooseDistinct(distinct) => Ok(Value::Int(distinct.count)),
            Held::Places(places) => match self.aggregate.func {
                Func::Last => at(places.last()),
                Func::ArrayAgg => Ok(list(column, places.iter())),
                _ => at(places.first()),
            },
            Held::Sorted(values) => Ok(finish_quantile(&self.aggregate.func, values)),
            Held::Bins(bins) => bins.union().finish(&self.aggregate.func, &self.kind),
            Held::LooseBins(bins) => {
                let union = bins.union(self.measure, self.events);
                union.finish(&self.aggregate.func, &self.kind)
            }
        }
    }
}

/// How many different values are in the window: those whose last place before is not in it. One
/// sort finds these places; nothing is hashed, so nobody can choose values that collide.
struct Distinct {
    /// Where the places begin that the window may visit.
    origin: usize,
    /// For each of them, the one before and the one behind that hold the same value and pass the
    /// filter, from the origin; [`NOWHERE`] if there is none.
    before: Vec<u32>,
    behind: Vec<u32>,
    count: i64,
}

const NOWHERE: u32 = u32::MAX;

impl Distinct {
    fn new(measure: &Measure, events: &Events, places: Range<usize>) -> Distinct {
        let (origin, n) = (places.start, places.len());
        let mut distinct =
            Distinct { origin, before: vec![NOWHERE; n], behind: vec![NOWHERE; n], count: 0 };
        let Some(column) = measure.arg.map(|slot| &events.slots[slot]) else { return distinct };
        let counts = |&i: &usize| measure.passes(events, i) && column.is_valid(i);
        let places = places.filter(counts);
        match column.cells() {
            Cells::Bool(v) => distinct.link(places, |i| v[i]),
            Cells::Int(v) => distinct.link(places, |i| v[i]),
            Cells::Decimal(v) => distinct.link(places, |i| v[i]),
            Cells::Float(v) => distinct.link(places, |i| v[i].to_bits()),
            Cells::Text(v) => distinct.link(places, |i| &v[i]),
        }
        distinct
    }

    fn link<T: Ord>(&mut self, places: impl Iterator<Item = usize>, value: impl Fn(usize) -> T) {
        let numbered = places.map(|i| (value(i), (i - self.origin) as u32));
        let mut by_value: Vec<(T, u32)> = numbered.collect();
        by_value.sort_unstable();
        for pair in by_value.windows(2) {
            if pair[0].0 == pair[1].0 {
                self.behind[pair[0].1 as usize] = pair[1].1;
                self.before[pair[1].1 as usize] = pair[0].1;
            }
        }
    }

    /// The event at `i` enters a window that begins at `first`.
    fn enter(&mut self, i: usize, first: usize) {
        let before = self.before[i - self.origin];
        let is_new = before == NOWHERE || self.origin + (before as usize) < first;
        self.count += i64::from(is_new);
    }

    /// The event at `i` leaves a window that ends before `end`.
    fn leave(&mut self, i: usize, end: usize) {
        let behind = self.behind[i - self.origin];
        let was_last = behind == NOWHERE || self.origin + behind as usize >= end;
        self.count -= i64::from(was_last);
    }
}

/// The values at `places`; SQL's list of nothing is NULL.
fn list<'p>(column: Option<&Column>, places: impl Iterator<Item = &'p usize>) -> Value {
    let values: Vec<Value> = places.filter_map(|&i| Some(column?.value(i))).collect();
    if values.is_empty() { Value::Null } else { Value::List(values) }
}

/// The value at `i` as the nearest double.
pub(crate) fn number(column: &Column, kind: &Kind, i: usize) -> Option<f64> {
    match column.cells() {
        Cells::Int(v) => Some(v[i] as f64),
        Cells::Float(v) => Some(v[i]),
        Cells::Decimal(v) => {
            let Kind::Decimal { scale } = kind else { return None };
            let mut sum = crate::exact::IntSum::default();
            sum.add(v[i]);
            Some(sum.mean(1, *scale))
        }
        _ => None,
    }
}

/// One sketch per bin of event time, oldest first, so that a window can drop what leaves it:
/// distinct sketches do not subtract.
struct BinSketches {
    empty: Partial,
    bins: VecDeque<(i64, Partial)>,
    union: Option<Partial>,
}

impl BinSketches {
    fn new(empty: Partial) -> BinSketches {
        BinSketches { empty, bins: VecDeque::new(), union: None }
    }

    fn clear(&mut self) {
        self.bins.clear();
        self.union = None;
    }

    fn add(&mut self, plan: &Plan, measure: &Measure, events: &Events, i: usize) {
        // Without bins (a lifetime group) nothing ever leaves, and one sketch holds all.
        let bin = match plan.group.keep {
            crate::group::Keep::Binned { .. } => plan.bin(events.times[i]),
            _ => 0,
        };
        if self.bins.back().is_none_or(|(last, _)| *last != bin) {
            self.bins.push_back((bin, self.empty.clone()));
        }
        if let Some((_, sketch)) = self.bins.back_mut() {
            sketch.add(measure, events, i);
        }
        if let Some(union) = &mut self.union {
            union.add(measure, events, i);
        }
    }

    fn drop_before(&mut self, time: Option<i64>, plan: &Plan) {
        let crate::group::Keep::Binned { .. } = plan.group.keep else { return };
        let Some(first) = time.map(|t| plan.bin(t)) else { return };
        while self.bins.front().is_some_and(|(bin, _)| *bin < first) {
            self.bins.pop_front();
            self.union = None;
        }
    }

    fn union(&mut self) -> &Partial {
        let (bins, empty) = (&self.bins, &self.empty);
        self.union.get_or_insert_with(|| {
            bins.iter().fold(empty.clone(), |mut all, (_, sketch)| {
                all.merge(sketch);
                all
            })
        })
    }
}
