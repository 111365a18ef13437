//! Between Arrow's columns and `core`'s values: one place, both ways.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use std::sync::Arc;
use trueup_core::{Id, IdKind, Kind, Value};

/// Digits of a decimal whose kind alone is known, as of a sum: the most that 128 bits hold.
pub const DECIMAL_PRECISION: u8 = 38;

/// The Arrow type of values of `kind`; decimals get [`DECIMAL_PRECISION`] digits.
pub fn arrow_of(kind: &Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::Decimal { scale } => DataType::Decimal128(DECIMAL_PRECISION, *scale as i8),
        Kind::Float => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Date => DataType::Date32,
        Kind::List(item) => list_type(arrow_of(item)),
    }
}

/// The SQL name of an Arrow type that a column or feature has.
pub fn sql_type(ty: &DataType) -> String {
    match ty {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 => "VARCHAR".into(),
        DataType::Timestamp(_, _) => "TIMESTAMP".into(),
        DataType::Date32 => "DATE".into(),
        DataType::List(item) => format!("{}[]", sql_type(item.data_type())),
        // Row expressions have no other.
        other => other.to_string(),
    }
}

/// The kind that `core` keeps an Arrow type as; `None` for types that row expressions never have.
pub fn kind_of(ty: &DataType) -> Option<Kind> {
    Some(match ty {
        DataType::Boolean => Kind::Bool,
        DataType::Int64 => Kind::Int,
        DataType::Decimal128(_, scale) => Kind::Decimal { scale: u8::try_from(*scale).ok()? },
        DataType::Float64 => Kind::Float,
        DataType::Utf8 => Kind::Text,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Kind::Time,
        DataType::Date32 => Kind::Date,
        DataType::List(item) => Kind::List(Box::new(kind_of(item.data_type())?)),
        _ => return None,
    })
}

/// The value at `row`; -0.0 comes out as 0.0. NULL for a row outside the array, or of a type that
/// [`kind_of`] does not know.
pub fn value_at(array: &dyn Array, row: usize) -> Value {
    without_negative_zero(raw_value_at(array, row))
}

fn without_negative_zero(value: Value) -> Value {
    match value {
        Value::Float(value) => Value::Float(value + 0.0),
        Value::List(items) => Value::List(items.into_iter().map(without_negative_zero).collect()),
        value => value,
    }
}

/// As [`value_at`], but to the bit: -0.0 stays what it is.
pub fn raw_value_at(array: &dyn Array, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(_, _) => {
            Value::Decimal(array.as_primitive::<Decimal128Type>().value(row))
        }
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).into()),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Value::Time(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|item| raw_value_at(items.as_ref(), item)).collect())
        }
        _ => Value::Null,
    }
}

/// The id at `row` of a stream's id column, as a group of this `kind` keeps it. Id columns are
/// integers or text and never NULL; the compiler and the decoder see to that.
pub fn id_at(ids: &dyn Array, row: usize, kind: IdKind) -> Id {
    match value_at(ids, row) {
        Value::Int(id) => Id::Int(id),
        Value::Text(text) => Id::of_text(kind, &text).unwrap_or(Id::Int(0)),
        _ => Id::Int(0),
    }
}

/// A column of `values` of the Arrow type `ty`. A value of another kind becomes NULL; `core` gives
/// none. A type that [`kind_of`] does not know gives NULLs only.
pub fn array_of<'a>(ty: &DataType, values: impl IntoIterator<Item = &'a Value>) -> ArrayRef {
    macro_rules! collect {
        ($array:ty, $pattern:pat => $take:expr) => {
            Arc::new(
                values
                    .into_iter()
                    .map(|value| match value {
                        $pattern => Some($take),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    match ty {
        DataType::Boolean => collect!(BooleanArray, Value::Bool(x) => *x),
        DataType::Int64 => collect!(Int64Array, Value::Int(x) => *x),
        DataType::Float64 => collect!(Float64Array, Value::Float(x) => *x),
        DataType::Utf8 => collect!(StringArray, Value::Text(x) => x.as_ref()),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            collect!(TimestampMicrosecondArray, Value::Time(x) => *x)
        }
        DataType::Date32 => collect!(Date32Array, Value::Date(x) => *x),
        DataType::Decimal128(_, _) => {
            let plain: Arc<Decimal128Array> = collect!(Decimal128Array, Value::Decimal(x) => *x);
            Arc::new(Decimal128Array::clone(&plain).with_data_type(ty.clone()))
        }
        DataType::List(item) => list_of(item, values.into_iter().collect()),
        other => new_null_array(other, values.into_iter().count()),
    }
}

fn list_of(item: &FieldRef, values: Vec<&Value>) -> ArrayRef {
    let mut items: Vec<&Value> = Vec::new();
    let mut lengths = Vec::new();
    let mut valid = Vec::new();
    for value in values {
        let list = if let Value::List(list) = value { Some(list) } else { None };
        let before = items.len();
        items.extend(list.into_iter().flatten());
        lengths.push(items.len() - before);
        valid.push(list.is_some());
    }
    Arc::new(ListArray::new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        array_of(item.data_type(), items),
        Some(NullBuffer::from(valid)),
    ))
}

/// The type of lists of values of the type `item`.
pub fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_survive_the_way_there_and_back() {
        let int = Value::Int;
        let cases: Vec<(Kind, Vec<Value>)> = vec![
            (Kind::Bool, vec![Value::Bool(true), Value::Null, Value::Bool(false)]),
            (Kind::Int, vec![int(i64::MIN), Value::Null, int(i64::MAX)]),
            (Kind::Decimal { scale: 2 }, vec![Value::Decimal(-125), Value::Null]),
            (Kind::Float, vec![Value::Float(1e-300), Value::Null]),
            (Kind::Text, vec![Value::Text("".into()), Value::Null, Value::Text("\u{e9}".into())]),
            (Kind::Time, vec![Value::Time(-1), Value::Null]),
            (Kind::Date, vec![Value::Date(20_000), Value::Null]),
            (
                Kind::List(Box::new(Kind::Int)),
                vec![Value::List(vec![int(1), Value::Null]), Value::Null, Value::List(vec![])],
            ),
        ];
        for (kind, values) in cases {
            let ty = arrow_of(&kind);
            let array = array_of(&ty, &values);
            assert_eq!(array.data_type(), &ty);
            assert_eq!(kind_of(array.data_type()), Some(kind.clone()));
            let back: Vec<Value> = (0..array.len()).map(|row| value_at(&array, row)).collect();
            assert_eq!(back, values, "{kind:?}");
        }
    }

    #[test]
    fn negative_zero_is_zero_unless_the_bits_are_wanted() {
        fn is_negative(value: &Value) -> bool {
            match value {
                Value::Float(value) => value.is_sign_negative(),
                Value::List(items) => is_negative(&items[0]),
                _ => false,
            }
        }
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![-0.0]));
        let list = Value::List(vec![Value::Float(-0.0)]);
        let lists = array_of(&list_type(DataType::Float64), [&list]);
        for array in [zeros, lists] {
            assert!(is_negative(&raw_value_at(&array, 0)), "{array:?}");
            assert!(!is_negative(&value_at(&array, 0)), "{array:?}");
        }
    }

    #[test]
    fn a_row_outside_the_array_is_null() {
        assert_eq!(value_at(&Int64Array::from(vec![1]), 7), Value::Null);
    }
}
