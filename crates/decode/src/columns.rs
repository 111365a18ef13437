//! Arrow batches: columns matched by exact name, each converted as a whole.
//!
//! A column that has its type already and holds nothing bad passes without a copy: one pass over
//! its values checks it. Everything else goes value by value through the rules, so that a column
//! of nanoseconds or of text means what the same values mean in JSON.

use super::build::Builder;
use super::cell::{Cell, Scalar};
use super::fault::{BadEvent, BadValue, DecodeError, null};
use super::rows::{TextRoom, batch_of};
use super::{Decoded, Decoder, MAX_TEXT_BYTES, cell, number, time};
use crate::schema::{Column, ColumnType};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, new_null_array,
};
use arrow::compute::{FilterBuilder, cast};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The first bad value of each row that has one: the column's index, and why.
type BadRows = BTreeMap<usize, (usize, BadValue)>;

impl Decoder {
    /// Decodes an Arrow batch. Columns that the stream does not declare are ignored, declared ones
    /// that the batch lacks are NULL.
    ///
    /// # Errors
    /// The batch lacks a NOT NULL column, has one name twice, or a column's Arrow type is one that
    /// its SQL type never takes.
    pub fn arrow(&self, batch: &RecordBatch) -> Result<Decoded, DecodeError> {
        let rows = batch.num_rows();
        let mut bad = BadRows::new();
        let mut columns = Vec::with_capacity(self.stream.columns.len());
        let mut known = 0;
        for (index, column) in self.stream.columns.iter().enumerate() {
            let array = match find(batch, &column.name)? {
                Some(array) => {
                    known += 1;
                    self.convert(index, column, array, &mut bad)?
                }
                None if self.required[index] => {
                    return Err(DecodeError::MissingColumn { column: column.name.clone() });
                }
                None => new_null_array(&column.ty.arrow(), rows),
            };
            columns.push(array);
        }
        let unknown_fields = (batch.num_columns() - known) as u64 * rows as u64;
        self.without_bad(columns, rows, bad, unknown_fields)
    }

    fn convert(
        &self,
        index: usize,
        column: &Column,
        array: &ArrayRef,
        bad: &mut BadRows,
    ) -> Result<ArrayRef, DecodeError> {
        let array = plain(array)?;
        let wrong = || DecodeError::ColumnType {
            column: column.name.clone(),
            found: array.data_type().to_string(),
            declared: column.ty.to_string(),
        };
        if !takes(column.ty, array.data_type()) {
            return Err(wrong());
        }
        if self.required[index]
            && let Some(nulls) = array.logical_nulls()
        {
            let empty = (0..array.len()).filter(|row| nulls.is_null(*row));
            empty.for_each(|row| {
                bad.entry(row).or_insert_with(|| (index, null()));
            });
        }
        if let Some(passed) = pass(column.ty, &array) {
            return Ok(passed);
        }
        let cells = cells(&array).ok_or_else(wrong)?;
        let mut builder = Builder::new(column.ty, array.len());
        let mut room = TextRoom::default();
        for row in 0..array.len() {
            let cell = if array.is_null(row) { Cell::Null } else { cells(row) };
            let scalar = cell::scalar(column.ty, self.stream.epoch_unit, cell)
                .and_then(|scalar| room.take(&[scalar]).map(|()| scalar));
            builder.push(scalar.unwrap_or_else(|why| {
                bad.entry(row).or_insert((index, why));
                Scalar::Null
            }));
        }
        Ok(builder.finish())
    }

