//! `min`, `max`: the least or the greatest value.

use crate::codec::{Reader, put_value, read_value};
use crate::column::Column;
use crate::value::{Kind, Value};
use std::cmp::Ordering;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extreme {
    greatest: bool,
    value: Value,
}

impl Extreme {
    pub(crate) fn empty(greatest: bool) -> Extreme {
        Extreme { greatest, value: Value::Null }
    }

    pub(crate) fn add(&mut self, column: &Column, i: usize) {
        if column.is_valid(i) {
            self.take(column.value(i));
        }
    }

    fn take(&mut self, value: Value) {
        let wins = match self.value {
            Value::Null => true,
            _ if self.greatest => order(&value, &self.value).is_gt(),
            _ => order(&value, &self.value).is_lt(),
        };
        if wins {
            self.value = value;
        }
    }

    pub(crate) fn merge(&mut self, other: &Extreme) {
        if other.value != Value::Null {
            self.take(other.value.clone());
        }
    }

    pub(crate) fn finish(&self) -> Value {
        self.value.clone()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.value != Value::Null));
        put_value(out, &self.value);
    }

    pub(crate) fn read(greatest: bool, kind: &Kind, input: &mut Reader<'_>) -> Option<Extreme> {
        let value = match input.byte()? {
            0 => Value::Null,
            1 => read_value(input, kind)?,
            _ => return None,
        };
        Some(Extreme { greatest, value })
    }
}

/// The order of two values of one kind; texts by their bytes.
pub(crate) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}
