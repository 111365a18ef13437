//! Statistics of a training set's columns, for a first look at what a model is about to learn from.

use arrow::array::{Array, ArrayRef};
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
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
    distinct: Option<HashSet<u64>>,
}

impl Stats {
    pub(crate) fn new(ty: &arrow::datatypes::DataType) -> Stats {
        Stats {
            kind: kind_of(ty),
            nulls: 0,
            values: 0,
            least: Value::Null,
            greatest: Value::Null,
            sum: 0.0,
            distinct: Some(HashSet::new()),
        }
    }

    pub(crate) fn add(&mut self, array: &ArrayRef) {
        self.nulls += array.null_count() as u64;
        self.values += (array.len() - array.null_count()) as u64;
        if matches!(self.kind, None | Some(Kind::List(_))) {
            return;
        }
        for row in (0..array.len()).filter(|&row| array.is_valid(row)) {
            let value = value_at(array, row);
            self.sum += number(&value, self.kind.as_ref());
            if let Some(distinct) = &mut self.distinct {
                distinct.insert(hash(&value));
                if distinct.len() > MOST_DISTINCT {
                    self.distinct = None;
                }
            }
            if self.least == Value::Null || is_less(&value, &self.least) {
                self.least = value.clone();
            }
            if self.greatest == Value::Null || is_less(&self.greatest, &value) {
                self.greatest = value;
            }
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

fn number(value: &Value, kind: Option<&Kind>) -> f64 {
    match (value, kind) {
        (Value::Bool(x), _) => f64::from(u8::from(*x)),
        (Value::Int(x), _) => *x as f64,
        (Value::Float(x), _) => *x,
        (Value::Decimal(x), Some(Kind::Decimal { scale })) => {
            *x as f64 / 10f64.powi(i32::from(*scale))
        }
        _ => 0.0,
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

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Bool(x) => x.hash(&mut hasher),
        Value::Int(x) | Value::Time(x) => x.hash(&mut hasher),
        Value::Decimal(x) => x.hash(&mut hasher),
        Value::Float(x) => x.to_bits().hash(&mut hasher),
        Value::Text(x) => x.hash(&mut hasher),
        Value::Date(x) => x.hash(&mut hasher),
        Value::Null | Value::List(_) => {}
    }
    hasher.finish()
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