    /// Takes the bad rows out of `columns`.
    fn without_bad(
        &self,
        columns: Vec<ArrayRef>,
        rows: usize,
        bad: BadRows,
        unknown_fields: u64,
    ) -> Result<Decoded, DecodeError> {
        if bad.is_empty() {
            let batch = batch_of(&self.schema, columns, rows)?;
            return Ok(Decoded {
                batch,
                kept: (0..rows).collect(),
                bad: vec![],
                unknown_fields,
                unknown_names: BTreeSet::new(),
            });
        }
        let good: BooleanArray = (0..rows).map(|row| Some(!bad.contains_key(&row))).collect();
        let filter = FilterBuilder::new(&good).optimize().build();
        let columns: Result<Vec<_>, _> = columns.iter().map(|array| filter.filter(array)).collect();
        let columns = columns.map_err(DecodeError::Batch)?;
        let batch = batch_of(&self.schema, columns, rows - bad.len())?;
        let kept = (0..rows).filter(|row| good.value(*row)).collect();
        let event = |(index, (column, why)): (usize, (usize, BadValue))| BadEvent {
            index,
            column: Some(self.stream.columns[column].name.clone()),
            fault: why.fault,
            reason: why.reason,
            row: Vec::new(),
        };
        let bad = bad.into_iter().map(event).collect();
        Ok(Decoded { batch, kept, bad, unknown_fields, unknown_names: BTreeSet::new() })
    }
}

fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<Option<&'a ArrayRef>, DecodeError> {
    let schema = batch.schema_ref();
    let mut found = (0..batch.num_columns()).filter(|index| schema.field(*index).name() == name);
    let first = found.next().map(|index| batch.column(index));
    match found.next() {
        Some(_) => Err(DecodeError::RepeatedColumn { column: name.to_owned() }),
        None => Ok(first),
    }
}

/// The array without a dictionary.
fn plain(array: &ArrayRef) -> Result<ArrayRef, DecodeError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values).map_err(DecodeError::Batch),
        _ => Ok(array.clone()),
    }
}

/// Whether a column of type `ty` takes any value at all of Arrow type `from`.
fn takes(ty: ColumnType, from: &DataType) -> bool {
    let text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if text || *from == DataType::Null {
        return true;
    }
    let decimal = matches!(
        from,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)
    );
    let number = from.is_integer() || from.is_floating() || decimal;
    match ty {
        ColumnType::Boolean => from.is_integer() || *from == DataType::Boolean,
        ColumnType::Varchar => false,
        ColumnType::Timestamp => number || matches!(from, DataType::Timestamp(..)),
        ColumnType::Date => matches!(from, DataType::Date32 | DataType::Date64),
        _ => number,
    }
}

/// The array as it is, if it has `ty`'s Arrow type and every value keeps `ty`'s rule. What stands
/// under a NULL is checked too; should it fail, the array goes value by value.
fn pass(ty: ColumnType, array: &ArrayRef) -> Option<ArrayRef> {
    let same = || Some(array.clone());
    match (ty, array.data_type()) {
        (ColumnType::Boolean, DataType::Boolean) => same(),
        (ColumnType::BigInt, DataType::Int64) => same(),
        (ColumnType::SmallInt | ColumnType::Integer, DataType::Int64) => {
            let (least, most) = number::int_range(ty);
            every::<Int64Type>(array, |value| value >= least && value <= most).then(same)?
        }
        (ColumnType::Decimal { precision, scale }, DataType::Decimal128(_, from))
            if i16::from(*from) == i16::from(scale) =>
        {
            if !every::<Decimal128Type>(array, |value| number::decimal_fits(precision, value)) {
                return None;
            }
            let decimals: &Decimal128Array = array.as_primitive();
            Some(Arc::new(decimals.clone().with_data_type(ty.arrow())))
        }
        (ColumnType::Double, DataType::Float64) => {
            let minus_zero = (-0.0f64).to_bits();
            let kept = |value: f64| value.is_finite() && value.to_bits() != minus_zero;
            every::<Float64Type>(array, kept).then(same)?
        }
        (ColumnType::Varchar, DataType::Utf8) => texts_pass(array).then(same)?,
        (ColumnType::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            if !every::<TimestampMicrosecondType>(array, |us| time::in_range(us).is_ok()) {
                return None;
            }
            // Arrow's instants are UTC under any zone: dropping its name moves nothing.
            match zone {
                None => same(),
                Some(_) => {
                    let times = array.as_primitive::<TimestampMicrosecondType>();
                    Some(Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)))
                }
            }
        }
        (ColumnType::Date, DataType::Date32) => {
            every::<Date32Type>(array, |days| time::date_in_range(days).is_ok()).then(same)?
        }
        _ => None,
    }
}

