//! Statistics of a training set's columns, for a first look at what a model is about to learn from.

use crate::keyed::Mix;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use trueup_core::{Kind, Value};
use trueup_sql::bridge::{kind_of, value_at};
use trueup_sql::decode::print::{Date, Decimal, Timestamp};

/// Up to so many distinct values are counted; that tells a constant or a category from a quantity.
const MOST_DISTINCT: usize = 1_000;

/// Of one column: NULLs, least, greatest and mean value, and how many values are distinct.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    kind: Option<Kind>,
    nulls: u64,
    values: u64,
    least: Value,
    greatest: Value,
    /// A plain double: the mean is for orientation.
    sum: f64,
    /// Hashes of the values, until there are too many.
    distinct: Option<HashSet<u64, BuildHasherDefault<Mix>>>,
}

impl Stats {
    pub(crate) fn new(ty: &DataType) -> Stats {
        Stats {
            kind: kind_of(ty),
            nulls: 0,
            values: 0,
            least: Value::Null,
            greatest: Value::Null,
            sum: 0.0,
            distinct: Some(HashSet::default()),
        }
    }

    pub(crate) fn add(&mut self, array: &ArrayRef) {
        self.nulls += array.null_count() as u64;
        self.values += (array.len() - array.null_count()) as u64;
        match array.data_type() {
            DataType::Int64 => self.numbers::<Int64Type>(array, |x| (x as u64, x as f64)),
            DataType::Float64 => self.numbers::<Float64Type>(array, |x| (x.to_bits(), x)),
            DataType::Decimal128(_, scale) => {
                let unit = 10f64.powi(-i32::from(*scale));
                self.numbers::<Decimal128Type>(array, |x| {
                    (x as u64 ^ (x >> 64) as u64, x as f64 * unit)
                });
            }
            DataType::Timestamp(..) => {
                self.numbers::<TimestampMicrosecondType>(array, |x| (x as u64, 0.0));
            }
            DataType::Date32 => self.numbers::<Date32Type>(array, |x| (x as u64, 0.0)),
            DataType::Boolean => self.truths(array),
            DataType::Utf8 => self.texts(array),
            _ => {}
        }
    }

    /// Takes in numbers; `of` gives what tells a value from others, and the value as a double.
    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        array: &ArrayRef,
        of: impl Fn(T::Native) -> (u64, f64),
    ) {
        let numbers = array.as_primitive::<T>();
        let valid = || (0..numbers.len()).filter(|&row| numbers.is_valid(row));
        let Some(first) = valid().next() else { return };
        let (mut least, mut greatest, mut sum) = (first, first, 0.0);
        for row in valid() {
            let value = numbers.value(row);
            sum += of(value).1;
            if value < numbers.value(least) {
                least = row;
            }
            if value > numbers.value(greatest) {
                greatest = row;
            }
        }
        self.sum += sum;
        self.widen(value_at(array, least), value_at(array, greatest));
        for row in valid() {
            if !self.tell_apart(of(numbers.value(row)).0) {
                break;
            }
        }
    }

    fn truths(&mut self, array: &ArrayRef) {
        let truths = array.as_boolean();
        for truth in truths.iter().flatten() {
            self.sum += f64::from(u8::from(truth));
            self.widen(Value::Bool(truth), Value::Bool(truth));
            self.tell_apart(u64::from(truth));
        }
    }

    fn texts(&mut self, array: &ArrayRef) {
        for text in array.as_string::<i32>().iter().flatten() {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            if !self.tell_apart(hasher.finish()) {
                break;
            }
        }
    }

    /// Counts a value among the distinct ones; false when there are too many to go on.
    fn tell_apart(&mut self, value: u64) -> bool {
        let Some(distinct) = &mut self.distinct else { return false };
        distinct.insert(value);
        if distinct.len() > MOST_DISTINCT {
            self.distinct = None;
        }
        self.distinct.is_some()
    }

    fn widen(&mut self, least: Value, greatest: Value) {
        if self.least == Value::Null || is_less(&least, &self.least) {
            self.least = least;
        }
        if self.greatest == Value::Null || is_less(&self.greatest, &greatest) {
            self.greatest = greatest;
        }
    }

    /// As a part of a manifest.
    pub(crate) fn json(&self, name: &str, ty: &str) -> Json {
        let mut out = json!({"name": name, "type": ty, "nulls": self.nulls});
        if self.values == 0 || matches!(self.kind, None | Some(Kind::List(_))) {
            return out;
        }
        out["distinct"] = match &self.distinct {
            Some(distinct) => json!(distinct.len()),
            None => json!(format!("more than {MOST_DISTINCT}")),
        };
        if self.kind != Some(Kind::Text) {
            out["min"] = print(&self.least, self.kind.as_ref());
            out["max"] = print(&self.greatest, self.kind.as_ref());
        }
        if matches!(self.kind, Some(Kind::Int | Kind::Float | Kind::Decimal { .. } | Kind::Bool)) {
            out["mean"] = json!(self.sum / self.values as f64);
        }
        out
    }
}

/// The order of values of one kind.
fn is_less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a < b,
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => a < b,
        (Value::Date(a), Value::Date(b)) => a < b,
        (Value::Decimal(a), Value::Decimal(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a < b,
        _ => false,
    }
}

fn print(value: &Value, kind: Option<&Kind>) -> Json {
    match (value, kind) {
        (Value::Bool(x), _) => json!(x),
        (Value::Int(x), _) => json!(x),
        (Value::Float(x), _) => json!(x),
        (Value::Decimal(x), Some(Kind::Decimal { scale })) => {
            json!(Decimal { value: *x, scale: *scale }.to_string())
        }
        (Value::Time(x), _) => json!(Timestamp(*x).to_string()),
        (Value::Date(x), _) => json!(Date(*x).to_string()),
        _ => Json::Null,
    }
}
