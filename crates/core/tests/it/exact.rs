//! Sums, means and spreads equal rational arithmetic rounded once, and their bytes depend on the
//! number alone.

use crate::config;
use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use proptest::prelude::*;
use trueup_core::exact::{FloatSquares, FloatSum, IntSquares, IntSum, Spread};

/// Doubles of every kind: money, any finite bits, subnormals, huge ones that cancel.
fn double() -> impl Strategy<Value = f64> {
    let any = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite());
    prop_oneof![
        4 => (-10_000_000i64..10_000_000).prop_map(|cents| cents as f64 / 100.0),
        2 => any,
        1 => (0u64..1 << 53).prop_map(f64::from_bits),
        1 => prop_oneof![Just(1e308), Just(-1e308), Just(f64::MAX), Just(-f64::MAX)],
        1 => prop_oneof![Just(0.0), Just(1.0), Just(-1.0), Just(f64::MIN_POSITIVE), Just(5e-324)],
    ]
}

fn integer() -> impl Strategy<Value = i128> {
    let limit = 10i128.pow(38) - 1;
    prop_oneof![
        4 => -1_000_000_000i128..1_000_000_000,
        1 => any::<i64>().prop_map(i128::from),
        1 => -limit..=limit,
        1 => prop_oneof![Just(i128::MAX), Just(i128::MIN), Just(0)],
    ]
}

/// The unit of doubles: each is a whole number of `2^-UNIT`.
const UNIT: u32 = 1074;

