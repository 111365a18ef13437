//! Sums of doubles. Two tiers: a few limbs around the point take values as money has them
//! (multiples of 2^-64 below 2^31); the first value outside them makes room for all.

use super::big::Big;
use super::int::square;
use super::round::nearest;
use super::stretch::Stretch;
use super::wide::{Wide, extend};

/// Limbs that hold any sum of 2^64 doubles: from 2^-1088 (17 limbs below the point) to 2^1152.
const SUM_LIMBS: usize = 35;
/// Limbs of the wide sum that lie below the near one.
const SUM_POINT: usize = 16;
/// Limbs that hold any sum of 2^64 squares of doubles: from 2^-2176 to 2^2176.
const SQUARE_LIMBS: usize = 68;
const SQUARE_POINT: usize = 32;

/// The exact sum of finite doubles (up to 2^64 of them).
#[derive(Clone, Debug)]
pub struct FloatSum {
    /// In units of 2^-64.
    near: Wide<3>,
    /// In units of 2^-1088.
    far: Option<Stretch<SUM_LIMBS>>,
}

impl Default for FloatSum {
    fn default() -> FloatSum {
        FloatSum { near: Wide::ZERO, far: None }
    }
}

/// Equal numbers are equal, whichever tier holds them.
impl PartialEq for FloatSum {
    fn eq(&self, other: &FloatSum) -> bool {
        self.total() == other.total()
    }
}

/// A double as integer and exponent: `x = mantissa * 2^exponent`.
fn parts(x: f64) -> (i64, i64) {
    let bits = x.to_bits();
    let field = (bits >> 52 & 0x7ff) as i64;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (mantissa, exponent) =
        if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    (if x < 0.0 { -mantissa } else { mantissa }, exponent)
}

/// Whether `mantissa * 2^exponent` is a multiple of 2^-64 and below 2^31.
fn is_near(mantissa: i64, exponent: i64) -> bool {
    exponent + 53 <= 31 && (exponent + i64::from(mantissa.trailing_zeros())) >= -64
}

/// `mantissa * 2^(exponent + 64)`, for one that is near.
fn near_units(mantissa: i64, exponent: i64) -> i128 {
    let shift = exponent + 64;
    if shift >= 0 { i128::from(mantissa) << shift } else { i128::from(mantissa >> -shift) }
}

impl FloatSum {
    /// Adds a finite value.
    pub fn add(&mut self, x: f64) {
        let (mantissa, exponent) = parts(x);
        self.put(mantissa, exponent);
    }

    /// Takes a finite value out again.
    pub fn sub(&mut self, x: f64) {
        let (mantissa, exponent) = parts(x);
        self.put(-mantissa, exponent);
    }

    fn put(&mut self, mantissa: i64, exponent: i64) {
        if mantissa == 0 {
            return;
        }
        if is_near(mantissa, exponent) {
            self.near.add(extend(near_units(mantissa, exponent)), 0);
            return;
        }
        let far = self.far.get_or_insert_default();
        let place = (exponent + 1088) as usize;
        far.add(&extend(i128::from(mantissa) << (place % 64)), place / 64);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &FloatSum) {
        self.near.add_all(&other.near, 0);
        if let Some(other) = &other.far {
            self.far.get_or_insert_default().merge(other);
        }
    }

    fn total(&self) -> Wide<SUM_LIMBS> {
        let mut total = self.far.as_ref().map_or(Wide::ZERO, Stretch::wide);
        total.add_all(&self.near, SUM_POINT);
        total
    }

    /// The sum as the nearest double; `None` if that is beyond the greatest.
    pub fn value(&self) -> Option<f64> {
        self.over(1)
    }

    /// The mean of `n` values as the nearest double; `n` is at least 1.
    pub fn mean(&self, n: u64) -> f64 {
        // A mean lies between the least and the greatest value, so it always fits.
        self.over(n.max(1)).unwrap_or(f64::MAX)
    }

    fn over(&self, n: u64) -> Option<f64> {
        if self.far.is_none() {
            let (negative, limbs) = self.near.magnitude();
            if limbs[2] == 0 {
                let value = near_over(u128::from(limbs[1]) << 64 | u128::from(limbs[0]), n);
                return value.map(|x| if negative && x != 0.0 { -x } else { x });
            }
        }
        let (negative, limbs) = self.total().magnitude();
        let divisors = [n];
        let divisors = if n == 1 { &[][..] } else { &divisors[..] };
        let (quotient, rest) = Big::new(&limbs, -1088).over(divisors);
        let (top, exponent, sticky) = quotient.top(false);
        let value = nearest(top, exponent, sticky || rest)?;
        Some(if negative && value != 0.0 { -value } else { value })
    }

    pub(crate) fn big(&self) -> Big {
        match &self.far {
            None => Big::new(&self.near.magnitude().1, -64),
            Some(_) => Big::new(&self.total().magnitude().1, -1088),
        }
    }

