//! Interval and timestamp constants of definitions, in microseconds.

use crate::error::{Checked, refuse};
use arrow::compute::kernels::cast_utils::{
    parse_interval_month_day_nano, string_to_timestamp_nanos,
};
use datafusion_sql::sqlparser::ast::{DataType, Expr, Interval, Spanned, TypedString, Value};
use datafusion_sql::sqlparser::tokenizer::Span;

const MICROS_PER_DAY: i128 = 86_400_000_000;
const NANOS_PER_MICRO: i128 = 1_000;

/// Longest interval: 1,000 years in microseconds, so that sums of a few never overflow.
pub(crate) const MAX_INTERVAL_US: i64 = 365_250 * 86_400_000_000;

/// Microseconds of an interval literal: `INTERVAL '1 hour'`, `INTERVAL '1' HOUR`. Never negative.
pub(crate) fn interval_us(expr: &Expr, around: Span) -> Checked<i64> {
    let at = place(expr, around);
    match strip(expr) {
        Expr::Interval(interval) => text_us(&interval_text(interval, at)?, at),
        Expr::Cast {
            expr,
            data_type: DataType::Interval { fields: None, precision: None },
            ..
        } if matches!(strip(expr), Expr::Value(_)) => {
            let interval = Interval {
                value: expr.clone(),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            };
            text_us(&interval_text(&interval, at)?, at)
        }
        _ => refuse(
            at,
            "this is not an interval constant",
            "write an interval such as INTERVAL '1 hour'",
        ),
    }
}

/// Microseconds of the text of an interval: `1 hour`. Never negative.
pub(crate) fn text_us(text: &str, at: Span) -> Checked<i64> {
    let parsed = match parse_interval_month_day_nano(text) {
        Ok(parsed) if text.chars().any(|c| c.is_ascii_digit()) => parsed,
        _ => {
            return refuse(
                at,
                format!("'{}' is not an interval", shorten(text)),
                "write a number and a unit, such as '1 hour', '7 days' or '500 milliseconds'",
            );
        }
    };
    if parsed.months != 0 {
        return refuse(
            at,
            "months and years have no fixed length",
            "write days: '30 days' for a month, '365 days' for a year",
        );
    }
    let nanos = i128::from(parsed.nanoseconds);
    if nanos % NANOS_PER_MICRO != 0 {
        return refuse(
            at,
            "the interval is finer than a microsecond",
            "times are whole microseconds; the smallest interval is '0.000001 seconds'",
        );
    }
    let us = i128::from(parsed.days) * MICROS_PER_DAY + nanos / NANOS_PER_MICRO;
    if us < 0 {
        return refuse(
            at,
            "the interval is negative",
            "write a positive interval; PRECEDING already looks back",
        );
    }
    match i64::try_from(us) {
        Ok(us) if us <= MAX_INTERVAL_US => Ok(us),
        _ => refuse(at, "the interval is longer than 1,000 years", "write UNBOUNDED PRECEDING"),
    }
}

/// Microseconds since 1970 of a timestamp constant: `TIMESTAMP '2020-01-01'` or a plain text.
pub(crate) fn timestamp_us(expr: &Expr, around: Span) -> Checked<i64> {
    let at = place(expr, around);
    let text = match strip(expr) {
        Expr::Value(value) => value.value.clone().into_string(),
        Expr::TypedString(TypedString {
            data_type: DataType::Timestamp(..) | DataType::Date,
            value,
            ..
        }) => value.value.clone().into_string(),
        _ => None,
    };
    let help = "write a timestamp in whole microseconds, such as TIMESTAMP '2020-01-01 00:00:00'";
    match text.map(|text| string_to_timestamp_nanos(&text)) {
        Some(Ok(nanos)) if i128::from(nanos) % NANOS_PER_MICRO == 0 => Ok(nanos / 1_000),
        Some(_) => refuse(at, "this is not a time from 1678 to 2261 in whole microseconds", help),
        None => refuse(at, "the origin of the bins is not a timestamp constant", help),
    }
}

/// The expression without the parentheses around it.
pub(crate) fn strip(expr: &Expr) -> &Expr {
    let mut inner = expr;
    while let Expr::Nested(nested) = inner {
        inner = nested;
    }
    inner
}

/// Where an expression stands; `around` where the parser kept no place for it.
pub(crate) fn place(expr: &Expr, around: Span) -> Span {
    match expr.span() {
        span if span == Span::empty() => around,
        span => span,
    }
}

fn interval_text(interval: &Interval, at: Span) -> Checked<String> {
    let plain = interval.leading_precision.is_none()
        && interval.last_field.is_none()
        && interval.fractional_seconds_precision.is_none();
    let value = match strip(&interval.value) {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, false) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    };
    match (value, &interval.leading_field) {
        (Some(text), None) if plain => Ok(text),
        (Some(text), Some(unit)) if plain => Ok(format!("{text} {unit}")),
        _ => refuse(
            at,
            "this interval is not a constant with one unit",
            "write an interval such as INTERVAL '1 hour'",
        ),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_microseconds() {
        let us = |text: &str| text_us(text, Span::empty()).map_err(|refusal| refusal.what);
        let cases = [
            ("0.000001 seconds", 1),
            ("1 microsecond", 1),
            ("5 milliseconds", 5_000),
            ("10 seconds", 10_000_000),
            ("1 minute", 60_000_000),
            ("1 hour", 3_600_000_000),
            ("1 day 2 hours", 93_600_000_000),
            ("2 weeks", 14 * 86_400_000_000),
            ("0 seconds", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(us(text), Ok(expected), "{text}");
        }
        for text in
            ["", "hour", "1 month", "2 years", "-1 hour", "0.0000001 seconds", "9999999 days"]
        {
            assert!(us(text).is_err(), "{text}");
        }
    }
}
