//! Random numbers that are the same on every machine.
//!
//! Only integer arithmetic and the four operations and the square root of IEEE 754 are used: they
//! are exact in their last bit everywhere, while `ln` and `exp` of the platform's library are not,
//! so those two are written out here. For simulation only; nothing here is fit for secrets.

/// `ln 2`.
const LN_2: f64 = std::f64::consts::LN_2;

/// The generator xoshiro256** 1.0 (D. Blackman and S. Vigna, "Scrambled linear pseudorandom number
/// generators", 2021).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

/// One step of SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number
/// generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The sequence of `seed`. The state is filled by SplitMix64, as the authors of xoshiro advise.
    pub(crate) fn new(seed: u64) -> Random {
        let mut filler = seed;
        Random { state: std::array::from_fn(|_| split_mix(&mut filler)) }
    }

    /// The sequence that belongs to one `key` under a `purpose`: properties of a user or merchant
    /// are drawn from it again at each use, so that no table of users is kept.
    pub(crate) fn keyed(seed: u64, purpose: u64, key: u64) -> Random {
        let mut mixed = seed;
        for part in [purpose, key] {
            mixed = split_mix(&mut mixed) ^ part;
        }
        Random::new(mixed)
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`, a multiple of `2^-53`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with `probability`.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `low..=high`; the bias is below `2^-32` for the ranges used here.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low) as u128 + 1;
        low + ((u128::from(self.next()) * width) >> 64) as i64
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with this `mean`: the gap between two events of a Poisson process.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * ln(1.0 - self.unit())
    }

    /// Standard normal, by the polar method (G. Marsaglia and T. Bray, 1964).
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Lognormal with this `median`; `sigma` is the standard deviation of the logarithm.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * exp(sigma * self.normal())
    }

    /// A rank in `1..=n` by Zipf's law with exponent 1: `P(k) = ln(1 + 1/k) / ln(n + 1)`, the
    /// inverse of a logarithmic distribution function, so no table is needed.
    pub(crate) fn zipf(&mut self, n: u64) -> u64 {
        let rank = exp(self.unit() * ln(n as f64 + 1.0)) as u64;
        rank.clamp(1, n)
    }

    /// A rank in `1..=n` whose density falls with the square root of the rank: the busiest one of
    /// `n` has a share of `n^-0.5`, which is `n^0.5` times the mean.
    pub(crate) fn heavy_rank(&mut self, n: u64) -> u64 {
        let unit = self.unit();
        ((unit * unit * n as f64) as u64 + 1).min(n)
    }
}

/// The natural logarithm of a positive normal `x`: `x = m 2^k` with `m` near 1, and
/// `ln m = 2 artanh((m - 1) / (m + 1))` by its series.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let series = (0..12).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    2.0 * z * series + exponent as f64 * LN_2
}

/// `e^x` for `|x| < 700`: `x = k ln 2 + r`, then the series of `e^r`, scaled by `2^k`.
fn exp(x: f64) -> f64 {
    let scaled = x / LN_2;
    let k = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64;
    let r = x - k as f64 * LN_2;
    let series = (1..16).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * f64::from_bits(((k + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(count: u32, mut draw: impl FnMut() -> f64) -> f64 {
        (0..count).map(|_| draw()).sum::<f64>() / f64::from(count)
    }

    #[test]
    fn split_mix_gives_the_published_sequence() {
        let mut state = 1_234_567;
        let first: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn xoshiro_gives_the_published_sequence() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.next()).collect();
        assert_eq!(first, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn logarithm_and_exponential_agree_with_the_library_to_fourteen_digits() {
        for step in 1..2000 {
            let x = f64::from(step) * 0.37;
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1.0), "ln {x}");
            let small = x / 40.0 - 9.0;
            assert!((exp(small) / small.exp() - 1.0).abs() < 1e-14, "exp {small}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut random = Random::new(5);
        assert!((mean(200_000, || random.exponential(3.0)) - 3.0).abs() < 0.05);
        assert!(mean(200_000, || random.normal()).abs() < 0.01);
        assert!((mean(200_000, || random.normal().powi(2)) - 1.0).abs() < 0.02);
        assert!((mean(200_000, || random.between(1, 6) as f64) - 3.5).abs() < 0.02);
        let below_median = mean(200_000, || f64::from(random.lognormal(20.0, 0.8) < 20.0));
        assert!((below_median - 0.5).abs() < 0.01);
    }

    #[test]
    fn ranks_stay_in_range_and_the_first_is_the_busiest() {
        let mut random = Random::new(6);
        assert_eq!((random.zipf(1), random.heavy_rank(1)), (1, 1));
        let mut counts = [0u32; 101];
        for _ in 0..100_000 {
            counts[random.zipf(100) as usize] += 1;
        }
        let share = f64::from(counts[1]) / 100_000.0;
        assert!((share - LN_2 / 101f64.ln()).abs() < 0.01, "{share}");
        assert!(counts[1] > counts[2] && counts[2] > counts[20] && counts[100] > 0);
    }

    #[test]
    fn each_key_and_purpose_has_a_sequence_of_its_own() {
        let first = |purpose, key| Random::keyed(9, purpose, key).next();
        assert_eq!(first(1, 7), first(1, 7));
        assert_ne!(first(1, 7), first(1, 8));
        assert_ne!(first(1, 7), first(2, 7));
    }
}