    /// Appends its canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.far {
            None => self.near.encode(SUM_POINT, out),
            Some(_) => self.total().encode(0, out),
        }
    }

    /// Reads canonical bytes from the front of `input`; `None` if they are not.
    pub fn decode(input: &mut &[u8]) -> Option<FloatSum> {
        let wide = Wide::<SUM_LIMBS>::decode(input)?;
        Some(match narrow(&wide, SUM_POINT) {
            Some(near) => FloatSum { near, far: None },
            None => FloatSum { near: Wide::ZERO, far: Some(Stretch::of(&wide)) },
        })
    }
}

/// `units * 2^-64 / n` as the nearest double, for sums that 128 bits hold.
fn near_over(units: u128, n: u64) -> Option<f64> {
    if units == 0 {
        return Some(0.0);
    }
    let shift = units.leading_zeros();
    let shifted = units << shift;
    let exponent = -64 - i64::from(shift);
    if n == 1 {
        return nearest(shifted, exponent, false);
    }
    // At least 64 bits of quotient: the dividend has 128, the divisor 64 at most.
    let divisor = u128::from(n);
    nearest(shifted / divisor, exponent, !shifted.is_multiple_of(divisor))
}

/// The limbs from `point` on, if they hold the whole number and leave the highest limb to the sign.
///
/// That limb is room for the carries of 2^64 numbers: sums that were read and are then merged must
/// not wrap.
fn narrow<const N: usize, const M: usize>(wide: &Wide<N>, point: usize) -> Option<Wide<M>> {
    let mut near = Wide::<M>::ZERO;
    near.limbs.copy_from_slice(&wide.limbs[point..point + M]);
    let mut back = Wide::<N>::ZERO;
    back.add_all(&near, point);
    let (_, magnitude) = near.magnitude();
    let has_room = magnitude[M - 1] == 0 && magnitude[M - 2] >> 63 == 0;
    (has_room && back == *wide).then_some(near)
}

/// The exact sum of squares of finite doubles (up to 2^64 of them).
#[derive(Clone, Debug)]
pub struct FloatSquares {
    /// In units of 2^-128.
    near: Wide<4>,
    /// In units of 2^-2176.
    far: Option<Stretch<SQUARE_LIMBS>>,
}

impl Default for FloatSquares {
    fn default() -> FloatSquares {
        FloatSquares { near: Wide::ZERO, far: None }
    }
}

/// Equal numbers are equal, whichever tier holds them.
impl PartialEq for FloatSquares {
    fn eq(&self, other: &FloatSquares) -> bool {
        self.total() == other.total()
    }
}

impl FloatSquares {
    /// Adds the square of a finite value.
    pub fn add(&mut self, x: f64) {
        self.put(x, false);
    }

    /// Takes the square of a finite value out again.
    pub fn sub(&mut self, x: f64) {
        self.put(x, true);
    }

    fn put(&mut self, x: f64, negative: bool) {
        let (mantissa, exponent) = parts(x);
        if mantissa == 0 {
            return;
        }
        let sign = |wide: Wide<6>| if negative { wide.negated() } else { wide };
        if is_near(mantissa, exponent) {
            let wide = sign(square(near_units(mantissa, exponent).unsigned_abs()));
            // Below 2^190 units, so two limbs above hold nothing but the sign.
            let [a, b, c, d, ..] = wide.limbs;
            self.near.add_all(&Wide { limbs: [a, b, c, d] }, 0);
            return;
        }
        let place = (2 * exponent + 2176) as usize;
        let product = u128::from(mantissa.unsigned_abs()).pow(2);
        // 106 bits shifted by less than 64: 170 at most.
        let low = product << (place % 64);
        let high = product.checked_shr(128 - (place % 64) as u32).unwrap_or(0);
        let value = Wide { limbs: [low as u64, (low >> 64) as u64, high as u64] };
        let value = if negative { value.negated() } else { value };
        let far = self.far.get_or_insert_default();
        far.add(&value.limbs, place / 64);
    }

    /// Adds another sum of squares.
    pub fn merge(&mut self, other: &FloatSquares) {
        self.near.add_all(&other.near, 0);
        if let Some(other) = &other.far {
            self.far.get_or_insert_default().merge(other);
        }
    }

    fn total(&self) -> Wide<SQUARE_LIMBS> {
        let mut total = self.far.as_ref().map_or(Wide::ZERO, Stretch::wide);
        total.add_all(&self.near, SQUARE_POINT);
        total
    }

    pub(crate) fn big(&self) -> Big {
        match &self.far {
            None => Big::new(&self.near.magnitude().1, -128),
            Some(_) => Big::new(&self.total().magnitude().1, -2176),
        }
    }

    /// Appends its canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.far {
            None => self.near.encode(SQUARE_POINT, out),
            Some(_) => self.total().encode(0, out),
        }
    }

    /// Reads canonical bytes from the front of `input`; `None` if they are not.
    pub fn decode(input: &mut &[u8]) -> Option<FloatSquares> {
        let wide = Wide::<SQUARE_LIMBS>::decode(input).filter(|w| !w.is_negative())?;
        Some(match narrow(&wide, SQUARE_POINT) {
            Some(near) => FloatSquares { near, far: None },
            None => FloatSquares { near: Wide::ZERO, far: Some(Stretch::of(&wide)) },
        })
    }
}