/// Whether `keeps` holds for all values. Folded without an early end, so that it is vectorised.
fn every<T: ArrowPrimitiveType>(array: &ArrayRef, keeps: impl Fn(T::Native) -> bool) -> bool {
    array.as_primitive::<T>().values().iter().fold(true, |all, value| all & keeps(*value))
}

fn texts_pass(array: &ArrayRef) -> bool {
    let texts = array.as_string::<i32>();
    let offsets = texts.offsets();
    let (start, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let most = MAX_TEXT_BYTES as i32;
    let short = offsets.windows(2).fold(true, |all, pair| all & (pair[1] - pair[0] <= most));
    short && texts.values()[start..end].iter().fold(true, |all, byte| all & (*byte != 0))
}

/// The cell at each row that is not NULL.
type Cells<'a> = Box<dyn Fn(usize) -> Cell<'a> + 'a>;

/// The cells of `array`; `None` for Arrow types that no column takes.
fn cells(array: &ArrayRef) -> Option<Cells<'_>> {
    macro_rules! cells {
        ($ty:ty, $value:ident => $cell:expr) => {{
            let values = array.as_primitive::<$ty>();
            Box::new(move |row| {
                let $value = values.value(row);
                $cell
            })
        }};
    }
    Some(match array.data_type() {
        DataType::Null => Box::new(|_| Cell::Null),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |row| Cell::Bool(values.value(row)))
        }
        DataType::Int8 => cells!(Int8Type, x => Cell::Int(x.into())),
        DataType::Int16 => cells!(Int16Type, x => Cell::Int(x.into())),
        DataType::Int32 => cells!(Int32Type, x => Cell::Int(x.into())),
        DataType::Int64 => cells!(Int64Type, x => Cell::Int(x)),
        DataType::UInt8 => cells!(UInt8Type, x => Cell::Int(x.into())),
        DataType::UInt16 => cells!(UInt16Type, x => Cell::Int(x.into())),
        DataType::UInt32 => cells!(UInt32Type, x => Cell::Int(x.into())),
        DataType::UInt64 => cells!(UInt64Type, x => match i64::try_from(x) {
            Ok(x) => Cell::Int(x),
            Err(_) => Cell::Decimal { value: x.into(), scale: 0 },
        }),
        DataType::Float16 => cells!(Float16Type, x => Cell::Double(x.into())),
        DataType::Float32 => cells!(Float32Type, x => Cell::Double(x.into())),
        DataType::Float64 => cells!(Float64Type, x => Cell::Double(x)),
        DataType::Decimal32(_, scale) => {
            cells!(Decimal32Type, x => Cell::Decimal { value: x.into(), scale: *scale })
        }
        DataType::Decimal64(_, scale) => {
            cells!(Decimal64Type, x => Cell::Decimal { value: x.into(), scale: *scale })
        }
        DataType::Decimal128(_, scale) => {
            cells!(Decimal128Type, x => Cell::Decimal { value: x, scale: *scale })
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(move |row| Cell::Text(values.value(row)))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Box::new(move |row| Cell::Text(values.value(row)))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            Box::new(move |row| Cell::Text(values.value(row)))
        }
        DataType::Date32 => cells!(Date32Type, x => Cell::Date(x)),
        DataType::Date64 => cells!(Date64Type, x => Cell::DateMillis(x)),
        DataType::Timestamp(unit, _) => instants(array, *unit),
        _ => return None,
    })
}

fn instants(array: &ArrayRef, unit: TimeUnit) -> Cells<'_> {
    macro_rules! instants {
        ($ty:ty) => {{
            let values = array.as_primitive::<$ty>();
            Box::new(move |row| Cell::Instant { value: values.value(row), unit })
        }};
    }
    match unit {
        TimeUnit::Second => instants!(TimestampSecondType),
        TimeUnit::Millisecond => instants!(TimestampMillisecondType),
        TimeUnit::Microsecond => instants!(TimestampMicrosecondType),
        TimeUnit::Nanosecond => instants!(TimestampNanosecondType),
    }
}
