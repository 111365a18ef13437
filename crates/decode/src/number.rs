//! Numbers: from their text, or from a typed column, to 64-bit integers, decimals and doubles.
//!
//! Text is never read through a double on its way to an integer or a decimal, so integers above
//! 2^53 and all 38 digits of a decimal stay whole. What counts is the value and not how it is
//! written: `1.50` and `15e-1` are equal, and zeros at the end are no digits of their own.

use super::fault::{BadValue, Fault, quote};
use super::print;
use crate::schema::ColumnType;

/// Digits of the largest decimal, DECIMAL(38): the most that 128 bits hold.
const MAX_DIGITS: u32 = 38;

/// Largest scale for which a 53-bit mantissa times `10^scale` stays within 127 bits.
const MAX_WIDE_SCALE: u8 = 22;

/// Digits after the point that write out any double in full: its lowest bit is at least 2^-1074.
const DOUBLE_DIGITS: usize = 1074;

/// A number as its text says: `mantissa * 10^exponent`, with a mantissa that does not end in 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exact {
    negative: bool,
    mantissa: u128,
    exponent: i64,
}

/// Why a text gives no [`Exact`].
enum Unread {
    /// It is no number.
    NotANumber,
    /// More than 38 digits between the first and the last that is not 0.
    TooManyDigits,
}

/// Whether `text` is written as a number: a sign, digits, a point, an exponent.
pub(super) fn is_number(text: &str) -> bool {
    !matches!(Exact::read(text), Err(Unread::NotANumber))
}

/// A 64-bit integer from text, within `ty`'s range.
pub(super) fn int_of_text(ty: ColumnType, text: &str) -> Result<i64, BadValue> {
    if let Some(value) = short_int(text) {
        return int_in_range(ty, value);
    }
    match Exact::read(text) {
        Err(Unread::NotANumber) => Err(no_number(ty, text)),
        Err(Unread::TooManyDigits) => Err(int_too_large(ty)),
        Ok(exact) if exact.exponent < 0 => Err(not_whole(ty, text)),
        Ok(exact) => {
            let value = exact.scaled(0).and_then(|value| i64::try_from(value).ok());
            int_in_range(ty, value.ok_or_else(|| int_too_large(ty))?)
        }
    }
}

/// `value`, if `ty` holds it.
pub(super) fn int_in_range(ty: ColumnType, value: i64) -> Result<i64, BadValue> {
    let (least, most) = int_range(ty);
    if value < least || value > most { Err(int_too_large(ty)) } else { Ok(value) }
}

