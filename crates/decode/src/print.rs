//! Values as text: the one way in which answers, files and dead letters write them.
//!
//! Everything printed here reads back to the same value through the decoding table.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use std::fmt;
use trueup_core::Unknown;

/// Why a value cannot be known, for people: with times as they are written elsewhere, where `core`
/// has microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Reason(
    /// What `core` says.
    pub Unknown,
);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unknown::NotWhole { from } => {
                let from = Timestamp(from.0);
                write!(f, "the frame starts before {from}, from when this key's state is whole")
            }
            Unknown::HoldsLater { newest } => {
                let newest = Timestamp(newest.0);
                write!(f, "the instant lies before events already in its bin, up to {newest}")
            }
            other => write!(f, "{other}"),
        }
    }
}

/// A TIMESTAMP in RFC 3339: UTC, six digits of the second, `Z`.
///
/// A time that the calendar does not reach (beyond some 260,000 years) prints as its microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(
    /// Microseconds since 1970.
    pub i64,
);

/// A DATE as `YYYY-MM-DD`. A day that the calendar does not reach prints as its number.
#[derive(Clone, Copy, Debug)]
pub struct Date(
    /// Days since 1970-01-01.
    pub i32,
);

/// A DECIMAL with exactly `scale` digits after the point, and no point when that is 0.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// The value in units of `10^-scale`.
    pub value: i128,
    /// Digits after the point.
    pub scale: u8,
}

/// A DOUBLE as the shortest text that reads back to the same bits, with a point or an exponent.
///
/// Finite values only are numbers in JSON; `NaN` and `inf` print as Rust prints them.
#[derive(Clone, Copy, Debug)]
pub struct Double(
    /// The value.
    pub f64,
);

/// Bytes as lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(
    /// The bytes.
    pub &'a [u8],
);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In pieces of a digest: every answer has one.
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        for bytes in self.0.chunks(32) {
            let mut text = [0; 64];
            for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
                [pair[0], pair[1]] = [digit(byte >> 4), digit(byte & 15)];
            }
            f.write_str(ascii(&text[..2 * bytes.len()]))?;
        }
        Ok(())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = DateTime::from_timestamp_micros(self.0) else {
            return write!(f, "{}", self.0);
        };
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let micros = time.timestamp_subsec_micros();
        let Ok(year @ 0..=9999) = u32::try_from(year) else {
            let date = format_args!("{year:04}-{month:02}-{day:02}");
            return write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
        };
        // By hand, since each answer has one or two.
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..10], day);
        put_digits(&mut text[11..13], hour);
        put_digits(&mut text[14..16], minute);
        put_digits(&mut text[17..19], second);
        put_digits(&mut text[20..26], micros);
        f.write_str(ascii(&text))
    }
}

/// Writes a number into digits that it fits.
fn put_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn ascii(text: &[u8]) -> &str {
    // Digits and signs are.
    std::str::from_utf8(text).unwrap_or_default()
}

/// A sign, a point, a digit before it, and as many after it as a scale can say.
const DECIMAL_BYTES: usize = 3 + u8::MAX as usize;

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        // By hand, since an answer may have many: from the last digit to the first, of which one at
        // least stands before the point.
        let mut text = [0; DECIMAL_BYTES];
        let (mut first, mut rest, mut written) = (text.len(), self.value.unsigned_abs(), 0);
        while rest > 0 || written <= scale {
            if written == scale && scale > 0 {
                first -= 1;
                text[first] = b'.';
            }
            first -= 1;
            text[first] = b'0' + (rest % 10) as u8;
            (rest, written) = (rest / 10, written + 1);
        }
        if self.value < 0 {
            first -= 1;
            text[first] = b'-';
        }
        f.write_str(ascii(&text[first..]))
    }
}

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_in_one_canonical_form() {
        let check = |shown: String, want: &str| assert_eq!(shown, want);
        check(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000Z");
        check(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999Z");
        check(Timestamp(-62_135_596_800_000_000).to_string(), "0001-01-01T00:00:00.000000Z");
        check(Timestamp(i64::MAX).to_string(), "9223372036854775807");
        check(Timestamp(i64::MIN).to_string(), "-9223372036854775808");
        check(Date(-1).to_string(), "1969-12-31");
        check(Date(i32::MIN).to_string(), "-2147483648");
        check(Decimal { value: -5, scale: 2 }.to_string(), "-0.05");
        check(Decimal { value: 1250, scale: 2 }.to_string(), "12.50");
        check(Decimal { value: 7, scale: 0 }.to_string(), "7");
        check(Decimal { value: 0, scale: 3 }.to_string(), "0.000");
        let lowest = "-1.70141183460469231731687303715884105728";
        check(Decimal { value: i128::MIN, scale: 38 }.to_string(), lowest);
        check(Hex(&[0x00, 0x9a, 0xff]).to_string(), "009aff");
        check(Hex(&[0xa5; 33]).to_string(), &"a5".repeat(33));
        check(Double(1.0).to_string(), "1.0");
        check(Double(0.1 + 0.2).to_string(), "0.30000000000000004");
        check(Double(1e300).to_string(), "1e300");
        check(Double(5e-324).to_string(), "5e-324");
    }
}
