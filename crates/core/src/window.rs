//! An aggregate over a range of ordered events that moves forward: the one way in which `read` and `slide` compute, so
//! that a row served and the same row in a training set cannot differ.
//!
//! Counts, sums and truths subtract, so a step costs what enters and leaves. Extremes keep a monotonic queue (Lemire,
//! "Streaming maximum-minimum filter using no more than three comparisons per element", 2006), order statistics a sorted
//! list, distinct counts a multiset; first, last, lag and lists the places of the events that pass the filter.

use crate::aggregate::{Class, Measure, Partial, finish_quantile};
use crate::answer::Unknown;
use crate::column::{Cells, Column};
use crate::events::Events;
use crate::group::{Aggregate, Func};
use crate::known::LooseSketches;
use crate::plan::Plan;
use crate::value::{Kind, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};
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
    Distinct(HashMap<Item, u64>),
    Sorted(Vec<f64>),
    /// Sketches by bin, and their union up to a bin.
    Bins(BinSketches),
    /// Loose: all values by rank, so that any may leave; whether the greatest counts.
    Ranked(Ranks, bool),
    /// Loose: places that pass the filter.
    Places(BTreeSet<usize>),
    /// Loose: sketches by bin, made anew where an event left.
    LooseBins(LooseSketches),
}

/// The rank of each event's value among those of its key, and (rank, place) of those in the window.
struct Ranks {
    of: Vec<u32>,
    held: BTreeSet<(u32, usize)>,
}

impl Ranks {
    fn new(column: Option<&Column>) -> Ranks {
        let Some(column) = column else { return Ranks { of: Vec::new(), held: BTreeSet::new() } };
        let mut places: Vec<usize> = (0..column.len()).collect();
        places.sort_unstable_by(|&a, &b| column.compare(a, column, b));
        let mut of = vec![0; places.len()];
        let mut rank = 0;
        for (n, &place) in places.iter().enumerate() {
            let same = n > 0 && column.compare(places[n - 1], column, place).is_eq();
            rank += u32::from(!same);
            of[place] = rank;
        }
        Ranks { of, held: BTreeSet::new() }
    }

    fn first(&self, greatest: bool) -> Option<&usize> {
        let held = if greatest { self.held.last() } else { self.held.first() };
        held.map(|(_, place)| place)
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Item {
    Number(i128),
    Text(Box<str>),
}

impl<'a> Window<'a> {
    pub(crate) fn new(plan: &'a Plan, aggregate: usize, events: &'a Events) -> Window<'a> {
        let measure = &plan.measures[plan.measure_of[aggregate]];
        let aggregate = &plan.group.aggregates[aggregate];
        let kind = aggregate.arg.map_or(Kind::Int, |slot| plan.group.slots[slot].clone());
        let exact = plan.group.keep == crate::group::Keep::Exact;
        let held = match (&aggregate.func, measure.class) {
            (Func::CountDistinct, _) => Held::Distinct(HashMap::new()),
            (Func::ApproxDistinct, _) if exact => Held::Distinct(HashMap::new()),
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
        let mut window = Window::new(plan, aggregate, events);
        window.held = match window.held {
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

    /// Moves the window to `to`, whose ends are not before the present ones.
    pub(crate) fn advance(&mut self, plan: &Plan, to: Range<usize>) {
        let to = to.start..to.end.max(to.start);
        if to.start >= self.range.end {
            self.clear(plan);
            self.range = to.start..to.start;
        }
        for i in self.range.start..to.start {
            self.leave(plan, i);
        }
        for i in self.range.end..to.end {
            self.enter(plan, i);
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
            Held::Distinct(counts) => counts.clear(),
            Held::Sorted(values) => values.clear(),
            Held::Bins(bins) => bins.clear(),
            Held::Ranked(ranks, _) => ranks.held.clear(),
            Held::Places(places) => places.clear(),
            Held::LooseBins(bins) => bins.clear(),
        }
    }

    /// Takes the event at `i` in, which is behind all that are in unless the window is loose.
    pub(crate) fn enter(&mut self, plan: &Plan, i: usize) {
        let column = self.column();
        let counts = self.measure.passes(self.events, i);
        let valid = counts && column.is_none_or(|c| c.is_valid(i));
        match &mut self.held {
            Held::Group(partial) => partial.add(self.measure, self.events, i),
            Held::Passing(places) if counts => places.push_back(i),
            Held::Extreme(places, greatest) if valid => {
                let Some(column) = column else { return };
                let beaten = |&j: &usize| {
                    let order = column.compare(j, column, i);
                    if *greatest { order.is_le() } else { order.is_ge() }
                };
                while places.back().is_some_and(beaten) {
                    places.pop_back();
                }
                places.push_back(i);
            }
            Held::Distinct(counts) if valid => {
                if let Some(column) = column {
                    *counts.entry(item(column, i)).or_insert(0) += 1;
                }
            }
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
                ranks.held.insert((ranks.of[i], i));
            }
            Held::LooseBins(bins) if valid => {
                bins.add(plan, self.measure, self.events, i);
            }
            _ => {}
        }
    }

    /// Takes the event at `i` out. Where the window is not loose, its old end passes over what has no inverse.
    pub(crate) fn leave(&mut self, plan: &Plan, i: usize) {
        let column = self.column();
        let valid = self.measure.passes(self.events, i) && column.is_some_and(|c| c.is_valid(i));
        match &mut self.held {
            Held::Group(partial) => {
                partial.sub(self.measure, self.events, i);
            }
            Held::Distinct(counts) if valid => {
                let Some(column) = column else { return };
                let item = item(column, i);
                if let Some(n) = counts.get_mut(&item) {
                    *n -= 1;
                    if *n == 0 {
                        counts.remove(&item);
                    }
                }
            }
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
                ranks.held.remove(&(ranks.of[i], i));
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
            Held::Places(places) => match self.aggregate.func {
                Func::Last => at(places.last()),
                Func::ArrayAgg => Ok(list(column, places.iter())),
                _ => at(places.first()),
            },
            Held::Distinct(counts) => Ok(Value::Int(counts.len() as i64)),
            Held::Sorted(values) => Ok(finish_quantile(&self.aggregate.func, values)),
            Held::Bins(bins) => bins.union().finish(&self.aggregate.func, &self.kind),
            Held::LooseBins(bins) => {
                let union = bins.union(self.measure, self.events);
                union.finish(&self.aggregate.func, &self.kind)
            }
        }
    }
}

/// The values at `places`; SQL's list of nothing is NULL.
fn list<'p>(column: Option<&Column>, places: impl Iterator<Item = &'p usize>) -> Value {
    let values: Vec<Value> = places.filter_map(|&i| Some(column?.value(i))).collect();
    if values.is_empty() { Value::Null } else { Value::List(values) }
}

fn item(column: &Column, i: usize) -> Item {
    match column.cells() {
        Cells::Bool(v) => Item::Number(i128::from(v[i])),
        Cells::Int(v) => Item::Number(i128::from(v[i])),
        Cells::Decimal(v) => Item::Number(v[i]),
        Cells::Float(v) => Item::Number(i128::from(v[i].to_bits())),
        Cells::Text(v) => Item::Text(v[i].clone()),
    }
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

/// One sketch per bin of event time, oldest first, so that a window can drop what leaves it: distinct sketches
/// do not subtract.
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
