//! Times and dates from text, numbers and typed columns.
//!
//! Text is RFC 3339, with three allowances that databases and data frames need: a space for the
//! `T`, an offset of hours alone (`+00`), and no offset at all, which means UTC. Leap seconds, the
//! hour 24 and anything finer than a microsecond are refused, never moved or cut.

use super::fault::{BadValue, Fault, quote};
use super::number;
use crate::schema::{ColumnType, EpochUnit};
use arrow::datatypes::TimeUnit;
use chrono::NaiveDate;
use trueup_core::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// 0001-01-01 in days since 1970-01-01.
pub(super) const EARLIEST_DAY: i32 = -719_162;
/// 9999-12-31 in days since 1970-01-01.
pub(super) const LATEST_DAY: i32 = 2_932_896;

/// Microseconds since 1970 from text; a bare number needs its `unit`.
pub(super) fn of_text(unit: Option<EpochUnit>, text: &str) -> Result<i64, BadValue> {
    match instant(text.as_bytes()) {
        Ok(us) => in_range(us),
        Err(_) if number::is_number(text) => of_number(unit, text),
        Err(why) => Err(bad(format!("{} is no time: {why}", quote(text)))),
    }
}

/// Microseconds since 1970 from the text of a number of `unit`s.
pub(super) fn of_number(unit: Option<EpochUnit>, text: &str) -> Result<i64, BadValue> {
    let scale = digits_to_micros(unit)?;
    let us = number::decimal_of_text(38, scale, text).map_err(|worse| match worse.fault {
        Fault::Precision => finer(),
        _ => out_of_range(),
    })?;
    in_range(i64::try_from(us).map_err(|_| out_of_range())?)
}

/// Microseconds since 1970 from a typed number, `value * 10^-scale` of `unit`s.
pub(super) fn of_decimal(unit: Option<EpochUnit>, value: i128, from: i8) -> Result<i64, BadValue> {
    let scale = digits_to_micros(unit)?;
    let us = number::decimal_of_decimal(38, scale, value, from)
        .map_err(|worse| if worse.fault == Fault::Precision { finer() } else { out_of_range() })?;
    in_range(i64::try_from(us).map_err(|_| out_of_range())?)
}

/// Microseconds since 1970 from a typed double of `unit`s, which must be whole: one with a fraction
/// misses the microsecond that it was meant for.
pub(super) fn of_double(unit: Option<EpochUnit>, value: f64) -> Result<i64, BadValue> {
    digits_to_micros(unit)?;
    if number::finite(value)?.fract() != 0.0 {
        return Err(bad("a DOUBLE with a fraction is no exact time; send an integer or text"));
    }
    let whole = number::int_of_double(ColumnType::BigInt, value).map_err(|_| out_of_range())?;
    of_decimal(unit, i128::from(whole), 0)
}

/// Microseconds since 1970 from a typed instant.
pub(super) fn of_instant(value: i64, unit: TimeUnit) -> Result<i64, BadValue> {
    let us = match unit {
        TimeUnit::Second => value.checked_mul(MICROS_PER_SECOND),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond if value % 1_000 != 0 => return Err(finer()),
        TimeUnit::Nanosecond => Some(value / 1_000),
    };
    in_range(us.ok_or_else(out_of_range)?)
}

/// Whether microseconds since 1970 lie in the years 1 to 9999.
pub fn is_time(us: i64) -> bool {
    (Micros::EARLIEST.0..=Micros::LATEST.0).contains(&us)
}

/// Whether days since 1970 lie in the years 1 to 9999.
pub fn is_date(days: i32) -> bool {
    (EARLIEST_DAY..=LATEST_DAY).contains(&days)
}

/// `us`, if it lies in the years 1 to 9999.
pub(super) fn in_range(us: i64) -> Result<i64, BadValue> {
    if is_time(us) { Ok(us) } else { Err(out_of_range()) }
}

/// Days since 1970 from `YYYY-MM-DD`.
pub(super) fn date_of_text(text: &str) -> Result<i32, BadValue> {
    let mut scan = Scan(text.as_bytes());
    match scan.date() {
        Ok(days) if scan.0.is_empty() => Ok(days),
        Ok(_) => Err(bad_date(text, "something follows the day")),
        Err(why) => Err(bad_date(text, why)),
    }
}

