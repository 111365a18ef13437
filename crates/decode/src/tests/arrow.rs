//! Arrow batches: what passes, what is converted, what is bad.

use super::*;
use crate::{DecodeError, MAX_TEXT_BYTES};
use ::arrow::array::*;
use ::arrow::buffer::NullBuffer;
use ::arrow::datatypes::{DataType, Field, Int32Type, Schema};

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 12, scale: 2 };

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn decode(ty: ColumnType, array: impl Array + 'static) -> Decoded {
    single(ty, None).arrow(&batch(vec![("x", Arc::new(array))])).unwrap()
}

/// The values that `array` gives a column of type `ty`, printed, and the rows that are bad.
fn check(ty: ColumnType, array: impl Array + 'static, want: &[&str], bad: &[(usize, Fault)]) {
    let kind = array.data_type().clone();
    let decoded = decode(ty, array);
    assert_eq!(decoded.batch.column(0).data_type(), &ty.arrow());
    let found: Vec<_> = values(&decoded, 0).iter().map(|value| printed(ty, value)).collect();
    assert_eq!(found, want, "{ty} from {kind}");
    let rows: Vec<_> = decoded.bad.iter().map(|bad| (bad.index, bad.fault)).collect();
    assert_eq!(rows, bad, "{ty} from {kind}");
    assert_eq!(decoded.kept.len(), want.len());
}

#[test]
fn a_column_of_the_right_type_passes_without_a_copy() {
    let time = TimestampMicrosecondArray::from(vec![0, 1]);
    let zoned = time.clone().with_timezone("+02:00");
    let columns: Vec<(ColumnType, ArrayRef)> = vec![
        (ColumnType::BigInt, Arc::new(Int64Array::from(vec![Some(1), None]))),
        (ColumnType::Integer, Arc::new(Int64Array::from(vec![1, 2]))),
        (DECIMAL, Arc::new(Decimal128Array::from(vec![1]).with_precision_and_scale(9, 2).unwrap())),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![Some(0.5), None]))),
        (ColumnType::Timestamp, Arc::new(time)),
        (ColumnType::Timestamp, Arc::new(zoned)),
        (ColumnType::Date, Arc::new(Date32Array::from(vec![0, 1]))),
    ];
    for (ty, array) in columns {
        let before = array.to_data().buffers()[0].as_ptr();
        let decoded = single(ty, None).arrow(&batch(vec![("x", array)])).unwrap();
        assert_eq!(decoded.batch.column(0).to_data().buffers()[0].as_ptr(), before, "{ty}");
        assert_eq!(decoded.batch.column(0).data_type(), &ty.arrow());
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "bc", "d"]).slice(1, 2));
    let before = texts.to_data().buffers()[1].as_ptr();
    let decoded = single(ColumnType::Varchar, None).arrow(&batch(vec![("x", texts)])).unwrap();
    assert_eq!(decoded.batch.column(0).to_data().buffers()[1].as_ptr(), before);
    assert_eq!(values(&decoded, 0), [Value::Text("bc".into()), Value::Text("d".into())]);
}

#[test]
fn integers_of_any_width_are_held_to_the_columns_range() {
    let small = ColumnType::SmallInt;
    check(small, Int8Array::from(vec![-128]), &["-128"], &[]);
    check(small, Int16Array::from(vec![Some(1), None]), &["1", "NULL"], &[]);
    check(small, Int32Array::from(vec![32_767, 32_768]), &["32767"], &[(1, Fault::Range)]);
    check(small, Int64Array::from(vec![-32_769, 5]), &["5"], &[(0, Fault::Range)]);
    check(ColumnType::BigInt, UInt8Array::from(vec![255]), &["255"], &[]);
    check(ColumnType::BigInt, UInt32Array::from(vec![u32::MAX]), &["4294967295"], &[]);
    let wide = UInt64Array::from(vec![u64::MAX, 1]);
    check(ColumnType::BigInt, wide, &["1"], &[(0, Fault::Range)]);
    check(DECIMAL, Int32Array::from(vec![7]), &["7.00"], &[]);
    check(ColumnType::Double, UInt64Array::from(vec![u64::MAX]), &["1.8446744073709552e19"], &[]);
    let truth = Int8Array::from(vec![0, 1, 2]);
    check(ColumnType::Boolean, truth, &["false", "true"], &[(2, Fault::Type)]);
}

