//! Columns of slot values, one per slot of a group: typed vectors, so that folding and sliding
//! allocate per column and not per event.

use crate::aggregate::order;
use crate::value::{Kind, Value};
use std::cmp::Ordering;
use std::collections::VecDeque;

/// The values of one slot, in the order of the events that hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    kind: Kind,
    valid: Vec<bool>,
    cells: Cells,
}

/// The cells of a column; a NULL has a default cell, so that places agree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cells {
    Bool(Vec<bool>),
    /// Integers, times and dates.
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    Float(Vec<f64>),
    Text(Vec<Box<str>>),
}

/// Runs `$body` with `$v` bound to the vector of whichever variant `$cells` is.
macro_rules! each {
    ($cells:expr, $v:ident => $body:expr) => {
        match $cells {
            Cells::Bool($v) => $body,
            Cells::Int($v) => $body,
            Cells::Decimal($v) => $body,
            Cells::Float($v) => $body,
            Cells::Text($v) => $body,
        }
    };
}

impl Column {
    /// An empty column of a scalar kind; a list kind is kept as text, which no slot ever is.
    pub fn new(kind: &Kind) -> Column {
        Column::with_capacity(kind, 0)
    }

    /// An empty column with room for `n` values.
    pub fn with_capacity(kind: &Kind, n: usize) -> Column {
        let cells = match kind {
            Kind::Bool => Cells::Bool(Vec::with_capacity(n)),
            Kind::Int | Kind::Time | Kind::Date => Cells::Int(Vec::with_capacity(n)),
            Kind::Decimal { .. } => Cells::Decimal(Vec::with_capacity(n)),
            Kind::Float => Cells::Float(Vec::with_capacity(n)),
            Kind::Text | Kind::List(_) => Cells::Text(Vec::with_capacity(n)),
        };
        Column { kind: kind.clone(), valid: Vec::with_capacity(n), cells }
    }

    /// A column of `n` NULLs, to be filled by [`Column::set`].
    pub fn nulls(kind: &Kind, n: usize) -> Column {
        let cells = match Column::new(kind).cells {
            Cells::Bool(_) => Cells::Bool(vec![false; n]),
            Cells::Int(_) => Cells::Int(vec![0; n]),
            Cells::Decimal(_) => Cells::Decimal(vec![0; n]),
            Cells::Float(_) => Cells::Float(vec![0.0; n]),
            Cells::Text(_) => Cells::Text(vec!["".into(); n]),
        };
        Column { kind: kind.clone(), valid: vec![false; n], cells }
    }

    /// Puts a value at `i`; one that is not of this column's kind counts as NULL.
    pub fn set(&mut self, i: usize, value: Value) {
        self.valid[i] = match (&mut self.cells, value) {
            (Cells::Bool(v), Value::Bool(x)) => put(&mut v[i], x),
            (Cells::Int(v), Value::Int(x) | Value::Time(x)) => put(&mut v[i], x),
            (Cells::Int(v), Value::Date(x)) => put(&mut v[i], i64::from(x)),
            (Cells::Decimal(v), Value::Decimal(x)) => put(&mut v[i], x),
            (Cells::Float(v), Value::Float(x)) => put(&mut v[i], x),
            (Cells::Text(v), Value::Text(x)) => put(&mut v[i], x),
            _ => false,
        };
    }

    pub(crate) fn from_parts(kind: &Kind, valid: Vec<bool>, cells: Cells) -> Column {
        Column { kind: kind.clone(), valid, cells }
    }