/// `days`, if they lie in the years 1 to 9999.
pub(super) fn date_in_range(days: i32) -> Result<i32, BadValue> {
    if is_date(days) { Ok(days) } else { Err(out_of_range()) }
}

/// Days since 1970 from Arrow's milliseconds, which must be whole days.
pub(super) fn date_of_millis(millis: i64) -> Result<i32, BadValue> {
    if millis % MILLIS_PER_DAY != 0 {
        return Err(bad("the date has a time of day; declare the column as TIMESTAMP"));
    }
    let days = i32::try_from(millis / MILLIS_PER_DAY).map_err(|_| out_of_range())?;
    date_in_range(days)
}

/// Digits from `unit` down to the microsecond.
fn digits_to_micros(unit: Option<EpochUnit>) -> Result<u8, BadValue> {
    match unit {
        Some(EpochUnit::Seconds) => Ok(6),
        Some(EpochUnit::Millis) => Ok(3),
        Some(EpochUnit::Micros) => Ok(0),
        None => {
            Err(bad("a bare number is no time until its unit is declared: WITH (epoch_unit = \
             'millis'), or send RFC 3339 such as 2026-11-24T10:00:00Z"))
        }
    }
}

/// The UTC microseconds of `YYYY-MM-DD(T| )hh:mm:ss[.f][Z|(+|-)hh[[:]mm]]`.
fn instant(text: &[u8]) -> Result<i64, &'static str> {
    let mut scan = Scan(text);
    let days = scan.date()?;
    if !scan.one_of(b"Tt ") {
        return Err("write a date, T and a time of day, such as 2026-11-24T10:00:00Z");
    }
    let seconds = scan.time_of_day()?;
    let micros = scan.fraction()?;
    let offset = scan.offset()?;
    if !scan.0.is_empty() {
        return Err("something follows the offset");
    }
    let utc = i64::from(days) * SECONDS_PER_DAY + seconds - offset;
    Ok(utc * MICROS_PER_SECOND + micros)
}

/// What is left of a text that is read from the front.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn date(&mut self) -> Result<i32, &'static str> {
        const FORM: &str = "write the date as YYYY-MM-DD";
        let year = self.digits(4).ok_or(FORM)?;
        let month = self.after(b'-', 2).ok_or(FORM)?;
        let day = self.after(b'-', 2).ok_or(FORM)?;
        let year = i32::try_from(year).ok().filter(|year| *year > 0);
        let date = year.and_then(|year| NaiveDate::from_ymd_opt(year, month, day));
        date.map(|date| date.to_epoch_days()).ok_or("the calendar has no such day")
    }

    /// Seconds since midnight.
    fn time_of_day(&mut self) -> Result<i64, &'static str> {
        const FORM: &str = "write the time of day as hh:mm:ss";
        let hour = self.digits(2).ok_or(FORM)?;
        let minute = self.after(b':', 2).ok_or(FORM)?;
        let second = self.after(b':', 2).ok_or(FORM)?;
        match (hour, minute, second) {
            (0..24, 0..60, 0..60) => Ok(i64::from(hour * 3600 + minute * 60 + second)),
            (24, _, _) => Err("the hour 24 is written as 00 of the next day"),
            (0..24, 0..60, 60) => Err("leap seconds are not counted; send second 59 or 00"),
            _ => Err("no such time of day"),
        }
    }

    /// Microseconds after the second; zeros past the sixth digit are no digits.
    fn fraction(&mut self) -> Result<i64, &'static str> {
        if !self.one_of(b".") {
            return Ok(0);
        }
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Err("digits must follow the point");
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        if digits.iter().skip(6).any(|digit| *digit != b'0') {
            return Err("finer than a microsecond; round it before sending");
        }
        let digit = |place: usize| digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
        Ok((0..6).fold(0, |micros, place| micros * 10 + digit(place)))
    }

    /// Seconds east of UTC; 0 without an offset.
    fn offset(&mut self) -> Result<i64, &'static str> {
        const FORM: &str = "write the offset as Z, +hh:mm or -hh:mm";
        if self.0.is_empty() || self.one_of(b"Zz") {
            return Ok(0);
        }
        let east = match self.0 {
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return Err(FORM),
        };
        self.0 = &self.0[1..];
        let hours = self.digits(2).ok_or(FORM)?;
        let minutes = match self.0 {
            [] => 0,
            [b':', ..] => self.after(b':', 2).ok_or(FORM)?,
            _ => self.digits(2).ok_or(FORM)?,
        };
        if hours > 23 || minutes > 59 {
            return Err("no such offset");
        }
        Ok(east * i64::from(hours * 3600 + minutes * 60))
    }

    fn after(&mut self, mark: u8, count: usize) -> Option<u32> {
        if self.one_of(&[mark]) { self.digits(count) } else { None }
    }

    fn one_of(&mut self, marks: &[u8]) -> bool {
        match self.0 {
            [first, rest @ ..] if marks.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0u32, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
        })
    }
}