/// The least and the largest value of an integer type.
pub(super) fn int_range(ty: ColumnType) -> (i64, i64) {
    match ty {
        ColumnType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        ColumnType::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

/// A 64-bit integer from a decimal `value * 10^-scale` that is whole.
pub(super) fn int_of_decimal(ty: ColumnType, value: i128, scale: i8) -> Result<i64, BadValue> {
    let exact = Exact::of_decimal(value, scale);
    if exact.exponent < 0 {
        return Err(not_whole(ty, &text_of(value, scale)));
    }
    let whole = exact.scaled(0).and_then(|value| i64::try_from(value).ok());
    int_in_range(ty, whole.ok_or_else(|| int_too_large(ty))?)
}

/// A 64-bit integer from a double that is whole.
pub(super) fn int_of_double(ty: ColumnType, value: f64) -> Result<i64, BadValue> {
    let value = finite(value)?;
    if value.trunc() != value {
        return Err(not_whole(ty, &print::Double(value).to_string()));
    }
    // 2^63 itself is a double and is no i64; the cast below saturates and must not see it.
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if !(-TWO_TO_63..TWO_TO_63).contains(&value) {
        return Err(int_too_large(ty));
    }
    int_in_range(ty, value as i64)
}

/// A decimal from text, in units of `10^-scale`; digits past the scale are an error.
pub(super) fn decimal_of_text(precision: u8, scale: u8, text: &str) -> Result<i128, BadValue> {
    let ty = ColumnType::Decimal { precision, scale };
    match Exact::read(text) {
        Err(Unread::NotANumber) => Err(no_number(ty, text)),
        Err(Unread::TooManyDigits) => Err(BadValue::new(
            Fault::Precision,
            format!("{} has more than {MAX_DIGITS} digits, which {ty} cannot keep", quote(text)),
        )),
        Ok(exact) => exact.decimal(precision, scale).map_err(|fault| lost(fault, ty, text)),
    }
}

/// A decimal from one of another scale, `value * 10^-from`; digits past the scale are an error.
pub(super) fn decimal_of_decimal(
    precision: u8,
    scale: u8,
    value: i128,
    from: i8,
) -> Result<i128, BadValue> {
    let ty = ColumnType::Decimal { precision, scale };
    let exact = Exact::of_decimal(value, from);
    exact.decimal(precision, scale).map_err(|fault| lost(fault, ty, &text_of(value, from)))
}

/// A decimal from a double: the double's exact value rounded to the scale, half away from zero.
pub(super) fn decimal_of_double(precision: u8, scale: u8, value: f64) -> Result<i128, BadValue> {
    let value = finite(value)?;
    let ty = ColumnType::Decimal { precision, scale };
    let size = if scale <= MAX_WIDE_SCALE {
        round_by_shift(value.abs(), scale)
    } else {
        round_by_digits(value.abs(), scale)
    };
    match size {
        Some(size) if size < 10u128.pow(u32::from(precision)) => {
            let size = size as i128;
            Ok(if value < 0.0 { -size } else { size })
        }
        _ => Err(lost(Fault::Range, ty, &print::Double(value).to_string())),
    }
}

/// Whether a DECIMAL of `precision` digits holds `value` units.
pub(super) fn decimal_fits(precision: u8, value: i128) -> bool {
    value.unsigned_abs() < 10u128.pow(u32::from(precision))
}

/// The double nearest to the number that `text` writes.
pub(super) fn double_of_text(text: &str) -> Result<f64, BadValue> {
    let plain = |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(plain) {
        let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
        return match word.as_str() {
            "nan" | "inf" | "infinity" => Err(not_finite()),
            _ => Err(no_number(ColumnType::Double, text)),
        };
    }
    let value: f64 = text.parse().map_err(|_| no_number(ColumnType::Double, text))?;
    if value.is_infinite() {
        return Err(BadValue::new(
            Fault::Range,
            format!("{} is outside what DOUBLE holds, some 1.8e308 either way", quote(text)),
        ));
    }
    Ok(value + 0.0)
}

/// The double nearest to the decimal `value * 10^-scale`.
pub(super) fn double_of_decimal(value: i128, scale: i8) -> Result<f64, BadValue> {
    double_of_text(&text_of(value, scale))
}

/// `value` if it is finite, with -0.0 as 0.0.
pub(super) fn finite(value: f64) -> Result<f64, BadValue> {
    if value.is_finite() { Ok(value + 0.0) } else { Err(not_finite()) }
}

impl Exact {
    fn read(text: &str) -> Result<Exact, Unread> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (digits, power) = match end {
            Some(end) => (&rest[..end], exponent(&rest[end + 1..]).ok_or(Unread::NotANumber)?),
            None => (rest, 0),
        };
        let mut exact = Exact { negative, mantissa: 0, exponent: 0 };
        let (mut after, mut seen, mut point, mut zeros) = (0i64, false, false, 0u32);
        let mut fits = true;
        for &byte in digits {
            match byte {
                b'.' if !point => {
                    point = true;
                    continue;
                }
                b'0' if exact.mantissa == 0 => {}
                b'0' => zeros = zeros.saturating_add(1),
                b'1'..=b'9' => {
                    fits &= exact.append(zeros, byte - b'0');
                    zeros = 0;
                }
                _ => return Err(Unread::NotANumber),
            }
            seen = true;
            after += i64::from(point);
        }
        if !seen {
            return Err(Unread::NotANumber);
        }
        if !fits {
            return Err(Unread::TooManyDigits);
        }
        exact.exponent = power.saturating_sub(after).saturating_add(i64::from(zeros));
        Ok(exact.normal())
    }

    /// Writes `zeros` zeros and `digit` behind the mantissa; false if that makes over 38 digits.
    fn append(&mut self, zeros: u32, digit: u8) -> bool {
        let shift = if zeros < MAX_DIGITS { 10u128.checked_pow(zeros + 1) } else { None };
        let wide = shift.and_then(|shift| self.mantissa.checked_mul(shift));
        match wide.and_then(|wide| wide.checked_add(u128::from(digit))) {
            Some(next) if next < 10u128.pow(MAX_DIGITS) => {
                self.mantissa = next;
                true
            }
            _ => false,
        }
    }

    fn of_decimal(value: i128, scale: i8) -> Exact {
        let mut exact = Exact {
            negative: value < 0,
            mantissa: value.unsigned_abs(),
            exponent: -i64::from(scale),
        };
        while exact.mantissa != 0 && exact.mantissa.is_multiple_of(10) {
            exact.mantissa /= 10;
            exact.exponent += 1;
        }
        exact.normal()
    }

    /// Zero has one form only.
    fn normal(self) -> Exact {
        if self.mantissa == 0 {
            return Exact { negative: false, mantissa: 0, exponent: 0 };
        }
        self
    }

    /// The value in units of `10^-scale`, if that is whole and within 128 bits.
    fn scaled(self, scale: u8) -> Option<i128> {
        let shift = u32::try_from(self.exponent.checked_add(i64::from(scale))?).ok()?;
        let size = self.mantissa.checked_mul(10u128.checked_pow(shift)?)?;
        let size = i128::try_from(size).ok()?;
        Some(if self.negative { -size } else { size })
    }

    fn decimal(self, precision: u8, scale: u8) -> Result<i128, Fault> {
        if self.mantissa == 0 {
            return Ok(0);
        }
        if self.exponent < -i64::from(scale) {
            return Err(Fault::Precision);
        }
        let value = self.scaled(scale).filter(|value| decimal_fits(precision, *value));
        value.ok_or(Fault::Range)
    }
}

/// Up to 18 plain digits, the common integer, without the general reader.
fn short_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(if negative { -value } else { value })
}

