//! Columns of features under way: allotted once, filled in pieces by several threads, and handed to
//! Arrow as they are.

use arrow::array::{ArrayRef, BooleanArray, Date32Array, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use std::sync::Arc;
use trueup_core::Value;
use trueup_sql::bridge::array_of;

/// A column of one type, NULL everywhere at first.
pub(crate) struct FeatureColumn {
    ty: DataType,
    cells: Cells,
    valid: Vec<bool>,
}

enum Cells {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    Float(Vec<f64>),
    Date(Vec<i32>),
    /// Text and lists.
    Other(Vec<Value>),
}

/// A piece of a column, filled from its start.
pub(crate) struct Piece<'a> {
    cells: PieceCells<'a>,
    valid: &'a mut [bool],
    filled: usize,
}

enum PieceCells<'a> {
    Bool(&'a mut [bool]),
    Int(&'a mut [i64]),
    Decimal(&'a mut [i128]),
    Float(&'a mut [f64]),
    Date(&'a mut [i32]),
    Other(&'a mut [Value]),
}

impl FeatureColumn {
    pub(crate) fn new(ty: &DataType, rows: usize) -> FeatureColumn {
        let cells = match ty {
            DataType::Boolean => Cells::Bool(vec![false; rows]),
            DataType::Int64 | DataType::Timestamp(..) => Cells::Int(vec![0; rows]),
            DataType::Decimal128(..) => Cells::Decimal(vec![0; rows]),
            DataType::Float64 => Cells::Float(vec![0.0; rows]),
            DataType::Date32 => Cells::Date(vec![0; rows]),
            _ => Cells::Other(vec![Value::Null; rows]),
        };
        FeatureColumn { ty: ty.clone(), cells, valid: vec![false; rows] }
    }

    /// The column cut into pieces of these lengths.
    pub(crate) fn pieces(&mut self, lengths: &[usize]) -> Vec<Piece<'_>> {
        let valid = cut(&mut self.valid, lengths);
        let cells: Vec<PieceCells<'_>> = match &mut self.cells {
            Cells::Bool(v) => cut(v, lengths).into_iter().map(PieceCells::Bool).collect(),
            Cells::Int(v) => cut(v, lengths).into_iter().map(PieceCells::Int).collect(),
            Cells::Decimal(v) => cut(v, lengths).into_iter().map(PieceCells::Decimal).collect(),
            Cells::Float(v) => cut(v, lengths).into_iter().map(PieceCells::Float).collect(),
            Cells::Date(v) => cut(v, lengths).into_iter().map(PieceCells::Date).collect(),
            Cells::Other(v) => cut(v, lengths).into_iter().map(PieceCells::Other).collect(),
        };
        cells
            .into_iter()
            .zip(valid)
            .map(|(cells, valid)| Piece { cells, valid, filled: 0 })
            .collect()
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let nulls = self.valid.contains(&false).then(|| NullBuffer::from(self.valid));
        match self.cells {
            Cells::Bool(v) => Arc::new(BooleanArray::new(v.into(), nulls)),
            Cells::Int(v) if self.ty != DataType::Int64 => {
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(v.into(), nulls))
            }
            Cells::Int(v) => Arc::new(PrimitiveArray::<Int64Type>::new(v.into(), nulls)),
            Cells::Decimal(v) => {
                let decimals = PrimitiveArray::<Decimal128Type>::new(ScalarBuffer::from(v), nulls);
                Arc::new(decimals.with_data_type(self.ty))
            }
            Cells::Float(v) => Arc::new(PrimitiveArray::<Float64Type>::new(v.into(), nulls)),
            Cells::Date(v) => {
                let dates: Date32Array = PrimitiveArray::<Date32Type>::new(v.into(), nulls);
                Arc::new(dates)
            }
            Cells::Other(v) => array_of(&self.ty, &v),
        }
    }
}

impl Piece<'_> {
    /// How many values it has been given.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Gives it the next value; one of another kind than the column's counts as NULL, and `core`
    /// gives none.
    pub(crate) fn push(&mut self, value: Value) {
        let at = self.filled;
        self.filled += 1;
        self.valid[at] = match (&mut self.cells, value) {
            (PieceCells::Bool(v), Value::Bool(x)) => put(&mut v[at], x),
            (PieceCells::Int(v), Value::Int(x) | Value::Time(x)) => put(&mut v[at], x),
            (PieceCells::Decimal(v), Value::Decimal(x)) => put(&mut v[at], x),
            (PieceCells::Float(v), Value::Float(x)) => put(&mut v[at], x),
            (PieceCells::Date(v), Value::Date(x)) => put(&mut v[at], x),
            (PieceCells::Other(v), value) => put(&mut v[at], value),
            _ => false,
        };
    }
}

fn put<T>(cell: &mut T, x: T) -> bool {
    *cell = x;
    true
}

/// A slice cut into pieces of these lengths.
pub(crate) fn cut<'a, T>(mut all: &'a mut [T], lengths: &[usize]) -> Vec<&'a mut [T]> {
    let mut pieces = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (piece, rest) = std::mem::take(&mut all).split_at_mut(length);
        pieces.push(piece);
        all = rest;
    }
    pieces
}