#[test]
fn floats_are_finite_and_rounded_only_into_a_decimal() {
    let floats = || Float64Array::from(vec![-0.0, 0.125, f64::NAN, f64::INFINITY, 3.0]);
    let unfit = [(2, Fault::NotFinite), (3, Fault::NotFinite)];
    check(ColumnType::Double, floats(), &["0.0", "0.125", "3.0"], &unfit);
    check(DECIMAL, floats(), &["0.00", "0.13", "3.00"], &unfit);
    let whole = [(1, Fault::Precision), unfit[0], unfit[1]];
    check(ColumnType::BigInt, floats(), &["0", "3"], &whole);
    check(ColumnType::Double, Float32Array::from(vec![0.1]), &["0.10000000149011612"], &[]);
    check(ColumnType::Double, Float64Array::from(vec![-0.0, 1.0]), &["0.0", "1.0"], &[]);
}

#[test]
fn what_stands_under_a_null_is_not_a_value() {
    let nulls = NullBuffer::from(vec![false, true]);
    let floats = Float64Array::new(vec![f64::NAN, 1.0].into(), Some(nulls.clone()));
    check(ColumnType::Double, floats, &["NULL", "1.0"], &[]);
    let times = TimestampMicrosecondArray::new(vec![i64::MAX, 0].into(), Some(nulls));
    check(ColumnType::Timestamp, times, &["NULL", "1970-01-01T00:00:00.000000Z"], &[]);
}

#[test]
fn decimals_of_another_scale_are_taken_without_loss_or_not_at_all() {
    let scaled = |values: Vec<i128>, scale| {
        Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()
    };
    check(DECIMAL, scaled(vec![15_000, 15_001], 4), &["1.50"], &[(1, Fault::Precision)]);
    let narrow = scaled(vec![999_999_999_999, 1_000_000_000_000], 2);
    check(DECIMAL, narrow, &["9999999999.99"], &[(1, Fault::Range)]);
    check(ColumnType::BigInt, scaled(vec![200, 250], 2), &["2"], &[(1, Fault::Precision)]);
    check(ColumnType::Double, scaled(vec![1], 1), &["0.1"], &[]);
    let short = Decimal64Array::from(vec![5]).with_precision_and_scale(9, 1).unwrap();
    check(DECIMAL, short, &["0.50"], &[]);
}

#[test]
fn instants_of_any_unit_become_utc_microseconds() {
    let want = "1970-01-01T00:00:01.000000Z";
    let ty = ColumnType::Timestamp;
    check(ty, TimestampSecondArray::from(vec![1, i64::MAX]), &[want], &[(1, Fault::Time)]);
    check(ty, TimestampMillisecondArray::from(vec![1_000]).with_timezone("+05:00"), &[want], &[]);
    let nanos = TimestampNanosecondArray::from(vec![1_000_000_000, 1_000_000_001]);
    check(ty, nanos, &[want], &[(1, Fault::Time)]);
    let late = TimestampMicrosecondArray::from(vec![1_000_000, 253_402_300_800_000_000]);
    check(ty, late, &[want], &[(1, Fault::Time)]);
    check(ty, Int64Array::from(vec![1]), &[], &[(0, Fault::Time)]);
    let declared = single(ty, Some(EpochUnit::Seconds));
    let decoded =
        declared.arrow(&batch(vec![("x", Arc::new(Float64Array::from(vec![1.0, 1.5])))])).unwrap();
    assert_eq!(values(&decoded, 0), [Value::Time(1_000_000)]);
    assert_eq!(only_bad(&decoded), (1, Some("x"), Fault::Time));
}

