//! `sum`, `avg`, `var_*`, `stddev_*`: count, exact sum and, where spread is asked for, exact sum of
//! squares.

use crate::answer::Unknown;
use crate::codec::{Reader, put_u64};
use crate::column::{Cells, Column};
use crate::exact::{FloatSquares, FloatSum, IntSquares, IntSum, Spread};
use crate::group::Func;
use crate::value::{Kind, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    n: u64,
    total: Total,
}

#[derive(Clone, Debug, PartialEq)]
enum Total {
    /// Integers and decimals, in units of the kind's scale.
    Int(IntSum, Option<IntSquares>),
    Float(FloatSum, Option<FloatSquares>),
}

impl Number {
    pub(crate) fn empty(kind: &Kind, squares: bool) -> Number {
        let total = match kind {
            Kind::Float => Total::Float(FloatSum::default(), squares.then(FloatSquares::default)),
            _ => Total::Int(IntSum::default(), squares.then(IntSquares::default)),
        };
        Number { n: 0, total }
    }

    pub(crate) fn add(&mut self, column: &Column, i: usize) {
        if !column.is_valid(i) {
            return;
        }
        self.n = self.n.saturating_add(1);
        match (&mut self.total, column.cells()) {
            (Total::Int(sum, squares), Cells::Int(v)) => {
                sum.add(i128::from(v[i]));
                squares.iter_mut().for_each(|s| s.add(i128::from(v[i])));
            }
            (Total::Int(sum, squares), Cells::Decimal(v)) => {
                sum.add(v[i]);
                squares.iter_mut().for_each(|s| s.add(v[i]));
            }
            (Total::Float(sum, squares), Cells::Float(v)) => {
                sum.add(v[i]);
                squares.iter_mut().for_each(|s| s.add(v[i]));
            }
            _ => {}
        }
    }

    pub(crate) fn sub(&mut self, column: &Column, i: usize) {
        if !column.is_valid(i) {
            return;
        }
        self.n -= 1;
        match (&mut self.total, column.cells()) {
            (Total::Int(sum, squares), Cells::Int(v)) => {
                sum.sub(i128::from(v[i]));
                squares.iter_mut().for_each(|s| s.sub(i128::from(v[i])));
            }
            (Total::Int(sum, squares), Cells::Decimal(v)) => {
                sum.sub(v[i]);
                squares.iter_mut().for_each(|s| s.sub(v[i]));
            }
            (Total::Float(sum, squares), Cells::Float(v)) => {
                sum.sub(v[i]);
                squares.iter_mut().for_each(|s| s.sub(v[i]));
            }
            _ => {}
        }
    }

    pub(crate) fn merge(&mut self, other: &Number) {
        self.n = self.n.saturating_add(other.n);
        match (&mut self.total, &other.total) {
            (Total::Int(sum, squares), Total::Int(sum2, squares2)) => {
                sum.merge(sum2);
                squares.iter_mut().zip(squares2).for_each(|(a, b)| a.merge(b));
            }
            (Total::Float(sum, squares), Total::Float(sum2, squares2)) => {
                sum.merge(sum2);
                squares.iter_mut().zip(squares2).for_each(|(a, b)| a.merge(b));
            }
            _ => {}
        }
    }

    pub(crate) fn finish(&self, func: &Func, kind: &Kind) -> Result<Value, Unknown> {
        if self.n == 0 {
            return Ok(Value::Null);
        }
        match func {
            Func::Sum => self.sum(kind),
            Func::Avg => Ok(Value::Float(match &self.total {
                Total::Int(sum, _) => sum.mean(self.n, scale(kind)),
                Total::Float(sum, _) => sum.mean(self.n),
            })),
            _ => self.spread(func, kind),
        }
    }

    fn sum(&self, kind: &Kind) -> Result<Value, Unknown> {
        let value = match (&self.total, kind) {
            (Total::Float(sum, _), _) => sum.value().map(Value::Float),
            (Total::Int(sum, _), Kind::Decimal { .. }) => {
                let fits = |x: &i128| x.unsigned_abs() < 10u128.pow(38);
                sum.to_i128().filter(fits).map(Value::Decimal)
            }
            (Total::Int(sum, _), _) => {
                sum.to_i128().and_then(|x| i64::try_from(x).ok()).map(Value::Int)
            }
        };
        value.ok_or(Unknown::Overflow)
    }

    fn spread(&self, func: &Func, kind: &Kind) -> Result<Value, Unknown> {
        let samp = matches!(func, Func::VarSamp | Func::StddevSamp);
        if samp && self.n < 2 {
            return Ok(Value::Null);
        }
        let spread = match &self.total {
            Total::Int(sum, Some(squares)) => Spread::of_ints(sum, squares, self.n, scale(kind)),
            Total::Float(sum, Some(squares)) => Spread::of_floats(sum, squares, self.n),
            _ => return Ok(Value::Null),
        };
        let value = match func {
            Func::VarPop => spread.variance_pop(),
            Func::VarSamp => spread.variance_samp(),
            Func::StddevPop => spread.stddev_pop(),
            _ => spread.stddev_samp(),
        };
        value.map(Value::Float).ok_or(Unknown::Overflow)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.n);
        match &self.total {
            Total::Int(sum, squares) => {
                sum.encode(out);
                squares.iter().for_each(|s| s.encode(out));
            }
            Total::Float(sum, squares) => {
                sum.encode(out);
                squares.iter().for_each(|s| s.encode(out));
            }
        }
    }

    pub(crate) fn read(kind: &Kind, squares: bool, input: &mut Reader<'_>) -> Option<Number> {
        let n = input.u64()?;
        let rest = input.rest_mut();
        let total = match kind {
            Kind::Float => {
                let sum = FloatSum::decode(rest)?;
                Total::Float(sum, if squares { Some(FloatSquares::decode(rest)?) } else { None })
            }
            _ => {
                let sum = IntSum::decode(rest)?;
                Total::Int(sum, if squares { Some(IntSquares::decode(rest)?) } else { None })
            }
        };
        Some(Number { n, total })
    }
}

fn scale(kind: &Kind) -> u8 {
    match kind {
        Kind::Decimal { scale } => *scale,
        _ => 0,
    }
}
