//! The one place that rounds.

/// The double nearest to `top * 2^exponent`, ties to even; `sticky` says that the true value is a
/// little larger, by less than one unit of `top`. `None` if it is beyond the greatest double.
///
/// `top` must have at least 55 significant bits where `sticky` is set.
pub(crate) fn nearest(top: u128, exponent: i64, sticky: bool) -> Option<f64> {
    if top == 0 {
        return Some(0.0);
    }
    let bits = 128 - i64::from(top.leading_zeros());
    if exponent + bits > 1025 {
        return None;
    }
    // The unit in the last place: 53 bits of precision, but never below the least subnormal,
    // 2^-1074.
    let unit = (exponent + bits - 53).max(-1074);
    let drop = unit - exponent;
    let (mut kept, half, rest) = match drop {
        ..=0 => (top << -drop, false, sticky),
        1..=127 => {
            let below = top & ((1 << (drop - 1)) - 1);
            (top >> drop, top >> (drop - 1) & 1 == 1, below != 0 || sticky)
        }
        128 => (0, top >> 127 == 1, top << 1 != 0 || sticky),
        _ => (0, false, true),
    };
    if half && (rest || kept & 1 == 1) {
        kept += 1;
    }
    // 2^53 at most, so the conversion is exact; two steps keep the powers of two within range.
    let value = kept as f64 * power(unit / 2) * power(unit - unit / 2);
    value.is_finite().then_some(value)
}

/// `2^e` for |e| up to 1000.
fn power(e: i64) -> f64 {
    f64::from_bits(((1023 + e) as u64) << 52)
}