    /// The kind of its values.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How many values it holds, NULLs counted.
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.valid.is_empty()
    }

    /// Whether the value at `i` is not NULL.
    pub fn is_valid(&self, i: usize) -> bool {
        self.valid[i]
    }

    /// Whether the value at `i` is a true boolean: what a filter asks.
    pub fn is_true(&self, i: usize) -> bool {
        match &self.cells {
            Cells::Bool(cells) => self.valid[i] && cells[i],
            _ => false,
        }
    }

    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(crate) fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// The value at `i`.
    pub fn value(&self, i: usize) -> Value {
        if !self.valid[i] {
            return Value::Null;
        }
        match &self.cells {
            Cells::Bool(v) => Value::Bool(v[i]),
            Cells::Int(v) => match self.kind {
                Kind::Time => Value::Time(v[i]),
                // A date's cell was an i32 when it was pushed.
                Kind::Date => Value::Date(v[i] as i32),
                _ => Value::Int(v[i]),
            },
            Cells::Decimal(v) => Value::Decimal(v[i]),
            Cells::Float(v) => Value::Float(v[i]),
            Cells::Text(v) => Value::Text(v[i].clone()),
        }
    }

    /// Appends a value; one that is not of this column's kind counts as NULL (the compiler types
    /// slots, so none comes).
    pub fn push(&mut self, value: &Value) {
        let fits = match (&mut self.cells, value) {
            (Cells::Bool(v), Value::Bool(x)) => fill(v, *x),
            (Cells::Int(v), Value::Int(x) | Value::Time(x)) => fill(v, *x),
            (Cells::Int(v), Value::Date(x)) => fill(v, i64::from(*x)),
            (Cells::Decimal(v), Value::Decimal(x)) => fill(v, *x),
            (Cells::Float(v), Value::Float(x)) => fill(v, *x),
            (Cells::Text(v), Value::Text(x)) => fill(v, x.clone()),
            (cells, _) => {
                each!(cells, v => v.push(Default::default()));
                false
            }
        };
        self.valid.push(fits);
    }

    /// Puts a value in at place `i`, moving later ones back.
    pub(crate) fn insert(&mut self, i: usize, value: &Value) {
        self.push(value);
        let last = self.len() - 1;
        self.valid[i..=last].rotate_right(1);
        each!(&mut self.cells, v => v[i..=last].rotate_right(1));
    }

    pub(crate) fn remove(&mut self, i: usize) {
        self.valid.remove(i);
        each!(&mut self.cells, v => { v.remove(i); });
    }

    /// Drops the first `n` values.
    pub(crate) fn drop_front(&mut self, n: usize) {
        self.valid.drain(..n);
        each!(&mut self.cells, v => { v.drain(..n); });
    }

    /// The values at `places`, in that order.
    pub fn gather(&self, places: &[u32]) -> Column {
        fn pick<T: Clone>(v: &[T], places: &[u32]) -> Vec<T> {
            places.iter().map(|&i| v[i as usize].clone()).collect()
        }
        let cells = match &self.cells {
            Cells::Bool(v) => Cells::Bool(pick(v, places)),
            Cells::Int(v) => Cells::Int(pick(v, places)),
            Cells::Decimal(v) => Cells::Decimal(pick(v, places)),
            Cells::Float(v) => Cells::Float(pick(v, places)),
            Cells::Text(v) => Cells::Text(pick(v, places)),
        };
        Column { kind: self.kind.clone(), valid: pick(&self.valid, places), cells }
    }

    /// Puts the places that are not NULL behind a queue of those whose values could still become
    /// the least (or greatest) of a window that moves forward (Lemire 2006).
    pub(crate) fn queue_extremes(
        &self,
        places: &mut VecDeque<usize>,
        greatest: bool,
        entering: impl Iterator<Item = usize>,
    ) {
        fn queue<T>(
            places: &mut VecDeque<usize>,
            greatest: bool,
            entering: impl Iterator<Item = usize>,
            values: &[T],
            order: impl Fn(&T, &T) -> Ordering,
        ) {
            for i in entering {
                let beaten = |&j: &usize| {
                    let order = order(&values[j], &values[i]);
                    if greatest { order.is_le() } else { order.is_ge() }
                };
                while places.back().is_some_and(beaten) {
                    places.pop_back();
                }
                places.push_back(i);
            }
        }
        let entering = entering.filter(|&i| self.valid[i]);
        match &self.cells {
            Cells::Bool(v) => queue(places, greatest, entering, v, Ord::cmp),
            Cells::Int(v) => queue(places, greatest, entering, v, Ord::cmp),
            Cells::Decimal(v) => queue(places, greatest, entering, v, Ord::cmp),
            Cells::Float(v) => queue(places, greatest, entering, v, f64::total_cmp),
            Cells::Text(v) => queue(places, greatest, entering, v, Ord::cmp),
        }
    }

    /// The order of the value at `i` and another of the same kind: NULL first, then by value.
    pub(crate) fn compare_to(&self, i: usize, other: &Value) -> Ordering {
        let nulls = self.valid[i].cmp(&(*other != Value::Null));
        nulls.then_with(|| order(&self.value(i), other))
    }

    /// The order of the values at `i` here and at `j` in `other`, a column of the same kind: NULL
    /// first, then by value.
    pub(crate) fn compare(&self, i: usize, other: &Column, j: usize) -> Ordering {
        match (self.valid[i], other.valid[j]) {
            (false, false) => return Ordering::Equal,
            (a, b) if a != b => return a.cmp(&b),
            _ => {}
        }
        match (&self.cells, &other.cells) {
            (Cells::Bool(a), Cells::Bool(b)) => a[i].cmp(&b[j]),
            (Cells::Int(a), Cells::Int(b)) => a[i].cmp(&b[j]),
            (Cells::Decimal(a), Cells::Decimal(b)) => a[i].cmp(&b[j]),
            (Cells::Float(a), Cells::Float(b)) => a[i].total_cmp(&b[j]),
            (Cells::Text(a), Cells::Text(b)) => a[i].cmp(&b[j]),
            _ => Ordering::Equal,
        }
    }
}

fn put<T>(cell: &mut T, x: T) -> bool {
    *cell = x;
    true
}

fn fill<T>(v: &mut Vec<T>, x: T) -> bool {
    v.push(x);
    true
}
