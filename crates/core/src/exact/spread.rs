//! Variance and standard deviation: the exact rational `(n Σx² - (Σx)²) / (n (n - k))`, rounded
//! once; its root too.

use super::big::Big;
use super::float::{FloatSquares, FloatSum};
use super::int::{IntSquares, IntSum, with_scale};
use super::round::nearest;

/// The spread of `n` values; each result is the double nearest to the exact one, `None` if that is
/// beyond the greatest, if there are no values, or if the sums cannot be those of the same values.
#[derive(Clone, Debug)]
pub struct Spread {
    /// `n Σx² - (Σx)²`, in units of `10^-2 scale`; `None` if it is negative, as no values can make
    /// it.
    numerator: Option<Big>,
    n: u64,
    scale: u8,
}

impl Spread {
    /// Of `n` integers in units of `10^-scale`; `n` is at least 1.
    pub fn of_ints(sum: &IntSum, squares: &IntSquares, n: u64, scale: u8) -> Spread {
        Spread { numerator: squares.big().times(n).minus(&sum.big().squared()), n, scale }
    }

    /// Of `n` doubles; `n` is at least 1.
    pub fn of_floats(sum: &FloatSum, squares: &FloatSquares, n: u64) -> Spread {
        Spread { numerator: squares.big().times(n).minus(&sum.big().squared()), n, scale: 0 }
    }

    /// `var_pop`.
    pub fn variance_pop(&self) -> Option<f64> {
        self.variance(self.n)
    }

    /// `var_samp`; `n` must be at least 2.
    pub fn variance_samp(&self) -> Option<f64> {
        self.variance(self.n.saturating_sub(1).max(1))
    }

    /// `stddev_pop`.
    pub fn stddev_pop(&self) -> Option<f64> {
        self.deviation(self.n)
    }

    /// `stddev_samp`; `n` must be at least 2.
    pub fn stddev_samp(&self) -> Option<f64> {
        self.deviation(self.n.saturating_sub(1).max(1))
    }

    fn variance(&self, freedom: u64) -> Option<f64> {
        if self.n == 0 {
            return None;
        }
        let (quotient, rest) =
            self.numerator.as_ref()?.over(&with_scale(&[self.n, freedom], self.scale, 2));
        let (top, exponent, sticky) = quotient.top(false);
        nearest(top, exponent, sticky || rest)
    }

    fn deviation(&self, freedom: u64) -> Option<f64> {
        if self.n == 0 {
            return None;
        }
        let (quotient, rest) =
            self.numerator.as_ref()?.over(&with_scale(&[self.n, freedom], self.scale, 2));
        let (top, exponent, sticky) = quotient.top(true);
        // floor(sqrt(floor(x))) = floor(sqrt(x)), and 63 bits of root leave rounding far above the
        // floor.
        let root = top.isqrt();
        nearest(root, exponent / 2, sticky || rest || root * root != top)
    }
}
