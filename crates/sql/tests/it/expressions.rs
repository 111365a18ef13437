//! Row expressions: their values on Arrow batches.

use crate::compile_select;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use std::sync::Arc;
use trueup_core::Value;
use trueup_sql::{RowExpr, View, value_at};

/// 2024-01-06T23:30:00Z, a Saturday night.
const NIGHT: i64 = 1_704_583_800_000_000;

/// Two transactions: one with values everywhere, one with NULLs wherever they may be.
fn rows(view: &View) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(vec![NIGHT, NIGHT]);
    let amounts = Decimal128Array::from(vec![Some(1250), None]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7, 8])),
        Arc::new(times),
        Arc::new(Int64Array::from(vec![Some(42), None])),
        Arc::new(Int64Array::from(vec![Some(0), None])),
        Arc::new(amounts.with_precision_and_scale(12, 2).expect("two digits fit")),
        Arc::new(Float64Array::from(vec![Some(0.5), None])),
        Arc::new(StringArray::from(vec![Some("Declined"), None])),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(Date32Array::from(vec![Some(19_000), None])),
        Arc::new(StringArray::from(vec![Some("a@b.example"), None])),
    ];
    RecordBatch::try_new(view.row_schema.clone(), columns)
        .expect("the columns are those of the stream")
}

fn compiled(expr: &str) -> (RowExpr, RecordBatch) {
    let mut definitions =
        compile_select(&format!("{expr} AS f")).unwrap_or_else(|errors| panic!("{expr}\n{errors}"));
    let view = definitions.views.remove(0);
    (view.outputs[0].expr.clone(), rows(&view))
}

fn value(expr: &str) -> Value {
    let (expr, rows) = compiled(expr);
    value_at(&expr.evaluate(&rows).unwrap_or_else(|error| panic!("{error}")), 0)
}

#[test]
fn expressions_have_the_values_that_sql_gives() {
    let text = |text: &str| Value::Text(text.into());
    let cases = [
        ("amount", Value::Decimal(1250)),
        ("amount > 12.49", Value::Bool(true)),
        ("amount * 2", Value::Decimal(2500)),
        ("amount + 0.05", Value::Decimal(1255)),
        ("amount / 3", Value::Float(12.5 / 3.0)),
        ("1 / amount", Value::Float(0.08)),
        ("user_id / 5", Value::Int(8)),
        ("user_id / 5.0", Value::Float(8.4)),
        ("CAST(coalesce(amount, 0) AS DOUBLE)", Value::Float(12.5)),
        ("event_time AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo' IS NULL", Value::Bool(false)),
        (
            "extract(hour FROM event_time AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')",
            Value::Int(8),
        ),
        ("fee * 2", Value::Float(1.0)),
        ("CAST(amount AS DOUBLE) / 2", Value::Float(6.25)),
        ("user_id + 1", Value::Int(43)),
        ("user_id % 5", Value::Int(2)),
        ("CASE WHEN status = 'x' THEN 1 ELSE 2 END", Value::Int(2)),
        ("lower(status)", text("declined")),
        ("status LIKE 'Dec%'", Value::Bool(true)),
        ("status ILIKE 'dec%'", Value::Bool(true)),
        ("status IN ('a', 'Declined')", Value::Bool(true)),
        ("status || '!'", text("Declined!")),
        ("split_part(email, '@', 2)", text("b.example")),
        ("length(status)", Value::Int(8)),
        ("substring(status FROM 1 FOR 3)", text("Dec")),
        ("trim('  x ')", text("x")),
        ("position('c' IN status)", Value::Int(3)),
        ("extract(hour FROM event_time)", Value::Int(23)),
        ("extract(dow FROM event_time)", Value::Int(6)),
        ("extract(epoch FROM event_time - TIMESTAMP '2024-01-06 23:29:00')", Value::Float(60.0)),
        ("date_trunc('day', event_time)", Value::Time(1_704_499_200_000_000)),
        ("event_time + INTERVAL '1 hour'", Value::Time(NIGHT + 3_600_000_000)),
        ("event_time > TIMESTAMP '9999-01-01'", Value::Bool(false)),
        ("CAST(event_time AS DATE)", Value::Date(19_728)),
        ("opened", Value::Date(19_000)),
        ("coalesce(NULL, fee)", Value::Float(0.5)),
        ("nullif(merchant_id, 0)", Value::Null),
        ("abs(-fee)", Value::Float(0.5)),
        ("round(fee)", Value::Float(1.0)),
        ("ln(fee) < 0", Value::Bool(true)),
        ("-fee * 0", Value::Float(0.0)),
        ("greatest(user_id, 50)", Value::Int(50)),
        ("online AND NOT FALSE", Value::Bool(true)),
        ("status IS NULL", Value::Bool(false)),
        ("amount BETWEEN 12 AND 13", Value::Bool(true)),
        ("CAST('12' AS BIGINT)", Value::Int(12)),
        ("status = 'O''Brien'", Value::Bool(false)),
    ];
    for (expr, expected) in cases {
        assert_eq!(value(expr), expected, "{expr}");
    }
}

