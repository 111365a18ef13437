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

fn rational(x: f64) -> BigRational {
    BigRational::from_float(x).expect("finite")
}

fn ratio(n: BigInt, d: BigInt) -> BigRational {
    BigRational::new(n, d)
}

/// `2^e`.
fn two(e: i64) -> BigRational {
    let power = BigInt::from(1) << e.unsigned_abs();
    if e < 0 { ratio(1.into(), power) } else { ratio(power, 1.into()) }
}

/// The neighbours of a magnitude decide: the candidate below and the one above, the nearer wins,
/// ties to even.
fn rounded(x: &BigRational) -> Option<f64> {
    if x.numer().sign() == Sign::NoSign {
        return Some(0.0);
    }
    let negative = x.numer().sign() == Sign::Minus;
    let magnitude = if negative { -x } else { x.clone() };
    let bits = magnitude.numer().bits() as i64 - magnitude.denom().bits() as i64;
    let mut unit = (bits - 53).max(-1074);
    // `bits` is off by at most one; find the unit that gives 53 bits.
    while unit > -1074 && &magnitude / two(unit) < two(52) {
        unit -= 1;
    }
    while &magnitude / two(unit) >= two(53) {
        unit += 1;
    }
    let scaled = &magnitude / two(unit);
    let floor = scaled.floor().to_integer();
    let rest = &scaled - ratio(floor.clone(), 1.into());
    let half = ratio(1.into(), 2.into());
    let up = rest > half || (rest == half && floor.bit(0));
    let kept = if up { floor + 1 } else { floor };
    let value = u64::try_from(kept).expect("53 bits") as f64;
    let value = (0..unit.abs()).fold(value, |v, _| if unit < 0 { v / 2.0 } else { v * 2.0 });
    value.is_finite().then_some(if negative { -value } else { value })
}

/// Whether `root` is the double nearest to the square root of `x`: its half-way neighbours,
/// squared, enclose x.
fn is_nearest_root(root: f64, x: &BigRational) -> bool {
    let up = f64::from_bits(root.to_bits() + 1);
    let half = |a: f64, b: f64| (rational(a) + rational(b)) / ratio(2.into(), 1.into());
    let even = root.to_bits() & 1 == 0;
    if up.is_infinite() {
        return rational(root) <= *x;
    }
    let above = half(root, up);
    let low_enough = if even { &above * &above >= *x } else { &above * &above > *x };
    if root == 0.0 {
        return low_enough;
    }
    let below = half(root, f64::from_bits(root.to_bits() - 1));
    low_enough && if even { &below * &below <= *x } else { &below * &below < *x }
}

fn variance(values: &[BigRational], freedom: usize) -> BigRational {
    let n = ratio(values.len().into(), 1.into());
    let mean = values.iter().sum::<BigRational>() / &n;
    let squares = values.iter().map(|x| (x - &mean) * (x - &mean)).sum::<BigRational>();
    squares / ratio(freedom.into(), 1.into())
}

fn check_spread(spread: &Spread, values: &[BigRational]) {
    let n = values.len();
    let pop = variance(values, n);
    assert_eq!(spread.variance_pop(), rounded(&pop));
    if let Some(root) = spread.stddev_pop() {
        assert!(is_nearest_root(root, &pop), "{root} is not the root of {pop}");
    }
    if n > 1 {
        let samp = variance(values, n - 1);
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
        let exact: BigRational = values.iter().map(|&x| rational(x)).sum();
        prop_assert_eq!(sum.value(), rounded(&exact));
        let mean = exact / ratio(values.len().into(), 1.into());
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
        let exact: Vec<_> = values.iter().map(|&x| rational(x)).collect();
        check_spread(&Spread::of_floats(&sum, &squares, values.len() as u64), &exact);
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
        let exact: Vec<_> = values.iter().map(|&x| ratio(x.into(), unit.clone())).collect();
        check_spread(&Spread::of_ints(&sum, &squares, values.len() as u64, scale), &exact);
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
