//! Values of settings as people write them.

use std::time::Duration;

/// Units of durations, with their lengths in milliseconds, the longer names first.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A duration: a whole number and a unit, such as `500ms`, `10s`, `5m`, `2h`, `1d`.
///
/// # Errors
/// What is wrong, with the remedy.
pub fn duration(said: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{said:?} is no duration; write a number and a unit, such as 500ms or 10s");
    let digits = said.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = said.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim();
    let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("10 s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "10 weeks", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