#[test]
fn a_decimal_that_meets_a_double_is_a_double() {
    let tenth = Value::Float(0.1);
    let cases = [
        ("coalesce(nullif(fee, 0.5), 0.1)", tenth.clone()),
        ("coalesce(NULL, nullif(fee, fee), 0.1, fee)", tenth.clone()),
        ("CASE WHEN online THEN 0.1 ELSE fee END", tenth.clone()),
        ("least(fee, 0.1)", tenth.clone()),
        ("nullif(fee, amount)", Value::Float(0.5)),
        ("fee * 1e-9 + 0.1 = 0.1000000005", Value::Bool(true)),
        ("fee * 1e300 > 0.1", Value::Bool(true)),
        ("fee * 1e300 BETWEEN 0.1 AND amount", Value::Bool(false)),
        ("fee * 1e300 IN (0.1, 0.5)", Value::Bool(false)),
        ("fee / 5 IN (0.1)", Value::Bool(true)),
        ("CASE fee / 5 WHEN 0.1 THEN 1 END", Value::Int(1)),
        ("fee / 5 IS NOT DISTINCT FROM 0.1", Value::Bool(true)),
        ("fee + 1e-17 < amount", Value::Bool(true)),
        ("CAST(0.12345678901234567890123456789 AS DOUBLE)", Value::Float(0.123_456_789_012_345_68)),
        ("fee * 0 - 0.12345678901234567890123456789", Value::Float(-0.123_456_789_012_345_68)),
        ("power(fee, 2.0)", Value::Float(0.25)),
    ];
    for (expr, expected) in cases {
        assert_eq!(value(expr), expected, "{expr}");
    }
}

#[test]
fn seconds_between_two_times_are_exact_to_the_microsecond() {
    let seconds =
        |start: &str| value(&format!("extract(epoch FROM event_time - TIMESTAMP '{start}')"));
    assert_eq!(seconds("2024-01-06 23:29:57.499999"), Value::Float(2.500_001));
    assert_eq!(seconds("2023-12-07 23:29:59.999999"), Value::Float(2_592_000.000_001));
    assert_eq!(seconds("2024-01-06 23:30:03.000001"), Value::Float(-3.000_001));
    assert_eq!(seconds("1954-01-06 23:29:59.999999"), Value::Float(2_208_988_800.000_001));
    let by_name = "date_part('EPOCH', event_time - TIMESTAMP '2024-01-06 23:29:57.499999')";
    assert_eq!(value(by_name), Value::Float(2.500_001));
}

#[test]
fn a_cast_to_an_integer_rounds() {
    let cases = [
        ("CAST(fee AS BIGINT)", 0),
        ("CAST(fee + 1 AS INTEGER)", 2),
        ("CAST(-fee - 1 AS BIGINT)", -2),
        ("CAST(fee + 0.2 AS SMALLINT)", 1),
        ("CAST(amount AS BIGINT)", 13),
        ("CAST(-amount AS BIGINT)", -13),
        ("CAST(amount - 0.01 AS INTEGER)", 12),
        ("CAST(2.5 AS BIGINT)", 3),
        ("fee::bigint", 0),
    ];
    for (expr, expected) in cases {
        assert_eq!(value(expr), Value::Int(expected), "{expr}");
    }
}

#[test]
fn a_rounded_decimal_is_compared_after_it_is_rounded() {
    let cases = [
        ("CAST(amount AS BIGINT) < 13", false),
        ("CAST(amount AS BIGINT) > 12", true),
        ("CAST(amount AS BIGINT) NOT IN (8, user_id)", true),
        ("CAST(amount - 0.04 AS DECIMAL(12,1)) < 12.5", false),
        ("CAST(amount - 0.04 AS DECIMAL(12,1)) = 12.5", true),
        ("CAST(amount AS DECIMAL(14,3)) = 12.5", true),
        ("CAST(amount AS VARCHAR) = '12.50'", true),
    ];
    for (expr, expected) in cases {
        assert_eq!(value(expr), Value::Bool(expected), "{expr}");
    }
}

#[test]
fn a_list_with_columns_is_compared_row_by_row() {
    let of_case = "CASE status WHEN 'Declined' THEN user_id WHEN 'x' THEN 0 END";
    let cases = [
        (format!("user_id + 1 NOT IN (3, {of_case})"), Value::Bool(true)),
        (format!("user_id + 0 IN (3, {of_case})"), Value::Bool(true)),
        ("user_id IN (3, nullif(merchant_id, 0))".into(), Value::Null),
        ("user_id NOT IN (42, nullif(merchant_id, 0))".into(), Value::Bool(false)),
        ("fee / 5 IN (amount, 0.1)".into(), Value::Bool(true)),
    ];
    for (expr, expected) in cases {
        assert_eq!(value(&expr), expected, "{expr}");
    }
}

