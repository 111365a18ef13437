//! The naive oracle: for every answer, look at every event. It is the definition of what a feature
//! means; the fast code is tested against it and never against itself.
//!
//! It knows nothing of bytes, folding, trimming or windows that move, and so never says UNKNOWN but
//! for an overflow.

use crate::answer::Unknown;
use crate::events::Event;
use crate::exact::{FloatSquares, FloatSum, IntSquares, IntSum, Spread};
use crate::group::{Aggregate, Frame, Func, Group, Keep};
use crate::value::{Kind, Value};
use std::cmp::Ordering;

/// The set of events that a sequence with repeats stands for: each id once, the one that sorts last
/// by (time, slots).
pub fn distinct(events: &[Event]) -> Vec<Event> {
    let mut set: Vec<Event> = Vec::new();
    for event in events {
        match set.iter_mut().find(|other| other.id == event.id) {
            Some(other) if rank(event, other).is_gt() => *other = event.clone(),
            Some(_) => {}
            None => set.push(event.clone()),
        }
    }
    set.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    set
}

fn rank(a: &Event, b: &Event) -> Ordering {
    let slots = a.slots.iter().zip(&b.slots).map(|(a, b)| order(a, b));
    a.time.cmp(&b.time).then(slots.fold(Ordering::Equal, Ordering::then))
}

/// NULL first, then by value.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (a, b) => (*a != Value::Null).cmp(&(*b != Value::Null)),
    }
}

/// What `aggregate` is at time `at` over a set of events (see [`distinct`]), with the request's own
/// event counted once.
///
/// # Errors
/// [`Unknown::Overflow`] where the exact result does not fit its type.
pub fn answer(
    group: &Group,
    aggregate: &Aggregate,
    set: &[Event],
    at: i64,
    own: Option<&Event>,
) -> Result<Value, Unknown> {
    let at = own.map_or(at, |own| own.time);
    let in_frame = framed(group, aggregate.frame, with_own(set, own), at, own);
    let passes = |e: &&Event| aggregate.filter.is_none_or(|f| e.slots[f] == Value::Bool(true));
    let counted: Vec<&Event> = in_frame.into_iter().filter(passes).collect();
    compute(group, aggregate, &counted)
}

/// Whether the frame of `aggregate` holds no event but perhaps the request's own, filtered or not.
pub fn is_empty(
    group: &Group,
    aggregate: &Aggregate,
    set: &[Event],
    at: i64,
    own: Option<&Event>,
) -> bool {
    let events = with_own(set, own);
    let at = own.map_or(at, |own| own.time);
    let others = |e: &&Event| own.is_none_or(|own| own.id != e.id);
    !framed(group, aggregate.frame, events, at, own).into_iter().any(|e| others(&e))
}

/// The events in their order, the request's own in place of the one that has its id.
fn with_own<'a>(set: &'a [Event], own: Option<&'a Event>) -> Vec<&'a Event> {
    let others = set.iter().filter(|e| own.is_none_or(|own| own.id != e.id));
    let mut events: Vec<&Event> = others.chain(own).collect();
    events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    events
}

fn framed<'a>(
    group: &Group,
    frame: Frame,
    events: Vec<&'a Event>,
    at: i64,
    own: Option<&Event>,
) -> Vec<&'a Event> {
    let bin = |t: i64| match group.keep {
        Keep::Binned { width_us, origin_us } => {
            (t - origin_us).div_euclid(width_us) * width_us + origin_us
        }
        _ => t,
    };
    match frame {
        Frame::Range { far_us, near_us } => {
            let holds = |e: &&Event| {
                far_us.is_none_or(|far| bin(at) - far <= bin(e.time))
                    && bin(e.time) <= bin(at) - near_us
                    && e.time <= at
            };
            events.into_iter().filter(holds).collect()
        }
        Frame::Rows { far, near } => {
            // Rows back from the current row; without one, the newest event is one row back.
            let row = own.map_or((at, None), |own| (own.time, Some(&own.id)));
            let seen = |e: &&Event| match row {
                (time, None) => e.time <= time,
                (time, Some(id)) => (e.time, &e.id) <= (time, id),
            };
            let mut back: Vec<&Event> = events.into_iter().filter(seen).rev().collect();
            let shift = usize::from(own.is_none());
            let number = |i: usize| i + shift;
            let mut places = 0..back.len();
            back.retain(|_| {
                let i = number(places.next().unwrap_or(0));
                near as usize <= i && i <= far as usize
            });
            back.reverse();
            back
        }
    }
}

