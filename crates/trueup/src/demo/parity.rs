//! Served rows against training rows of the same transactions, value by value.

use super::served::Served;
use crate::json;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Rows that differ and are shown; one is enough to look for the cause, some more to see a pattern.
const SHOWN: usize = 3;

/// What equal doubles are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Doubles {
    /// Those with the same bits.
    Bits,
    /// Those no further apart than this share of the greater one.
    Within(f64),
}

/// How many rows were compared, and how many were equal in every column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parity {
    /// Rows that were served.
    pub compared: u64,
    /// Those equal to their training rows.
    pub equal: u64,
}

impl Parity {
    /// Whether there was something to compare, and all of it was equal.
    pub fn holds(self) -> bool {
        self.compared > 0 && self.equal == self.compared
    }
}

/// Compares all that was served with the training rows, and tells of the first rows that differ.
///
/// Values are compared as answers print them, which is one text for each value, so that equal text
/// is an equal value; doubles are read back first.
pub(super) fn compare(
    served: &Served,
    trained: &RecordBatch,
    doubles: Doubles,
) -> (Parity, Vec<String>) {
    let mut parity = Parity::default();
    let mut differences = Vec::new();
    for (row, answers) in served.answers().iter().enumerate() {
        for answer in answers {
            parity.compared += answer.times;
            match difference(&answer.features, trained, row, doubles) {
                None => parity.equal += answer.times,
                Some(difference) if differences.len() < SHOWN => {
                    let mut row_text = Vec::new();
                    json::object(&mut row_text, trained, row);
                    let trained = String::from_utf8_lossy(&row_text).into_owned();
                    differences.push(format!(
                        "{difference}\n  served  {}\n  trained {trained}",
                        answer.features
                    ));
                }
                Some(_) => {}
            }
        }
    }
    (parity, differences)
}

/// Where a served row is not its training row; `None` if it is.
fn difference(
    features: &str,
    trained: &RecordBatch,
    row: usize,
    doubles: Doubles,
) -> Option<String> {
    let served: BTreeMap<&str, &RawValue> = match serde_json::from_str(features) {
        Ok(served) => served,
        Err(error) => return Some(format!("a served row is no object: {error}")),
    };
    let schema = trained.schema_ref();
    if served.len() != schema.fields().len() {
        return Some(format!("{} columns instead of {}", served.len(), schema.fields().len()));
    }
    schema.fields().iter().zip(trained.columns()).find_map(|(field, column)| {
        let name = field.name().as_str();
        let Some(served) = served.get(name) else { return Some(format!("{name} is missing")) };
        let mut printed = Vec::new();
        json::value(&mut printed, column.as_ref(), row);
        let printed = String::from_utf8_lossy(&printed);
        let equal = match column.data_type() {
            DataType::Float64 if !column.is_null(row) => {
                same_double(served.get(), &printed, doubles)
            }
            _ => served.get() == printed,
        };
        (!equal).then(|| format!("{name} is {served}, and {printed} in training"))
    })
}

fn same_double(served: &str, trained: &str, doubles: Doubles) -> bool {
    let (Ok(served), Ok(trained)) = (served.parse::<f64>(), trained.parse::<f64>()) else {
        return false;
    };
    match doubles {
        Doubles::Bits => served.to_bits() == trained.to_bits(),
        Doubles::Within(share) => {
            (served - trained).abs() <= share * served.abs().max(trained.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Reply;
    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array};
    use bytes::Bytes;
    use std::sync::Arc;

    fn trained() -> RecordBatch {
        let sums = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(38, 2);
        let columns: [(&str, ArrayRef); 3] = [
            ("n", Arc::new(Int64Array::from(vec![3, 0]))),
            ("sum", Arc::new(sums.unwrap())),
            ("mean", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()
    }

    fn check(row: usize, features: &str, doubles: Doubles, equal: bool) {
        let body = format!("{{\"rows\":[{{\"features\":{features},\"status\":\"PRESENT\"}}]}}");
        let served = Served::new(2);
        let reply = Reply {
            status: hyper::StatusCode::OK,
            headers: hyper::HeaderMap::new(),
            body: Bytes::from(body),
        };
        assert!(served.keep(row, &reply) && served.keep(row, &reply));
        let (parity, differences) = compare(&served, &trained(), doubles);
        assert_eq!(parity.compared, 2, "every reply counts, the second of the same answer too");
        assert_eq!(parity.holds(), equal, "{features}: {differences:?}");
        assert_eq!(differences.is_empty(), equal, "{features}: {differences:?}");
    }

    #[test]
    fn a_row_is_equal_only_if_every_value_has_the_same_bits() {
        let near = r#"{"n":3,"sum":"12.50","mean":0.3}"#;
        check(0, r#"{"n":3,"sum":"12.50","mean":0.30000000000000004}"#, Doubles::Bits, true);
        check(0, near, Doubles::Bits, false);
        check(0, near, Doubles::Within(1e-9), true);
        check(0, r#"{"n":3,"sum":"12.50","mean":0.4}"#, Doubles::Within(1e-9), false);
        check(0, r#"{"n":4,"sum":"12.50","mean":0.30000000000000004}"#, Doubles::Bits, false);
        check(0, r#"{"n":3,"sum":"12.5","mean":0.30000000000000004}"#, Doubles::Bits, false);
    }

    #[test]
    fn null_equals_nothing_but_null_and_a_column_too_few_is_no_row() {
        check(1, r#"{"n":0,"sum":null,"mean":null}"#, Doubles::Bits, true);
        check(1, r#"{"n":0,"sum":null,"mean":0.0}"#, Doubles::Within(1e-9), false);
        check(1, r#"{"n":0,"sum":"0.00","mean":null}"#, Doubles::Bits, false);
        check(1, r#"{"n":0,"sum":null}"#, Doubles::Bits, false);
    }

    #[test]
    fn nothing_compared_is_no_parity() {
        assert!(!Parity::default().holds());
    }
}