#[test]
fn null_goes_through_and_is_not_true() {
    for expr in ["amount + 1", "lower(status)", "fee > 0", "NOT online"] {
        let (expr, rows) = compiled(expr);
        assert_eq!(value_at(&expr.evaluate(&rows).unwrap(), 1), Value::Null, "{expr:?}");
    }
    let (expr, rows) = compiled("fee > 0");
    let truth = expr.is_true(&rows).unwrap();
    assert_eq!((truth.value(0), truth.value(1), truth.null_count()), (true, false, 0));
}

#[test]
fn a_row_without_a_value_is_an_error_and_the_other_rows_keep_theirs() {
    for expr in [
        "user_id / merchant_id",
        "fee / 0",
        "amount / 0",
        "CAST(status AS BIGINT)",
        "exp(fee * 10000)",
    ] {
        let (expr, rows) = compiled(expr);
        let error = expr.evaluate(&rows).unwrap_err();
        assert_eq!(error.expr, expr.text());
        let (values, failed) = expr.evaluate_each(&rows);
        let places: Vec<usize> = failed.iter().map(|(row, _)| *row).collect();
        assert_eq!((places, values.len()), (vec![0], 2), "{expr:?}");
        assert!(values.is_null(0) && values.is_null(1));
    }
}

/// A wrapped number looks like any other: a model would be trained on it and served it.
#[test]
fn an_integer_beyond_bigint_is_no_value_rather_than_a_wrapped_one() {
    let greatest = "(user_id + 9223372036854775765)";
    assert_eq!(value(greatest), Value::Int(i64::MAX));
    assert_eq!(value(&format!("-{greatest} - 1")), Value::Int(i64::MIN));
    for beyond in [
        format!("{greatest} + 1"),
        format!("-2 - {greatest}"),
        format!("{greatest} * {greatest}"),
        format!("-(-{greatest} - 1)"),
        format!("abs(-{greatest} - 1)"),
        format!("(-{greatest} - 1) / -1"),
        format!("{greatest} + merchant_id + 1 > 0"),
        "9223372036854775807 + 1 + user_id".into(),
        "9223372036854775807 + 1".into(),
        "3037000500 * 3037000500".into(),
        "CAST(user_id * 1000 AS SMALLINT)".into(),
        "CAST(user_id * 100000000 AS INTEGER)".into(),
    ] {
        let (expr, rows) = compiled(&beyond);
        let (values, failed) = expr.evaluate_each(&rows);
        assert_eq!(failed.first().map(|(row, _)| *row), Some(0), "{beyond}: {values:?}");
    }
}

#[test]
fn integers_narrower_than_bigint_are_computed_as_bigint() {
    let year = "extract(year FROM event_time)";
    assert_eq!(value(&format!("{year} * {year} * {year}")), Value::Int(2024 * 2024 * 2024));
    assert_eq!(value("CAST(user_id + 2147483605 AS INTEGER) + 1"), Value::Int(1 << 31));
    assert_eq!(value("-CAST(user_id - 32810 AS SMALLINT)"), Value::Int(32_768));
    assert_eq!(value("abs(CAST(user_id - 32810 AS SMALLINT))"), Value::Int(32_768));
}

/// What is served must be readable again: decoding takes the years 1 to 9999.
#[test]
fn a_time_outside_the_years_that_decoding_takes_is_no_value() {
    let (first, last) = ("TIMESTAMP '0001-01-15 00:00:00'", "TIMESTAMP '9999-12-31 23:00:00'");
    assert_eq!(
        value(&format!("{first} - INTERVAL '14 days'")),
        Value::Time(-62_135_596_800_000_000)
    );
    for beyond in [
        format!("coalesce({first}, event_time) - INTERVAL '1 month'"),
        format!("coalesce({first}, event_time) - INTERVAL '15 days'"),
        format!("coalesce({last}, event_time) + INTERVAL '1 hour'"),
        format!("CAST(coalesce({first}, event_time) - INTERVAL '1 month' AS DATE)"),
    ] {
        let (expr, rows) = compiled(&beyond);
        let error = expr.evaluate(&rows).expect_err(&beyond);
        assert!(error.reason.contains("the years 1 to 9999"), "{beyond}: {error}");
    }
}

#[test]
fn a_plain_column_is_passed_on_without_a_copy() {
    let (expr, rows) = compiled("transactions.amount");
    assert_eq!(expr.as_column(), Some(4));
    assert!(Arc::ptr_eq(&expr.evaluate(&rows).unwrap(), rows.column(4)));
}

#[test]
fn an_empty_batch_gives_an_empty_column() {
    let (expr, rows) = compiled("amount / 0 + 1");
    assert_eq!(expr.evaluate(&rows.slice(0, 0)).unwrap().len(), 0);
}
