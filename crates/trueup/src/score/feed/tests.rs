//! Values to elements, beside what reading a value's text gives.

use super::*;
use crate::serve::RowAnswer;
use arrow::array::{BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
use std::sync::Arc;
use std::time::Duration;
use trueup_core::testing::Dice;
use trueup_sql::{Digest, raw_value_at};

fn answered(columns: Vec<ArrayRef>, statuses: &[Status]) -> Answered {
    let row = |(row, status): (usize, &Status)| RowAnswer {
        values: columns.iter().map(|column| raw_value_at(column, row)).collect(),
        statuses: vec![(*status, None)],
        ..RowAnswer::default()
    };
    let types = columns.iter().map(|column| column.data_type().clone());
    Answered {
        columns: types.enumerate().collect(),
        rows: statuses.iter().enumerate().map(row).collect(),
        refused: None,
        missed: 0,
        store: Duration::ZERO,
        fallback: Duration::ZERO,
        compute: Duration::ZERO,
    }
}

fn bound(feeds: Vec<Feed>) -> Bound {
    Bound { digest: Digest([0; 32]), columns: Vec::new(), feeds }
}

fn one(input: &str, element: Element, places: &[usize]) -> Feed {
    Feed { input: input.into(), element, places: places.to_vec(), is_wide: true }
}

#[test]
fn a_wide_tensor_is_row_by_row_and_null_is_nan() {
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None]));
    let amounts = Decimal128Array::from(vec![Some(1_25), Some(-5)]);
    let amounts: ArrayRef = Arc::new(amounts.with_precision_and_scale(12, 2).unwrap());
    let online: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false)]));
    let fed = feed(
        &bound(vec![one("x", Element::Float, &[1, 0, 2])]),
        &answered(vec![counts, amounts, online], &[Status::Present, Status::Unknown]),
    );
    assert_eq!((&fed.rows[..], &fed.left_out[..]), (&[0, 1][..], &[][..]));
    assert_eq!(fed.tensors[0].shape, [2, 3]);
    let Elements::Floats(floats) = &fed.tensors[0].elements else { panic!("{fed:?}") };
    assert_eq!(floats[..4], [1.25, 3.0, 1.0, -0.05]);
    assert!(floats[4].is_nan());
    assert_eq!(floats[5], 0.0);
}

/// A NULL in a tensor of integers was a 0, and a card never seen a card seen never.
#[test]
fn a_row_with_null_where_a_tensor_has_none_is_left_out_with_the_reason() {
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(4), Some(5)]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c\0d", "e"]));
    let statuses = [Status::Present, Status::NullValue, Status::Present, Status::NotInView];
    let feeds = vec![one("n", Element::Int, &[0]), one("name", Element::Text, &[1])];
    let fed = feed(&bound(feeds), &answered(vec![counts, names], &statuses));
    assert_eq!(fed.rows, [0]);
    let why: Vec<(usize, bool)> = fed
        .left_out
        .iter()
        .zip(["input n is NULL", "input name holds a character 0", "the view leaves the row out"])
        .map(|((row, why), part)| (*row, why.contains(part)))
        .collect();
    assert_eq!(why, [(1, true), (2, true), (3, true)], "{:?}", fed.left_out);
    assert_eq!(fed.tensors[1].elements, Elements::Texts(vec!["a".into()]));
}

#[test]
fn numbers_narrow_to_the_nearest_of_their_text() {
    let mut dice = Dice::new(7);
    for _ in 0..100_000 {
        let bits = dice.below(u64::MAX) >> dice.below(64);
        let number = bits as i64;
        let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
        assert_eq!(float(&column, 0), number.to_string().parse::<f32>().unwrap(), "{number}");
        assert_eq!(double(&column, 0), number.to_string().parse::<f64>().unwrap(), "{number}");
        let (value, scale) = (i128::from(number) * 10_i128.pow(dice.below(19) as u32), 20);
        let text = Decimal { value, scale }.to_string();
        assert_eq!(of_decimal(value, scale), text.parse::<f64>().unwrap(), "{text}");
        let short = Decimal { value: i128::from(number), scale: 6 }.to_string();
        assert_eq!(of_decimal(i128::from(number), 6), short.parse::<f64>().unwrap(), "{short}");
    }
    let column: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    assert_eq!(float(&column, 0), 0.1);
}
