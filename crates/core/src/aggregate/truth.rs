//! `bool_and`, `bool_or`: how many true and how many false values.

use crate::codec::{Reader, put_u64};
use crate::column::Column;
use crate::group::Func;
use crate::value::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Truth {
    yes: u64,
    no: u64,
}

impl Truth {
    fn side(&mut self, column: &Column, i: usize) -> Option<&mut u64> {
        match (column.is_valid(i), column.is_true(i)) {
            (false, _) => None,
            (true, true) => Some(&mut self.yes),
            (true, false) => Some(&mut self.no),
        }
    }

    pub(crate) fn add(&mut self, column: &Column, i: usize) {
        if let Some(n) = self.side(column, i) {
            *n = n.saturating_add(1);
        }
    }

    pub(crate) fn sub(&mut self, column: &Column, i: usize) {
        if let Some(n) = self.side(column, i) {
            *n -= 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Truth) {
        self.yes = self.yes.saturating_add(other.yes);
        self.no = self.no.saturating_add(other.no);
    }

    pub(crate) fn finish(&self, func: &Func) -> Value {
        match func {
            _ if self.yes == 0 && self.no == 0 => Value::Null,
            Func::BoolAnd => Value::Bool(self.no == 0),
            _ => Value::Bool(self.yes > 0),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.yes);
        put_u64(out, self.no);
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Truth> {
        Some(Truth { yes: input.u64()?, no: input.u64()? })
    }
}