/// The digits behind `e`, with a sign or without. Stops growing far beyond any type's range.
fn exponent(text: &[u8]) -> Option<i64> {
    const LARGE: i64 = 1_000_000_000;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size =
        digits.iter().fold(0i64, |size, byte| (size * 10 + i64::from(byte - b'0')).min(LARGE));
    Some(if negative { -size } else { size })
}

/// `value * 10^scale`, rounded half up, from the bits of the double; `scale` at most 22.
fn round_by_shift(value: f64, scale: u8) -> Option<u128> {
    let bits = value.to_bits();
    let field = (bits >> 52) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, power) = match field {
        0 => (fraction, -1074),
        _ => (fraction | (1 << 52), field - 1075),
    };
    let scaled = u128::from(mantissa) * 10u128.pow(u32::from(scale));
    if power >= 0 {
        let wide = 1u128.checked_shl(power.unsigned_abs())?;
        return scaled.checked_mul(wide);
    }
    let shift = power.unsigned_abs();
    // Below 2^127, so a shift of 128 or more leaves less than a half.
    if shift >= 128 {
        return Some(0);
    }
    Some((scaled >> shift) + ((scaled >> (shift - 1)) & 1))
}

/// The same from the digits of the double written out in full: slow, for large scales.
fn round_by_digits(value: f64, scale: u8) -> Option<u128> {
    let text = format!("{value:.DOUBLE_DIGITS$}");
    let (whole, after) = text.split_once('.')?;
    let (kept, cut) = after.split_at(usize::from(scale));
    let size: u128 = format!("{whole}{kept}").parse().ok()?;
    size.checked_add(u128::from(cut.as_bytes().first().is_some_and(|digit| *digit >= b'5')))
}

fn text_of(value: i128, scale: i8) -> String {
    match u8::try_from(scale) {
        Ok(scale) => print::Decimal { value, scale }.to_string(),
        Err(_) => format!("{value}e{}", -i16::from(scale)),
    }
}

fn no_number(ty: ColumnType, text: &str) -> BadValue {
    let reason = format!("{} is not a number; {ty} takes digits such as -12 or 3.5e2", quote(text));
    BadValue::new(Fault::Type, reason)
}

fn not_whole(ty: ColumnType, text: &str) -> BadValue {
    let reason =
        format!("{} is not whole; {ty} takes whole numbers, or declare a DECIMAL", quote(text));
    BadValue::new(Fault::Precision, reason)
}

fn int_too_large(ty: ColumnType) -> BadValue {
    let (least, most) = int_range(ty);
    BadValue::new(Fault::Range, format!("the number is outside {ty}, {least} to {most}"))
}

