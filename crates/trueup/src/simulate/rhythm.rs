//! How busy an hour of the week is: people sleep at night, and at weekends they start later and
//! stop later.
//!
//! Only genuine transactions follow it. Thieves do not keep hours, which is what makes the hour a
//! useful feature.

use trueup_core::Micros;

/// Microseconds in an hour.
const HOUR_US: i64 = 3_600_000_000;

/// Hours in a week.
const WEEK_HOURS: i64 = 7 * 24;

/// Hours from the first hour of a Monday to 1970-01-01T00:00, a Thursday.
const MONDAY_TO_EPOCH_HOURS: i64 = 3 * 24;

/// Activity from each hour (UTC) of a working day, in hundredths of the busiest hour.
const WORKDAY: [u8; 24] =
    [6, 4, 3, 2, 3, 6, 15, 32, 48, 55, 60, 68, 80, 74, 66, 68, 76, 90, 100, 92, 70, 48, 28, 14];

/// The same on Saturdays and Sundays.
const WEEKEND: [u8; 24] =
    [14, 10, 7, 4, 3, 4, 8, 16, 32, 54, 72, 84, 88, 86, 84, 82, 80, 76, 72, 66, 54, 42, 32, 22];

fn weight(hour_of_week: i64) -> f64 {
    let day = if hour_of_week < 5 * 24 { &WORKDAY } else { &WEEKEND };
    f64::from(day[(hour_of_week % 24) as usize]) / 100.0
}

/// Activity at `at`, as a share of the busiest hour: in `(0, 1]`.
pub(crate) fn activity(at: Micros) -> f64 {
    weight((at.0.div_euclid(HOUR_US) + MONDAY_TO_EPOCH_HOURS).rem_euclid(WEEK_HOURS))
}

/// The mean of [`activity`] over a week.
pub(crate) fn mean_activity() -> f64 {
    (0..WEEK_HOURS).map(weight).sum::<f64>() / WEEK_HOURS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_friday_night_is_quiet_and_a_saturday_morning_starts_late() {
        let friday_2026_11_27 = 1_795_737_600_000_000;
        let at = |hours: i64| activity(Micros(friday_2026_11_27 + hours * HOUR_US));
        assert_eq!(at(3), 0.02);
        assert_eq!(at(18), 1.0);
        assert_eq!(at(24 + 7), 0.16);
        assert_eq!(at(72 + 7), 0.32, "Monday is a working day again");
        assert_eq!(at(-168), at(0));
    }

    #[test]
    fn times_before_1970_have_an_hour_too() {
        assert_eq!(activity(Micros(-1)), activity(Micros(-1 + WEEK_HOURS * HOUR_US)));
    }
}