fn compute(group: &Group, aggregate: &Aggregate, events: &[&Event]) -> Result<Value, Unknown> {
    let Some(slot) = aggregate.arg else { return Ok(Value::Int(events.len() as i64)) };
    let all: Vec<Value> = events.iter().map(|e| e.slots[slot].clone()).collect();
    let mut values: Vec<Value> = all.iter().filter(|v| **v != Value::Null).cloned().collect();
    let some = |value: Option<&Value>| Ok(value.cloned().unwrap_or(Value::Null));
    match &aggregate.func {
        Func::Count => return Ok(Value::Int(values.len() as i64)),
        Func::First | Func::Lag => return some(all.first()),
        Func::Last => return some(all.last()),
        Func::ArrayAgg if all.is_empty() => return Ok(Value::Null),
        Func::ArrayAgg => return Ok(Value::List(all)),
        _ => {}
    }
    values.sort_by(order);
    let is_true = |v: &Value| *v == Value::Bool(true);
    Ok(match &aggregate.func {
        Func::CountDistinct | Func::ApproxDistinct => {
            values.dedup_by(|a, b| order(a, b).is_eq());
            Value::Int(values.len() as i64)
        }
        _ if values.is_empty() => Value::Null,
        Func::Min => values[0].clone(),
        Func::Max => values[values.len() - 1].clone(),
        Func::BoolAnd => Value::Bool(values.iter().all(is_true)),
        Func::BoolOr => Value::Bool(values.iter().any(is_true)),
        func => return number(func, &group.slots[slot], &values),
    })
}

fn number(func: &Func, kind: &Kind, values: &[Value]) -> Result<Value, Unknown> {
    let n = values.len() as u64;
    let scale = if let Kind::Decimal { scale } = kind { *scale } else { 0 };
    let (mut ints, mut int_squares) = (IntSum::default(), IntSquares::default());
    let (mut floats, mut float_squares) = (FloatSum::default(), FloatSquares::default());
    let mut doubles = Vec::new();
    for value in values {
        let whole = match value {
            Value::Int(x) => i128::from(*x),
            Value::Decimal(x) => *x,
            Value::Float(x) => {
                floats.add(*x);
                float_squares.add(*x);
                doubles.push(*x);
                continue;
            }
            _ => continue,
        };
        ints.add(whole);
        int_squares.add(whole);
        let mut one = IntSum::default();
        one.add(whole);
        doubles.push(one.mean(1, scale));
    }
    let spread = match kind {
        Kind::Float => Spread::of_floats(&floats, &float_squares, n),
        _ => Spread::of_ints(&ints, &int_squares, n, scale),
    };
    let value = match (func, kind) {
        (Func::Sum, Kind::Float) => floats.value().map(Value::Float),
        (Func::Sum, Kind::Int) => {
            ints.to_i128().and_then(|x| i64::try_from(x).ok()).map(Value::Int)
        }
        (Func::Sum, _) => {
            ints.to_i128().filter(|x| x.unsigned_abs() < 10u128.pow(38)).map(Value::Decimal)
        }
        (Func::Avg, Kind::Float) => Some(Value::Float(floats.mean(n))),
        (Func::Avg, _) => Some(Value::Float(ints.mean(n, scale))),
        (Func::VarSamp | Func::StddevSamp, _) if n < 2 => Some(Value::Null),
        (Func::VarPop, _) => spread.variance_pop().map(Value::Float),
        (Func::VarSamp, _) => spread.variance_samp().map(Value::Float),
        (Func::StddevPop, _) => spread.stddev_pop().map(Value::Float),
        (Func::StddevSamp, _) => spread.stddev_samp().map(Value::Float),
        (Func::Percentile(p), _) => Some(Value::Float(percentile(*p, &doubles))),
        _ => Some(Value::Null),
    };
    value.ok_or(Unknown::Overflow)
}

/// Between the two values nearest to rank `p (n - 1)`, in proportion.
fn percentile(p: f64, ordered: &[f64]) -> f64 {
    let rank = p * (ordered.len() - 1) as f64;
    let (a, b) = (ordered[rank.floor() as usize], ordered[rank.ceil() as usize]);
    let weight = rank - rank.floor();
    let x = a + (b - a) * weight;
    if x.is_finite() { x + 0.0 } else { a * (1.0 - weight) + b * weight }
}
