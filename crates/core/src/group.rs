//! What the state of one key is for: a group's slots, frames and aggregates, in the compiled form
//! that `sql` makes.
//!
//! A group is one (stream, row filter, partition columns, way of keeping) of the compiled
//! definitions. All windows of all views that agree on these share one value per key. Slots are the
//! argument and filter expressions, already evaluated.

use crate::value::{IdKind, Kind};

/// How the events of a key are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Every event of the horizon, as a set keyed by event id: exact to the microsecond.
    Exact,
    /// One partial per non-empty bin; the youngest events raw.
    Binned {
        /// Bin width in microseconds, above 0.
        width_us: i64,
        /// A time at which a bin starts, microseconds since 1970.
        origin_us: i64,
    },
    /// One partial for all events that are older than every near end; younger ones raw.
    Lifetime,
}

/// Which events, relative to the current row, an aggregate sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// `RANGE`: events e with `t - far_us <= e.time <= t - near_us`, both ends in. In a binned
    /// group the same on bin starts, and never an event after t.
    Range {
        /// Microseconds back to the old end; `None` is `UNBOUNDED PRECEDING`.
        far_us: Option<i64>,
        /// Microseconds back to the young end; 0 is `CURRENT ROW`.
        near_us: i64,
    },
    /// `ROWS`: by place in the order (event time, event id).
    Rows {
        /// Rows back to the old end.
        far: u32,
        /// Rows back to the young end; 0 is `CURRENT ROW`.
        near: u32,
    },
}

/// What an aggregate computes from the slots of the events in its frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Func {
    /// `count(*)` without an argument slot, `count(x)` with one.
    Count,
    /// `count(DISTINCT x)`, exact.
    CountDistinct,
    /// `sum(x)`.
    Sum,
    /// `avg(x)`, DOUBLE, rounded once.
    Avg,
    /// `min(x)`.
    Min,
    /// `max(x)`.
    Max,
    /// `var_pop(x)`, DOUBLE, rounded once.
    VarPop,
    /// `var_samp(x)`, DOUBLE, rounded once; NULL below two values.
    VarSamp,
    /// `stddev_pop(x)`, DOUBLE, rounded once.
    StddevPop,
    /// `stddev_samp(x)`, DOUBLE, rounded once; NULL below two values.
    StddevSamp,
    /// `first_value(x)`: of the first event in (time, id) order, NULL or not.
    First,
    /// `last_value(x)`: of the last event in (time, id) order, NULL or not.
    Last,
    /// `bool_and(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
    /// `approx_distinct(x)`: exact in exact groups, a mergeable sketch in the others.
    ApproxDistinct,
    /// `approx_percentile_cont(x, p)`, DOUBLE: exact in exact groups, a mergeable sketch in the
    /// others.
    Percentile(f64),
    /// `array_agg(x)` over a ROWS frame, in (time, id) order.
    ArrayAgg,
    /// `lag(x, n)`: of the n-th event before the current row in (time, id) order. It has its own
    /// frame, `Frame::Rows { far: n, near: n }`.
    Lag,
}

/// One aggregate over one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What is computed.
    pub func: Func,
    /// The slot of its argument; `None` only for `count(*)`.
    pub arg: Option<usize>,
    /// The boolean slot of its FILTER: only events where it is true count.
    pub filter: Option<usize>,
    /// Over which events.
    pub frame: Frame,
}

/// The compiled form of a group: all that `record`, `fold`, `read` and `slide` need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// How the events are kept.
    pub keep: Keep,
    /// How ids are kept.
    pub id: IdKind,
    /// Kinds of the argument and filter columns that a record carries.
    pub slots: Vec<Kind>,
    /// The aggregates of all views over this group.
    pub aggregates: Vec<Aggregate>,
    /// The stream's declared lateness, microseconds.
    pub lateness_us: i64,
    /// How far an event time may be ahead of its log's time, microseconds.
    pub future_us: i64,
    /// In binned and lifetime groups: events younger than this before the key's newest stay raw,
    /// microseconds.
    pub reorder_us: i64,
}

impl Group {
    /// The longest reach back of any RANGE frame in microseconds, bin rounding included; `None` if
    /// one is unbounded.
    pub fn reach_us(&self) -> Option<i64> {
        let mut reach = 0i64;
        for aggregate in &self.aggregates {
            if let Frame::Range { far_us, .. } = aggregate.frame {
                reach = reach.max(far_us?);
            }
        }
        match self.keep {
            Keep::Binned { width_us, .. } => Some(reach.saturating_add(width_us)),
            _ => Some(reach),
        }
    }

    /// How long an event is kept behind the key's newest event time, microseconds: longest frame,
    /// lateness and the bound on future times together. `None` if a frame is unbounded.
    pub fn horizon_us(&self) -> Option<i64> {
        Some(self.reach_us()?.saturating_add(self.lateness_us).saturating_add(self.future_us))
    }

    /// How many of the newest events ROWS frames need, whatever their age; 0 without ROWS frames.
    pub fn newest_rows(&self) -> usize {
        let rows = |a: &Aggregate| match a.frame {
            Frame::Rows { far, .. } => far as usize + 1,
            Frame::Range { .. } => 0,
        };
        self.aggregates.iter().map(rows).max().unwrap_or(0)
    }

    /// The kind of an aggregate's answer.
    pub fn kind_of(&self, aggregate: &Aggregate) -> Kind {
        let arg = || aggregate.arg.map_or(Kind::Int, |slot| self.slots[slot].clone());
        match aggregate.func {
            Func::Count | Func::CountDistinct | Func::ApproxDistinct => Kind::Int,
            Func::Avg | Func::VarPop | Func::VarSamp | Func::StddevPop | Func::StddevSamp => {
                Kind::Float
            }
            Func::Percentile(_) => Kind::Float,
            Func::BoolAnd | Func::BoolOr => Kind::Bool,
            Func::ArrayAgg => Kind::List(Box::new(arg())),
            Func::Sum | Func::Min | Func::Max | Func::First | Func::Last | Func::Lag => arg(),
        }
    }
}