#[test]
fn dates_are_days_and_a_time_of_day_is_bad() {
    let ty = ColumnType::Date;
    check(ty, Date32Array::from(vec![-1, i32::MAX]), &["1969-12-31"], &[(1, Fault::Time)]);
    check(ty, Date64Array::from(vec![86_400_000, 1]), &["1970-01-02"], &[(1, Fault::Time)]);
}

#[test]
fn text_with_a_nul_or_above_its_bound_is_bad() {
    let long = "a".repeat(MAX_TEXT_BYTES + 1);
    let texts = || vec!["ok", "a\0b", &long];
    let bad = [(1, Fault::Text), (2, Fault::Size)];
    check(ColumnType::Varchar, StringArray::from(texts()), &["ok"], &bad);
    check(ColumnType::Varchar, LargeStringArray::from(texts()), &["ok"], &bad);
    check(ColumnType::Varchar, StringViewArray::from(texts()), &["ok"], &bad);
}

#[test]
fn a_dictionary_counts_as_its_values() {
    let texts: DictionaryArray<Int32Type> = vec![Some("7"), None, Some("x")].into_iter().collect();
    check(ColumnType::Varchar, texts.clone(), &["7", "NULL", "x"], &[]);
    check(ColumnType::BigInt, texts, &["7", "NULL"], &[(2, Fault::Type)]);
}

#[test]
fn a_type_that_the_column_never_takes_is_an_error_of_the_whole_input() {
    let refused: Vec<(ColumnType, ArrayRef)> = vec![
        (ColumnType::BigInt, Arc::new(BinaryArray::from(vec![b"1".as_ref()]))),
        (ColumnType::BigInt, Arc::new(BooleanArray::from(vec![true]))),
        (ColumnType::Varchar, Arc::new(Int64Array::from(vec![1]))),
        (ColumnType::Date, Arc::new(TimestampSecondArray::from(vec![1]))),
        (ColumnType::Timestamp, Arc::new(Date32Array::from(vec![1]))),
        (ColumnType::Boolean, Arc::new(Float64Array::from(vec![1.0]))),
    ];
    for (ty, array) in refused {
        let error = single(ty, None).arrow(&batch(vec![("x", array)])).unwrap_err();
        assert!(matches!(error, DecodeError::ColumnType { .. }), "{ty}: {error}");
    }
    check(ColumnType::Date, NullArray::new(2), &["NULL", "NULL"], &[]);
}

#[test]
fn columns_match_by_name_and_the_first_bad_one_is_named() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]));
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(0), None, None, Some(0)]));
    let extra: ArrayRef = Arc::new(NullArray::new(4));
    let columns = vec![("extra", extra), ("at", times), ("id", ids.clone())];
    let decoded = transactions().arrow(&batch(columns.clone())).unwrap();
    assert_eq!((decoded.kept.clone(), decoded.unknown_fields), (vec![0], 4));
    let bad: Vec<_> = decoded.bad.iter().map(|bad| (bad.index, bad.column.as_deref())).collect();
    assert_eq!(bad, [(1, Some("id")), (2, Some("at")), (3, Some("id"))]);
    assert_eq!(decoded.batch.schema(), transactions().stream().schema);
    assert_eq!(values(&decoded, 4), [Value::Null]);

    let missing = transactions().arrow(&batch(columns[1..2].to_vec())).unwrap_err();
    assert!(matches!(missing, DecodeError::MissingColumn { .. }), "{missing}");
    let twice = batch(vec![("id", ids.clone()), ("id", ids)]);
    let twice = transactions().arrow(&twice).unwrap_err();
    assert!(matches!(twice, DecodeError::RepeatedColumn { .. }), "{twice}");
    assert_eq!(transactions().schema().field(0).data_type(), &DataType::Int64);
}
