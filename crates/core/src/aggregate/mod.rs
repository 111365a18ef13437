//! Partials: what an aggregate keeps of a set of events. Each is a commutative monoid in exact
//! arithmetic, so no order of events, no split and no merge can show in it. One file a family, one
//! shape: empty, add, (sub,) merge, finish, put, read.
//!
//! A partial is of a measure (class, argument, filter), not of a feature: `sum` and `avg` over
//! three frames share one. Counts stop at the end of their type: no key has 2^64 events, but bytes
//! may say so.

mod edge;
mod extreme;
mod number;
mod sketch;
mod truth;

pub(crate) use edge::Edge;
pub(crate) use extreme::{Extreme, order};
pub(crate) use number::Number;
pub(crate) use sketch::{DistinctSketch, QuantileSketch, finish_quantile};
pub(crate) use truth::Truth;

use crate::answer::Unknown;
use crate::codec::{Reader, put_u64};
use crate::events::Events;
use crate::group::{Aggregate, Func, Group};
use crate::value::{Kind, Value};

/// The family of partial that an aggregate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Count,
    Number {
        squares: bool,
    },
    Min,
    Max,
    First,
    Last,
    Truth,
    DistinctSketch,
    QuantileSketch,
    /// Needs the events themselves: exact groups only.
    Raw,
}

/// What one partial measures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Measure {
    pub(crate) class: Class,
    pub(crate) arg: Option<usize>,
    pub(crate) filter: Option<usize>,
}

impl Measure {
    pub(crate) fn of(aggregate: &Aggregate) -> Measure {
        let class = match aggregate.func {
            Func::Count => Class::Count,
            Func::Sum | Func::Avg => Class::Number { squares: false },
            Func::VarPop | Func::VarSamp | Func::StddevPop | Func::StddevSamp => {
                Class::Number { squares: true }
            }
            Func::Min => Class::Min,
            Func::Max => Class::Max,
            Func::First => Class::First,
            Func::Last => Class::Last,
            Func::BoolAnd | Func::BoolOr => Class::Truth,
            Func::ApproxDistinct => Class::DistinctSketch,
            Func::Percentile(_) => Class::QuantileSketch,
            Func::CountDistinct | Func::ArrayAgg | Func::Lag => Class::Raw,
        };
        Measure { class, arg: aggregate.arg, filter: aggregate.filter }
    }

    /// Whether the event at `i` passes the filter.
    pub(crate) fn passes(&self, events: &Events, i: usize) -> bool {
        self.filter.is_none_or(|slot| events.slots[slot].is_true(i))
    }

    fn kind<'g>(&self, group: &'g Group) -> &'g Kind {
        self.arg.map_or(&Kind::Int, |slot| &group.slots[slot])
    }
}

/// A partial of any class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Partial {
    Count(u64),
    Number(Number),
    Extreme(Extreme),
    Edge(Edge),
    Truth(Truth),
    DistinctSketch(DistinctSketch),
    QuantileSketch(QuantileSketch),
    Raw,
}

/// A stored partial may be a single byte: this is what decoding makes of it at most.
const _: () = assert!(size_of::<Partial>() <= 160, "decoded bytes must stay in proportion");

impl Partial {
    /// The partial of no events.
    pub(crate) fn empty(group: &Group, measure: &Measure) -> Partial {
        match measure.class {
            Class::Count => Partial::Count(0),
            Class::Number { squares } => {
                Partial::Number(Number::empty(measure.kind(group), squares))
            }
            Class::Min => Partial::Extreme(Extreme::empty(false)),
            Class::Max => Partial::Extreme(Extreme::empty(true)),
            Class::First => Partial::Edge(Edge::empty(false)),
            Class::Last => Partial::Edge(Edge::empty(true)),
            Class::Truth => Partial::Truth(Truth::default()),
            Class::DistinctSketch => Partial::DistinctSketch(DistinctSketch::empty()),
            Class::QuantileSketch => Partial::QuantileSketch(QuantileSketch::empty()),
            Class::Raw => Partial::Raw,
        }
    }

    /// Takes in the event at `i`, if the measure's filter lets it.
    pub(crate) fn add(&mut self, measure: &Measure, events: &Events, i: usize) {
        if !measure.passes(events, i) {
            return;
        }
        let column = measure.arg.map(|slot| &events.slots[slot]);
        match (self, column) {
            (Partial::Count(n), None) => *n = n.saturating_add(1),
            (Partial::Count(n), Some(column)) => {
                *n = n.saturating_add(u64::from(column.is_valid(i)));
            }
            (Partial::Number(x), Some(column)) => x.add(column, i),
            (Partial::Extreme(x), Some(column)) => x.add(column, i),
            (Partial::Edge(x), Some(column)) => x.add(events, column, i),
            (Partial::Truth(x), Some(column)) => x.add(column, i),
            (Partial::DistinctSketch(x), Some(column)) => x.add(column, i),
            (Partial::QuantileSketch(x), Some(column)) => x.add(column, i),
            _ => {}
        }
    }

