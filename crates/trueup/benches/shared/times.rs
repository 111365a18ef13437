//! Percentiles of times that a bench took itself.

use std::time::Duration;

/// So large a share of these times, which are sorted, is not above this, in milliseconds; `None`
/// without any time.
pub(crate) fn percentile_ms(sorted: &[Duration], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share) as usize).map(|time| time.as_secs_f64() * 1e3)
}
