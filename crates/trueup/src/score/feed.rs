//! Values of columns to the tensors of a model: integers and doubles narrow to the nearest float, a
//! DECIMAL by way of the nearest double, NULL is NaN. Where a tensor has no NaN, a row with NULL is
//! left out, with the reason: any number in its place would be made up.

use super::bind::{Bound, Element, Feed};
use crate::serve::{Answered, Status};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use trueup_sql::decode::print::Decimal;

/// A tensor's elements, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Bools(Vec<bool>),
}

/// A tensor for an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) input: String,
    pub(super) shape: Vec<usize>,
    pub(super) elements: Elements,
}

/// The rows that a model can be given, and why it cannot be given the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fed {
    /// Their places in the answer.
    pub(super) rows: Vec<usize>,
    pub(super) left_out: Vec<(usize, String)>,
    pub(super) tensors: Vec<Tensor>,
}

/// The tensors of an answer that has just the columns that are bound.
pub(super) fn feed(bound: &Bound, answered: &Answered) -> Fed {
    let columns: Vec<ArrayRef> =
        (0..answered.columns.len()).map(|place| answered.array(place)).collect();
    let columns: Vec<&ArrayRef> = columns.iter().collect();
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for (row, answer) in answered.rows.iter().enumerate() {
        let why = match answer.status() {
            Status::NotInView => Some("the view leaves the row out".to_owned()),
            _ => bound.feeds.iter().find_map(|feed| hindrance(feed, &columns, row)),
        };
        match why {
            Some(why) => left_out.push((row, why)),
            None => rows.push(row),
        }
    }
    let tensors = bound.feeds.iter().map(|feed| tensor(feed, &columns, &rows)).collect();
    Fed { rows, left_out, tensors }
}

/// Why an input cannot have a row's values.
fn hindrance(feed: &Feed, columns: &[&ArrayRef], row: usize) -> Option<String> {
    if feed.element.has_null() {
        return None;
    }
    let why = |column: &ArrayRef| match column.data_type() {
        _ if column.is_null(row) => Some("is NULL, for which such an input has no value"),
        DataType::Utf8 if column.as_string::<i32>().value(row).contains('\0') => {
            Some("holds a character 0, which the runtime would take for its end")
        }
        _ => None,
    };
    let why = feed.places.iter().find_map(|&place| why(columns[place]))?;
    Some(format!("the column of input {} {why}", feed.input))
}

fn tensor(feed: &Feed, columns: &[&ArrayRef], rows: &[usize]) -> Tensor {
    let columns: Vec<&ArrayRef> = feed.places.iter().map(|&place| columns[place]).collect();
    let elements = match feed.element {
        Element::Float => Elements::Floats(each(&columns, rows, float)),
        Element::Double => Elements::Doubles(each(&columns, rows, double)),
        Element::Int => Elements::Ints(each(&columns, rows, |column, row| {
            column.as_primitive::<Int64Type>().value(row)
        })),
        Element::Text => Elements::Texts(each(&columns, rows, |column, row| {
            column.as_string::<i32>().value(row).to_owned()
        })),
        Element::Bool => {
            Elements::Bools(each(&columns, rows, |column, row| column.as_boolean().value(row)))
        }
    };
    let shape = match feed.is_wide {
        true => vec![rows.len(), columns.len()],
        false => vec![rows.len()],
    };
    Tensor { input: feed.input.clone(), shape, elements }
}

fn each<T>(columns: &[&ArrayRef], rows: &[usize], value: impl Fn(&ArrayRef, usize) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(columns.len() * rows.len());
    for &row in rows {
        values.extend(columns.iter().map(|column| value(column, row)));
    }
    values
}

/// The float that is nearest to a value. A BIGINT is rounded once.
fn float(column: &ArrayRef, row: usize) -> f32 {
    match column.data_type() {
        DataType::Int64 if column.is_valid(row) => {
            column.as_primitive::<Int64Type>().value(row) as f32
        }
        _ => double(column, row) as f32,
    }
}

/// The double that is nearest to a value; NaN where there is none.
fn double(column: &ArrayRef, row: usize) -> f64 {
    if column.is_null(row) {
        return f64::NAN;
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row) as f64,
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row),
        DataType::Boolean => f64::from(u8::from(column.as_boolean().value(row))),
        DataType::Decimal128(_, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            of_decimal(value, u8::try_from(*scale).unwrap_or(0))
        }
        // Binding lets no other type through.
        _ => f64::NAN,
    }
}

/// Integers up to here are doubles exactly.
const EXACT: u128 = 1 << f64::MANTISSA_DIGITS;

/// The powers of ten that are doubles exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The double nearest to a decimal: one division rounds once where both its sides are exact, else
/// its text is read.
fn of_decimal(value: i128, scale: u8) -> f64 {
    match POWERS.get(usize::from(scale)) {
        Some(power) if value.unsigned_abs() <= EXACT => value as f64 / power,
        // It is a number in digits.
        _ => Decimal { value, scale }.to_string().parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests;