    /// Takes the event at `i` out again; false where this class cannot (it is no group, only a
    /// monoid).
    pub(crate) fn sub(&mut self, measure: &Measure, events: &Events, i: usize) -> bool {
        let column = measure.arg.map(|slot| &events.slots[slot]);
        let passes = measure.passes(events, i);
        match (self, column) {
            (Partial::Count(n), None) => *n -= u64::from(passes),
            (Partial::Count(n), Some(column)) => *n -= u64::from(passes && column.is_valid(i)),
            (Partial::Number(x), Some(column)) if passes => x.sub(column, i),
            (Partial::Truth(x), Some(column)) if passes => x.sub(column, i),
            (Partial::QuantileSketch(x), Some(column)) if passes => x.sub(column, i),
            (Partial::Number(_) | Partial::Truth(_) | Partial::QuantileSketch(_), _) => {}
            _ => return false,
        }
        true
    }

    /// Takes in another partial of the same measure, of events that this one does not hold.
    pub(crate) fn merge(&mut self, other: &Partial) {
        match (self, other) {
            (Partial::Count(a), Partial::Count(b)) => *a = a.saturating_add(*b),
            (Partial::Number(a), Partial::Number(b)) => a.merge(b),
            (Partial::Extreme(a), Partial::Extreme(b)) => a.merge(b),
            (Partial::Edge(a), Partial::Edge(b)) => a.merge(b),
            (Partial::Truth(a), Partial::Truth(b)) => a.merge(b),
            (Partial::DistinctSketch(a), Partial::DistinctSketch(b)) => a.merge(b),
            (Partial::QuantileSketch(a), Partial::QuantileSketch(b)) => a.merge(b),
            _ => {}
        }
    }

    /// The value that `func` gives for the events taken in; `kind` is that of its argument.
    pub(crate) fn finish(&self, func: &Func, kind: &Kind) -> Result<Value, Unknown> {
        match self {
            Partial::Count(n) => i64::try_from(*n).map(Value::Int).map_err(|_| Unknown::Overflow),
            Partial::Number(x) => x.finish(func, kind),
            Partial::Extreme(x) => Ok(x.finish()),
            Partial::Edge(x) => Ok(x.finish()),
            Partial::Truth(x) => Ok(x.finish(func)),
            Partial::DistinctSketch(x) => Ok(x.finish()),
            Partial::QuantileSketch(x) => Ok(x.finish(func)),
            Partial::Raw => Ok(Value::Null),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Partial::Count(n) => put_u64(out, *n),
            Partial::Number(x) => x.put(out),
            Partial::Extreme(x) => x.put(out),
            Partial::Edge(x) => x.put(out),
            Partial::Truth(x) => x.put(out),
            Partial::DistinctSketch(x) => x.put(out),
            Partial::QuantileSketch(x) => x.put(out),
            Partial::Raw => {}
        }
    }

    /// Leaps over a partial that is not needed.
    pub(crate) fn skip(group: &Group, measure: &Measure, input: &mut Reader<'_>) -> Option<()> {
        match measure.class {
            Class::DistinctSketch => DistinctSketch::skip(input),
            // The others are no larger than what it takes to find their end.
            _ => Partial::read(group, measure, input).map(drop),
        }
    }

    pub(crate) fn read(
        group: &Group,
        measure: &Measure,
        input: &mut Reader<'_>,
    ) -> Option<Partial> {
        let kind = measure.kind(group);
        Some(match measure.class {
            Class::Count => Partial::Count(input.u64()?),
            Class::Number { squares } => Partial::Number(Number::read(kind, squares, input)?),
            Class::Min => Partial::Extreme(Extreme::read(false, kind, input)?),
            Class::Max => Partial::Extreme(Extreme::read(true, kind, input)?),
            Class::First => Partial::Edge(Edge::read(false, group.id, kind, input)?),
            Class::Last => Partial::Edge(Edge::read(true, group.id, kind, input)?),
            Class::Truth => Partial::Truth(Truth::read(input)?),
            Class::DistinctSketch => Partial::DistinctSketch(DistinctSketch::read(input)?),
            Class::QuantileSketch => Partial::QuantileSketch(QuantileSketch::read(input)?),
            Class::Raw => Partial::Raw,
        })
    }
}
