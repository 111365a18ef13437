//! Sums of integers, and of decimals as integers of `10^-scale`.

use super::big::Big;
use super::round::nearest;
use super::wide::{Wide, extend};

/// The exact sum of any number of 128-bit integers (up to 2^64 of them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntSum(Wide<3>);

impl Default for IntSum {
    fn default() -> IntSum {
        IntSum(Wide::ZERO)
    }
}

impl IntSum {
    /// Adds a value.
    pub fn add(&mut self, x: i128) {
        self.0.add(extend(x), 0);
    }

    /// Takes a value out again.
    pub fn sub(&mut self, x: i128) {
        self.0.add_all(&Wide { limbs: extend(x) }.negated(), 0);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &IntSum) {
        self.0.add_all(&other.0, 0);
    }

    /// The sum, if 128 bits hold it.
    pub fn to_i128(&self) -> Option<i128> {
        let [low, middle, high] = self.0.limbs;
        let value = (u128::from(middle) << 64 | u128::from(low)) as i128;
        (high == (value >> 127) as u64).then_some(value)
    }

    /// The mean of `n` values of this scale, `sum / (n * 10^scale)`, as the nearest double. `n` is
    /// at least 1.
    pub fn mean(&self, n: u64, scale: u8) -> f64 {
        let n = n.max(1);
        // Both exact as doubles: one IEEE division rounds once.
        const EXACT: u128 = 1 << 53;
        if let Some(sum) = self.to_i128()
            && sum.unsigned_abs() <= EXACT
            && let Some(power) = 10u128.checked_pow(u32::from(scale))
            && let Some(divisor) = power.checked_mul(u128::from(n)).filter(|&d| d <= EXACT)
        {
            return sum as f64 / divisor as f64;
        }
        let (negative, limbs) = self.0.magnitude();
        let (quotient, rest) = Big::new(&limbs, 0).over(&with_scale(&[n], scale, 1));
        let (top, exponent, sticky) = quotient.top(false);
        // A mean of 128-bit integers is far within a double's range.
        let value = nearest(top, exponent, sticky || rest).unwrap_or(f64::MAX);
        if negative { -value } else { value }
    }

    pub(crate) fn big(&self) -> Big {
        Big::new(&self.0.magnitude().1, 0)
    }

    /// Appends its canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(0, out);
    }

    /// Reads canonical bytes from the front of `input`; `None` if they are not.
    pub fn decode(input: &mut &[u8]) -> Option<IntSum> {
        Wide::decode(input).map(IntSum)
    }
}

/// The exact sum of squares of 128-bit integers (up to 2^64 of them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntSquares(Wide<6>);

impl Default for IntSquares {
    fn default() -> IntSquares {
        IntSquares(Wide::ZERO)
    }
}

impl IntSquares {
    /// Adds the square of a value.
    pub fn add(&mut self, x: i128) {
        match u64::try_from(x.unsigned_abs()) {
            Ok(x) => self.0.add(short_square(x), 0),
            Err(_) => self.0.add_all(&square(x.unsigned_abs()), 0),
        }
    }

    /// Takes the square of a value out again.
    pub fn sub(&mut self, x: i128) {
        match u64::try_from(x.unsigned_abs()) {
            Ok(x) => self.0.add(Wide { limbs: short_square(x) }.negated().limbs, 0),
            Err(_) => self.0.add_all(&square(x.unsigned_abs()).negated(), 0),
        }
    }

    /// Adds another sum of squares.
    pub fn merge(&mut self, other: &IntSquares) {
        self.0.add_all(&other.0, 0);
    }

    pub(crate) fn big(&self) -> Big {
        Big::new(&self.0.magnitude().1, 0)
    }

    /// Appends its canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(0, out);
    }

    /// Reads canonical bytes from the front of `input`; `None` if they are not.
    pub fn decode(input: &mut &[u8]) -> Option<IntSquares> {
        Wide::decode(input).filter(|w| !w.is_negative()).map(IntSquares)
    }
}

/// The square of a 64-bit magnitude, with a limb to spare for the sign.
fn short_square(x: u64) -> [u64; 3] {
    let square = u128::from(x) * u128::from(x);
    [square as u64, (square >> 64) as u64, 0]
}

/// The square of a 128-bit magnitude, with limbs to spare for the sign.
pub(crate) fn square(x: u128) -> Wide<6> {
    let (low, high) = (u128::from(x as u64), x >> 64);
    let mut wide = Wide::ZERO;
    let mut put = |value: u128, place: usize| {
        wide.add([value as u64, (value >> 64) as u64, 0], place);
    };
    put(low * low, 0);
    put(low * high, 1);
    put(low * high, 1);
    put(high * high, 2);
    wide
}

/// `divisors`, and as many factors as make `10^(scale * times)`.
pub(crate) fn with_scale(divisors: &[u64], scale: u8, times: u32) -> Vec<u64> {
    const STEP: u32 = 19;
    let mut out = divisors.to_vec();
    let mut digits = u32::from(scale) * times;
    while digits > 0 {
        let step = digits.min(STEP);
        out.push(10u64.pow(step));
        digits -= step;
    }
    out
}
