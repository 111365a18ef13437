//! Exact sums, and results rounded once.
//!
//! A sum of integers or doubles is a fixed-point number wide enough for every value of the type, so
//! adding never rounds and subtracting undoes it (Neal, "Fast exact summation using small and large
//! superaccumulators", 2015, arXiv:1505.05571, has the idea for doubles). Means, variances and
//! deviations are exact rationals of such sums until the last step, which rounds to the nearest
//! double, ties to even.

mod big;
mod float;
mod int;
mod round;
mod spread;
mod stretch;
mod wide;

pub use float::{FloatSquares, FloatSum};
pub use int::{IntSquares, IntSum};
pub use spread::Spread;
