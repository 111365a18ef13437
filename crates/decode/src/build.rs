//! Decoded values into Arrow columns, one builder for each type of column.

use super::cell::Scalar;
use crate::schema::ColumnType;
use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use std::sync::Arc;

/// A column under construction.
pub(super) enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
}

/// Text that a batch allots for each value before it knows better.
const GUESSED_TEXT_BYTES: usize = 12;

impl Builder {
    pub(super) fn new(ty: ColumnType, rows: usize) -> Builder {
        match ty {
            ColumnType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
                Builder::Int(Int64Builder::with_capacity(rows))
            }
            ColumnType::Decimal { .. } => {
                Builder::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(ty.arrow()))
            }
            ColumnType::Double => Builder::Double(Float64Builder::with_capacity(rows)),
            ColumnType::Varchar => Builder::Text(StringBuilder::with_capacity(
                rows,
                rows.saturating_mul(GUESSED_TEXT_BYTES),
            )),
            ColumnType::Timestamp => {
                Builder::Time(TimestampMicrosecondBuilder::with_capacity(rows))
            }
            ColumnType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
        }
    }

    /// Adds a value. One of another type than the column's becomes NULL; the rules give none.
    pub(super) fn push(&mut self, scalar: Scalar<'_>) {
        match (self, scalar) {
            (Builder::Bool(builder), Scalar::Bool(value)) => builder.append_value(value),
            (Builder::Int(builder), Scalar::Int(value)) => builder.append_value(value),
            (Builder::Decimal(builder), Scalar::Decimal(value)) => builder.append_value(value),
            (Builder::Double(builder), Scalar::Double(value)) => builder.append_value(value),
            (Builder::Text(builder), Scalar::Text(value)) => builder.append_value(value),
            (Builder::Time(builder), Scalar::Time(value)) => builder.append_value(value),
            (Builder::Date(builder), Scalar::Date(value)) => builder.append_value(value),
            (builder, _) => builder.push_null(),
        }
    }

    fn push_null(&mut self) {
        match self {
            Builder::Bool(builder) => builder.append_null(),
            Builder::Int(builder) => builder.append_null(),
            Builder::Decimal(builder) => builder.append_null(),
            Builder::Double(builder) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
        }
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        match &mut self {
            Builder::Bool(builder) => Arc::new(builder.finish()),
            Builder::Int(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Double(builder) => Arc::new(builder.finish()),
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
        }
    }
}