fn not_finite() -> BadValue {
    let reason = "not finite: NaN and infinities are not taken; send NULL for a missing one";
    BadValue::new(Fault::NotFinite, reason)
}

fn lost(fault: Fault, ty: ColumnType, text: &str) -> BadValue {
    let reason = match fault {
        Fault::Precision => format!(
            "{} has more digits after the point than {ty} keeps; round it before sending, or \
             declare a larger scale",
            quote(text)
        ),
        _ => format!("{} has more digits before the point than {ty} keeps", quote(text)),
    };
    BadValue::new(fault, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BIG: ColumnType = ColumnType::BigInt;

    #[test]
    fn integers_above_two_to_the_53_stay_whole() {
        for value in [9_007_199_254_740_993, i64::MAX, i64::MIN, 999_999_999_999_999_999] {
            assert_eq!(int_of_text(BIG, &value.to_string()), Ok(value));
        }
        assert_eq!(int_of_text(BIG, "9223372036854775808").unwrap_err().fault, Fault::Range);
        assert_eq!(int_of_text(BIG, "-9223372036854775809").unwrap_err().fault, Fault::Range);
    }

    #[test]
    fn an_integer_is_a_whole_value_however_it_is_written() {
        for (text, want) in
            [("1.0", 1), ("1e3", 1000), ("1200e-2", 12), ("+7", 7), ("007", 7), ("-0", 0)]
        {
            assert_eq!(int_of_text(BIG, text), Ok(want), "{text}");
        }
        for text in ["1.5", "15e-1", "1e-400"] {
            assert_eq!(int_of_text(BIG, text).unwrap_err().fault, Fault::Precision, "{text}");
        }
        for text in ["", "-", "+", ".", "e5", "1e", "1e+", "0x10", " 1", "1 ", "1_000", "1..2"] {
            assert_eq!(int_of_text(BIG, text).unwrap_err().fault, Fault::Type, "{text:?}");
        }
        let huge = "1e999999999999999999999";
        assert_eq!(int_of_text(BIG, huge).unwrap_err().fault, Fault::Range);
    }

    #[test]
    fn small_integers_are_held_to_their_range() {
        for (ty, most) in [(ColumnType::SmallInt, 32_767i64), (ColumnType::Integer, 2_147_483_647)]
        {
            assert_eq!(int_of_text(ty, &most.to_string()), Ok(most));
            assert_eq!(int_of_text(ty, &(-most - 1).to_string()), Ok(-most - 1));
            assert!(int_of_text(ty, &(most + 1).to_string()).is_err());
            assert!(int_of_text(ty, &(-most - 2).to_string()).is_err());
            assert!(int_of_double(ty, most as f64 + 1.0).is_err());
        }
    }

    #[test]
    fn text_with_more_digits_than_the_scale_is_bad_and_zeros_are_no_digits() {
        assert_eq!(decimal_of_text(12, 2, "12.34"), Ok(1234));
        assert_eq!(decimal_of_text(12, 2, "12.3400"), Ok(1234));
        assert_eq!(decimal_of_text(12, 2, "1234e-2"), Ok(1234));
        assert_eq!(decimal_of_text(12, 2, "-0.00000000"), Ok(0));
        assert_eq!(decimal_of_text(12, 2, "0e-99999"), Ok(0));
        assert_eq!(decimal_of_text(12, 2, "9999999999.99"), Ok(999_999_999_999));
        assert_eq!(decimal_of_text(12, 2, "12.345").unwrap_err().fault, Fault::Precision);
        assert_eq!(decimal_of_text(12, 2, "10000000000").unwrap_err().fault, Fault::Range);
        let nines = "9".repeat(38);
        assert_eq!(decimal_of_text(38, 0, &nines), Ok(10i128.pow(38) - 1));
        let longer = "9".repeat(39);
        assert_eq!(decimal_of_text(38, 0, &longer).unwrap_err().fault, Fault::Precision);
        assert_eq!(decimal_of_text(38, 38, &format!("0.{nines}")), Ok(10i128.pow(38) - 1));
    }

    #[test]
    fn a_double_becomes_a_decimal_rounded_half_away_from_zero() {
        let cases = [(0.125, 13), (-0.125, -13), (2.675, 267), (1e-300, 0), (0.005, 1), (-0.0, 0)];
        for (value, want) in cases {
            assert_eq!(decimal_of_double(12, 2, value), Ok(want), "{value}");
        }
        assert_eq!(decimal_of_double(3, 0, 999.4), Ok(999));
        assert_eq!(decimal_of_double(3, 0, 999.5).unwrap_err().fault, Fault::Range);
        assert_eq!(decimal_of_double(38, 0, 1e300).unwrap_err().fault, Fault::Range);
        assert_eq!(decimal_of_double(38, 30, 0.5), Ok(5 * 10i128.pow(29)));
        assert_eq!(decimal_of_double(38, 38, 1e20).unwrap_err().fault, Fault::Range);
    }

    #[test]
    fn nan_infinity_and_overflow_are_bad_and_minus_zero_is_zero() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(finite(value).unwrap_err().fault, Fault::NotFinite);
            assert_eq!(int_of_double(BIG, value).unwrap_err().fault, Fault::NotFinite);
            assert_eq!(decimal_of_double(9, 2, value).unwrap_err().fault, Fault::NotFinite);
        }
        for text in ["NaN", "-nan", "inf", "+Infinity"] {
            assert_eq!(double_of_text(text).unwrap_err().fault, Fault::NotFinite, "{text}");
        }
        assert_eq!(double_of_text("1e309").unwrap_err().fault, Fault::Range);
        assert_eq!(double_of_text("1e308"), Ok(1e308));
        assert_eq!(double_of_text("5e-324"), Ok(5e-324));
        assert_eq!(double_of_text("-0.0").unwrap().to_bits(), 0);
        assert_eq!(double_of_text("-1e-400").unwrap().to_bits(), 0);
    }

    #[test]
    fn a_double_at_the_edge_of_bigint_does_not_wrap() {
        let two_to_63 = 9_223_372_036_854_775_808.0;
        assert_eq!(int_of_double(BIG, -two_to_63), Ok(i64::MIN));
        assert_eq!(int_of_double(BIG, two_to_63).unwrap_err().fault, Fault::Range);
        assert_eq!(int_of_double(BIG, 0.5).unwrap_err().fault, Fault::Precision);
    }

    #[test]
    fn decimals_change_scale_only_without_loss() {
        assert_eq!(decimal_of_decimal(12, 2, 15_000, 4), Ok(150));
        assert_eq!(decimal_of_decimal(12, 2, 15_001, 4).unwrap_err().fault, Fault::Precision);
        assert_eq!(decimal_of_decimal(12, 2, 7, -3), Ok(700_000));
        assert_eq!(decimal_of_decimal(4, 2, 100, 0).unwrap_err().fault, Fault::Range);
        assert_eq!(int_of_decimal(BIG, 1200, 2), Ok(12));
        assert_eq!(int_of_decimal(BIG, 1250, 2).unwrap_err().fault, Fault::Precision);
        assert!(decimal_of_decimal(38, 0, i128::MIN, 0).is_err());
        assert_eq!(double_of_decimal(1, 1), Ok(0.1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn both_roundings_of_a_double_agree(
            bits in any::<u64>(), near in -1e9..1e9f64, scale in 0..=22u8
        ) {
            for value in [f64::from_bits(bits), near] {
                if value.is_finite() {
                    let fast = round_by_shift(value.abs(), scale);
                    let slow = round_by_digits(value.abs(), scale);
                    let within = |size: Option<u128>| size.filter(|size| *size < 10u128.pow(38));
                    prop_assert_eq!(within(fast), within(slow));
                }
            }
        }

        #[test]
        fn a_decimal_printed_and_read_again_is_the_same(value in any::<i128>(), scale in 0..=38u8) {
            let value = value % 10i128.pow(38);
            let text = print::Decimal { value, scale }.to_string();
            prop_assert_eq!(decimal_of_text(38, scale, &text), Ok(value));
        }

        #[test]
        fn a_double_printed_and_read_again_is_the_same(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let read = double_of_text(&print::Double(value).to_string()).unwrap();
                prop_assert_eq!(read.to_bits(), (value + 0.0).to_bits());
            }
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9.eE naif]{0,60}") {
            let exact = Exact::read(&text).is_ok();
            prop_assert!(!exact || is_number(&text));
            let _ = decimal_of_text(38, 19, &text);
            let _ = (int_of_text(BIG, &text), double_of_text(&text));
        }
    }
}