/// A double in that unit.
fn units(x: f64) -> BigInt {
    let (exponent, fraction) = (x.to_bits() >> 52 & 0x7ff, x.to_bits() & ((1 << 52) - 1));
    let whole = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let magnitude = BigInt::from(whole) << exponent.saturating_sub(1);
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

fn two(e: u32) -> BigInt {
    BigInt::from(1) << e
}

/// Not reduced: to find what two numbers of thousands of bits share takes far longer than to
/// compute with them.
fn ratio(n: BigInt, d: BigInt) -> BigRational {
    BigRational::new_raw(n, d)
}

/// The neighbours of a magnitude decide: the candidate below and the one above, the nearer wins,
/// ties to even.
fn rounded(x: &BigRational) -> Option<f64> {
    let (n, d) = (x.numer().magnitude().clone(), x.denom().magnitude().clone());
    let below = |unit: i64| {
        let power = unit.unsigned_abs();
        let (n, d) = if unit < 0 { (&n << power, d.clone()) } else { (n.clone(), &d << power) };
        let whole = &n / &d;
        let rest = n - &whole * &d;
        (whole, rest * 2u32, d)
    };
    let mut unit = (n.bits() as i64 - d.bits() as i64 - 53).max(-i64::from(UNIT));
    // The bits of a quotient are the difference or one more; the unit is to leave 53.
    unit += i64::from(below(unit).0.bits() > 53);
    let (whole, twice_the_rest, d) = below(unit);
    let up = twice_the_rest > d || (twice_the_rest == d && whole.bit(0));
    let value = u64::try_from(whole).expect("53 bits") + u64::from(up);
    let value = (0..unit.abs())
        .fold(value as f64, |value, _| if unit < 0 { value / 2.0 } else { value * 2.0 });
    let negative = x.numer().sign() == Sign::Minus;
    value.is_finite().then_some(if negative { -value } else { value })
}

/// Whether `root` is the double nearest to the square root of `x`: its half-way neighbours,
/// squared, enclose x.
fn is_nearest_root(root: f64, x: &BigRational) -> bool {
    let up = f64::from_bits(root.to_bits() + 1);
    if up.is_infinite() {
        return units(root) * x.denom() <= x.numer() * two(UNIT);
    }
    let even = root.to_bits() & 1 == 0;
    // Half of a sum of two doubles is a whole number of half units.
    let beside = |other: f64| {
        let half = units(root) + units(other);
        (&half * &half * x.denom()).cmp(&(x.numer() * two(2 * (UNIT + 1))))
    };
    let low_enough = beside(up).is_gt() || (even && beside(up).is_eq());
    if root == 0.0 {
        return low_enough;
    }
    let below = beside(f64::from_bits(root.to_bits() - 1));
    low_enough && (below.is_lt() || (even && below.is_eq()))
}

/// Of values in a unit of which there are `one` in 1.
fn variance(values: &[BigInt], one: &BigInt, freedom: usize) -> BigRational {
    let n = BigInt::from(values.len());
    let sum: BigInt = values.iter().sum();
    // All from the mean, n times over.
    let squares: BigInt = values.iter().map(|x| (x * &n - &sum) * (x * &n - &sum)).sum();
    ratio(squares, &n * &n * one * one * BigInt::from(freedom))
}

fn check_spread(spread: &Spread, values: &[BigInt], one: &BigInt) {
    let n = values.len();
    let pop = variance(values, one, n);
    assert_eq!(spread.variance_pop(), rounded(&pop));
    if let Some(root) = spread.stddev_pop() {
        assert!(is_nearest_root(root, &pop), "{root} is not the root of {pop}");
    }
    if n > 1 {
        let samp = variance(values, one, n - 1);
        assert_eq!(spread.variance_samp(), rounded(&samp));
        if let Some(root) = spread.stddev_samp() {
            assert!(is_nearest_root(root, &samp), "{root} is not the root of {samp}");
        }
    }
}

fn bytes(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sums_and_means_of_doubles_are_the_exact_ones_rounded_once(
        values in prop::collection::vec(double(), 1..12),
    ) {
        let mut sum = FloatSum::default();
        values.iter().for_each(|&x| sum.add(x));
        let exact: BigInt = values.iter().map(|&x| units(x)).sum();
        prop_assert_eq!(sum.value(), rounded(&ratio(exact.clone(), two(UNIT))));
        let mean = ratio(exact, two(UNIT) * values.len());
        prop_assert_eq!(Some(sum.mean(values.len() as u64)), rounded(&mean));
    }

    #[test]
    fn sums_and_means_of_decimals_are_the_exact_ones_rounded_once(
        values in prop::collection::vec(integer(), 1..12), scale in 0u8..=38,
    ) {
        let mut sum = IntSum::default();
        values.iter().for_each(|&x| sum.add(x));
        let exact: BigInt = values.iter().map(|&x| BigInt::from(x)).sum();
        prop_assert_eq!(sum.to_i128(), i128::try_from(exact.clone()).ok());
        let divisor = BigInt::from(values.len()) * BigInt::from(10).pow(u32::from(scale));
        let mean = sum.mean(values.len() as u64, scale);
        prop_assert_eq!(Some(mean), rounded(&ratio(exact, divisor)));
    }

    #[test]
    fn spreads_of_doubles_are_the_exact_ones_rounded_once(
        values in prop::collection::vec(double(), 1..6),
    ) {
        let (mut sum, mut squares) = (FloatSum::default(), FloatSquares::default());
        for &x in &values {
            sum.add(x);
            squares.add(x);
        }
        let exact: Vec<_> = values.iter().map(|&x| units(x)).collect();
        let spread = Spread::of_floats(&sum, &squares, values.len() as u64);
        check_spread(&spread, &exact, &two(UNIT));
    }

    #[test]
    fn spreads_of_decimals_are_the_exact_ones_rounded_once(
        values in prop::collection::vec(integer(), 1..8), scale in 0u8..=38,
    ) {
        let (mut sum, mut squares) = (IntSum::default(), IntSquares::default());
        for &x in &values {
            sum.add(x);
            squares.add(x);
        }
        let unit = BigInt::from(10).pow(u32::from(scale));
        let exact: Vec<_> = values.iter().map(|&x| BigInt::from(x)).collect();
        let spread = Spread::of_ints(&sum, &squares, values.len() as u64, scale);
        check_spread(&spread, &exact, &unit);
    }

    #[test]
    fn bytes_depend_on_the_number_and_not_on_how_it_came_about(
        values in prop::collection::vec(double(), 0..10),
        gone in prop::collection::vec(double(), 0..6),
        seed in any::<u64>(),
    ) {
        let (mut a, mut qa) = (FloatSum::default(), FloatSquares::default());
        for &x in &values { a.add(x); qa.add(x); }
        let split = seed as usize % (values.len() + 1);
        let (mut b, mut qb) = (FloatSum::default(), FloatSquares::default());
        for &x in gone.iter() { b.add(x); qb.add(x); }
        for &x in values[split..].iter().rev() { b.add(x); qb.add(x); }
        let (mut c, mut qc) = (FloatSum::default(), FloatSquares::default());
        for &x in &values[..split] { c.add(x); qc.add(x); }
        b.merge(&c); qb.merge(&qc);
        for &x in gone.iter().rev() { b.sub(x); qb.sub(x); }
        prop_assert_eq!(bytes(|o| a.encode(o)), bytes(|o| b.encode(o)));
        prop_assert_eq!(bytes(|o| qa.encode(o)), bytes(|o| qb.encode(o)));
        prop_assert_eq!(&a, &b);
        let encoded = bytes(|o| b.encode(o));
        prop_assert_eq!(FloatSum::decode(&mut encoded.as_slice()), Some(a));
        let encoded = bytes(|o| qb.encode(o));
        prop_assert_eq!(FloatSquares::decode(&mut encoded.as_slice()), Some(qa));
    }

    #[test]
    fn whatever_bytes_decode_encode_to_themselves(
        input in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut rest = input.as_slice();
        if let Some(sum) = FloatSum::decode(&mut rest) {
            prop_assert_eq!(bytes(|o| sum.encode(o)), &input[..input.len() - rest.len()]);
        }
        let mut rest = input.as_slice();
        if let Some(sum) = IntSum::decode(&mut rest) {
            prop_assert_eq!(bytes(|o| sum.encode(o)), &input[..input.len() - rest.len()]);
        }
        let mut rest = input.as_slice();
        if let Some(sum) = IntSquares::decode(&mut rest) {
            prop_assert_eq!(bytes(|o| sum.encode(o)), &input[..input.len() - rest.len()]);
        }
    }
}

/// Through its bytes, as every fold and every read does.
fn stored(sum: &FloatSum, squares: &FloatSquares) -> (FloatSum, FloatSquares) {
    let (a, b) = (bytes(|o| sum.encode(o)), bytes(|o| squares.encode(o)));
    let sum = FloatSum::decode(&mut a.as_slice()).expect("its own bytes");
    (sum, FloatSquares::decode(&mut b.as_slice()).expect("its own bytes"))
}

/// Sums that nearly filled the near tier wrapped when they were read and merged: two bins of
/// nanosecond times had a deviation of 1e27, and 2^126 twice was negative.
#[test]
fn stored_sums_that_are_merged_never_wrap() {
    for x in [1.79e18, 9.2e18, 2f64.powi(63), 2f64.powi(126), f64::MAX] {
        let (mut sum, mut squares) = (FloatSum::default(), FloatSquares::default());
        sum.add(x);
        squares.add(x);
        for doublings in 1..=63 {
            let (sum2, squares2) = stored(&sum, &squares);
            (sum, squares) = stored(&sum, &squares);
            sum.merge(&sum2);
            squares.merge(&squares2);
            let n = 1u64 << doublings;
            assert_eq!(sum.mean(n), x, "the mean of {n} times {x}");
            assert_eq!(
                Spread::of_floats(&sum, &squares, n).variance_pop(),
                Some(0.0),
                "{n} of {x}"
            );
        }
    }
}

#[test]
fn sums_of_different_values_have_no_spread() {
    let mut sum = IntSum::default();
    sum.add(5);
    sum.add(7);
    let spread = Spread::of_ints(&sum, &IntSquares::default(), 2, 0);
    assert_eq!(spread.variance_pop(), None);
    assert_eq!(spread.stddev_samp(), None);
}

#[test]
fn no_values_have_no_spread_and_no_panic() {
    let mut sum = IntSum::default();
    let mut squares = IntSquares::default();
    sum.add(i128::MAX);
    squares.add(i128::MAX);
    assert_eq!(Spread::of_ints(&sum, &squares, 0, 2).variance_pop(), None);
    assert!(sum.mean(0, 0).is_finite());
}