fn bad(reason: impl Into<String>) -> BadValue {
    BadValue::new(Fault::Time, reason)
}

fn bad_date(text: &str, why: &str) -> BadValue {
    bad(format!("{} is no date: {why}; write YYYY-MM-DD", quote(text)))
}

fn finer() -> BadValue {
    bad("the time is finer than a microsecond; round it before sending")
}

fn out_of_range() -> BadValue {
    bad("the time is outside the years 1 to 9999; check its unit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print;
    use proptest::prelude::*;

    const TEN: i64 = 1_795_514_400_000_000;

    #[test]
    fn a_time_is_read_to_the_microsecond_in_utc() {
        for text in [
            "2026-11-24T10:00:00Z",
            "2026-11-24t10:00:00z",
            "2026-11-24 10:00:00",
            "2026-11-24T10:00:00",
            "2026-11-24T10:00:00.000000000Z",
            "2026-11-24T11:30:00+01:30",
            "2026-11-24T11:00:00+01",
            "2026-11-24 05:30:00-0430",
            "2026-11-24T10:00:00-00:00",
        ] {
            assert_eq!(of_text(None, text), Ok(TEN), "{text}");
        }
        assert_eq!(of_text(None, "2026-11-24T10:00:00.5Z"), Ok(TEN + 500_000));
        assert_eq!(of_text(None, "2026-11-24T10:00:00.000001Z"), Ok(TEN + 1));
        assert_eq!(of_text(None, "2024-02-29T00:00:00Z"), Ok(1_709_164_800_000_000));
    }

    #[test]
    fn what_is_no_instant_is_refused_and_never_moved() {
        for text in [
            "",
            "now",
            "infinity",
            "2026-11-24",
            "2026-11-24T10:00",
            "2026-11-24T10:00:00.",
            "2026-11-24T10:00:00.0000001Z",
            "2026-11-24T23:59:60Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:60:00Z",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "12026-11-24T10:00:00Z",
            "-2026-11-24T10:00:00Z",
            "2026-11-24T10:00:00 Z",
            "2026-11-24T10:00:00+1",
            "2026-11-24T10:00:00+24:00",
            "2026-11-24T10:00:00+01:60",
            "2026-11-24T10:00:00Zx",
            "2026-11-24  10:00:00",
            "2026-11-24T10:00:00,5Z",
            "24/11/2026 10:00:00",
            "20261124T100000Z",
        ] {
            assert_eq!(of_text(None, text).unwrap_err().fault, Fault::Time, "{text}");
        }
    }

    #[test]
    fn times_end_at_the_years_1_and_9999_whatever_their_offset() {
        assert_eq!(of_text(None, "0001-01-01T00:00:00Z"), Ok(Micros::EARLIEST.0));
        assert_eq!(of_text(None, "9999-12-31T23:59:59.999999Z"), Ok(Micros::LATEST.0));
        assert!(of_text(None, "0001-01-01T00:00:00+00:01").is_err());
        assert!(of_text(None, "9999-12-31T23:59:59-00:01").is_err());
        assert_eq!(of_instant(Micros::LATEST.0, TimeUnit::Microsecond), Ok(Micros::LATEST.0));
        assert!(of_instant(Micros::LATEST.0 + 1, TimeUnit::Microsecond).is_err());
        assert!(of_instant(Micros::EARLIEST.0 - 1, TimeUnit::Microsecond).is_err());
        assert!(of_instant(i64::MAX, TimeUnit::Second).is_err());
        assert!(of_instant(i64::MIN, TimeUnit::Millisecond).is_err());
        assert_eq!(date_of_text("0001-01-01"), Ok(EARLIEST_DAY));
        assert_eq!(date_of_text("9999-12-31"), Ok(LATEST_DAY));
        assert!(date_in_range(LATEST_DAY + 1).is_err());
        assert!(date_in_range(EARLIEST_DAY - 1).is_err());
    }

    #[test]
    fn nanoseconds_on_a_microsecond_are_kept_and_others_refused() {
        assert_eq!(of_instant(1_000, TimeUnit::Nanosecond), Ok(1));
        assert_eq!(of_instant(-1_000, TimeUnit::Nanosecond), Ok(-1));
        assert!(of_instant(1_001, TimeUnit::Nanosecond).is_err());
        assert!(of_instant(-1, TimeUnit::Nanosecond).is_err());
    }

    #[test]
    fn a_bare_number_is_a_time_only_in_its_declared_unit() {
        let second = Some(EpochUnit::Seconds);
        assert_eq!(of_text(None, "1795514400").unwrap_err().fault, Fault::Time);
        assert_eq!(of_text(second, "1795514400"), Ok(TEN));
        assert_eq!(of_number(second, "1795514400.000001"), Ok(TEN + 1));
        assert_eq!(of_number(Some(EpochUnit::Millis), "1.7955144e12"), Ok(TEN));
        assert_eq!(of_number(Some(EpochUnit::Micros), "-1"), Ok(-1));
        assert_eq!(of_decimal(second, 17_955_144_000, 1), Ok(TEN));
        assert!(of_number(second, "1.0000001").is_err());
        assert!(of_number(Some(EpochUnit::Micros), "0.5").is_err());
        assert!(of_decimal(second, i128::MAX, 0).is_err());
        assert_eq!(of_double(second, 1_795_514_400.0), Ok(TEN));
        assert_eq!(of_double(None, 1.0).unwrap_err().fault, Fault::Time);
        assert_eq!(of_double(second, 0.5).unwrap_err().fault, Fault::Time);
        assert_eq!(of_double(second, 1e300).unwrap_err().fault, Fault::Time);
        assert_eq!(of_double(second, f64::NAN).unwrap_err().fault, Fault::NotFinite);
    }

    #[test]
    fn milliseconds_sent_as_seconds_are_out_of_range_and_do_not_overflow() {
        let second = Some(EpochUnit::Seconds);
        assert_eq!(of_number(second, "1795514400000").unwrap_err().fault, Fault::Time);
        assert_eq!(of_number(second, "9223372036854775807").unwrap_err().fault, Fault::Time);
        assert_eq!(of_number(second, "1e400").unwrap_err().fault, Fault::Time);
    }

    #[test]
    fn a_date_is_a_day_and_nothing_more() {
        assert_eq!(date_of_text("1970-01-01"), Ok(0));
        for text in ["1970-1-1", "1970-01-01T00:00:00Z", "1970-02-30", "0000-01-01", "0", ""] {
            assert_eq!(date_of_text(text).unwrap_err().fault, Fault::Time, "{text}");
        }
        assert_eq!(date_of_millis(MILLIS_PER_DAY), Ok(1));
        assert!(date_of_millis(1).is_err());
        assert!(date_of_millis(i64::MAX / MILLIS_PER_DAY * MILLIS_PER_DAY).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_time_printed_and_read_again_is_the_same(us in Micros::EARLIEST.0..=Micros::LATEST.0) {
            prop_assert_eq!(of_text(None, &print::Timestamp(us).to_string()), Ok(us));
        }

        #[test]
        fn a_date_printed_and_read_again_is_the_same(days in EARLIEST_DAY..=LATEST_DAY) {
            prop_assert_eq!(date_of_text(&print::Date(days).to_string()), Ok(days));
        }

        #[test]
        fn any_text_is_a_time_or_an_error(text in "[-0-9TZ:+. ]{0,40}|.{0,40}") {
            let read = of_text(Some(EpochUnit::Millis), &text);
            prop_assert!(read.is_err() || in_range(read.unwrap()).is_ok());
            let _ = date_of_text(&text);
        }
    }
}
