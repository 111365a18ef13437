//! `approx_distinct`, `approx_percentile_cont` where the events themselves are not kept.
//!
//! Both sketches are functions of the multiset of values, bit for bit, which law 3 asks for and
//! which the kept libraries do not give (their HyperLogLog states carry an estimator that depends
//! on order, their quantile sketches a rounded sum or random choices). `docs/decisions/0003` has
//! the comparison.
//!
//! - Distinct: the K least 64-bit hashes ("bottom-k" or KMV; Bar-Yossef et al., "Counting distinct
//!   elements in a data stream", 2002). Exact up to K values, then `(K - 1) / max`, with a relative
//!   standard error of `1 / sqrt(K - 2)`: 3.1 %.
//! - Quantile: a histogram whose bucket is a double's sign, exponent and first 7 bits of mantissa
//!   (log-linear, as in Tene's HdrHistogram). A quantile is off from the
//!   value of that rank by at most 2^-8 of it (0.4 %).

use crate::codec::{Reader, put_i64, put_u64, put_value};
use crate::column::Column;
use crate::group::Func;
use crate::value::Value;
use crate::window::number;
use std::collections::BTreeMap;

/// How many hashes a distinct sketch keeps: 8 KiB at most, for an error of 3.1 %.
const KEPT_HASHES: usize = 1024;

/// Bits of mantissa that a bucket drops: 52 - 7.
const DROPPED_BITS: u32 = 45;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DistinctSketch {
    /// The least hashes, ascending, at most [`KEPT_HASHES`].
    least: Vec<u64>,
}

impl DistinctSketch {
    pub(crate) fn empty() -> DistinctSketch {
        DistinctSketch { least: Vec::new() }
    }

    pub(crate) fn add(&mut self, column: &Column, i: usize) {
        if column.is_valid(i) {
            let mut bytes = Vec::with_capacity(24);
            put_value(&mut bytes, &column.value(i));
            self.insert(xxhash_rust::xxh3::xxh3_64(&bytes));
        }
    }

    /// Whether a hash is greater than all that are kept, and no more are.
    fn is_beyond(&self, hash: u64) -> bool {
        self.least.get(KEPT_HASHES - 1).is_some_and(|&greatest| hash >= greatest)
    }

    fn insert(&mut self, hash: u64) {
        if self.is_beyond(hash) {
            return;
        }
        if let Err(place) = self.least.binary_search(&hash)
            && place < KEPT_HASHES
        {
            self.least.truncate(KEPT_HASHES - 1);
            self.least.insert(place, hash);
        }
    }

    pub(crate) fn merge(&mut self, other: &DistinctSketch) {
        for &hash in &other.least {
            // They ascend, so none behind it is kept either.
            if self.is_beyond(hash) {
                return;
            }
            self.insert(hash);
        }
    }

    pub(crate) fn finish(&self) -> Value {
        if self.least.len() < KEPT_HASHES {
            return Value::Int(self.least.len() as i64);
        }
        let greatest = self.least[KEPT_HASHES - 1] as f64 / 2f64.powi(64);
        Value::Int(((KEPT_HASHES - 1) as f64 / greatest).round() as i64)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.least.len() as u64);
        for hash in &self.least {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(crate) fn skip(input: &mut Reader<'_>) -> Option<()> {
        let n = input.count(size_of::<u64>())?;
        input.take(n * size_of::<u64>()).map(drop)
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Option<DistinctSketch> {
        let n = input.count(size_of::<u64>())?;
        if n > KEPT_HASHES {
            return None;
        }
        let mut least = Vec::with_capacity(n);
        for _ in 0..n {
            let hash = u64::from_le_bytes(input.array()?);
            if least.last().is_some_and(|&last| hash <= last) {
                return None;
            }
            least.push(hash);
        }
        Some(DistinctSketch { least })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QuantileSketch {
    /// Values per bucket; no bucket holds 0.
    counts: BTreeMap<i64, u64>,
}

impl QuantileSketch {
    pub(crate) fn empty() -> QuantileSketch {
        QuantileSketch { counts: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, column: &Column, i: usize) {
        if column.is_valid(i)
            && let Some(x) = number(column, column.kind(), i)
        {
            let count = self.counts.entry(bucket(x)).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn sub(&mut self, column: &Column, i: usize) {
        if column.is_valid(i)
            && let Some(bucket) = number(column, column.kind(), i).map(bucket)
            && let Some(n) = self.counts.get_mut(&bucket)
        {
            *n -= 1;
            if *n == 0 {
                self.counts.remove(&bucket);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &QuantileSketch) {
        for (&bucket, n) in &other.counts {
            let count = self.counts.entry(bucket).or_insert(0);
            *count = count.saturating_add(*n);
        }
    }

    /// The middle of the bucket that holds the value of rank `p * (n - 1)`, rounded down.
    pub(crate) fn finish(&self, func: &Func) -> Value {
        let Func::Percentile(p) = func else { return Value::Null };
        let n = self.counts.values().fold(0u64, |n, &count| n.saturating_add(count));
        let rank = (p * n.saturating_sub(1) as f64) as u64;
        let mut seen = 0;
        for (&bucket, count) in &self.counts {
            seen = u64::saturating_add(seen, *count);
            if seen > rank {
                return Value::Float(middle(bucket));
            }
        }
        Value::Null
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.counts.len() as u64);
        for (&bucket, &n) in &self.counts {
            put_i64(out, bucket);
            put_u64(out, n);
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Option<QuantileSketch> {
        let mut counts = BTreeMap::new();
        for _ in 0..input.count(2)? {
            let (bucket, n) = (input.i64()?, input.u64()?);
            let ascending = counts.last_key_value().is_none_or(|(&last, _)| last < bucket);
            // The widest bucket is that of the greatest double.
            if !ascending || n == 0 || bucket.unsigned_abs() > f64::MAX.to_bits() >> DROPPED_BITS {
                return None;
            }
            counts.insert(bucket, n);
        }
        Some(QuantileSketch { counts })
    }
}

/// Sign and leading bits as an integer that is ordered as the doubles are; 0 and all that is nearer
/// to it share 0.
fn bucket(x: f64) -> i64 {
    let magnitude = (x.abs().to_bits() >> DROPPED_BITS) as i64;
    if x < 0.0 { -magnitude } else { magnitude }
}

fn middle(bucket: i64) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let bits = bucket.unsigned_abs() << DROPPED_BITS | 1 << (DROPPED_BITS - 1);
    let magnitude = f64::from_bits(bits).min(f64::MAX);
    if bucket < 0 { -magnitude } else { magnitude }
}

/// Percentile of ordered values with linear interpolation (`percentile_cont` of SQL:2003).
pub(crate) fn finish_quantile(func: &Func, ordered: &[f64]) -> Value {
    let Func::Percentile(p) = func else { return Value::Null };
    let Some(last) = ordered.len().checked_sub(1) else { return Value::Null };
    let rank = p * last as f64;
    let low = (rank.floor() as usize).min(last);
    let high = (rank.ceil() as usize).min(last);
    let (a, b) = (ordered[low], ordered[high]);
    let x = a + (b - a) * (rank - low as f64);
    // The difference of two huge doubles may overflow; the weighted form does not.
    let w = rank - low as f64;
    Value::Float(if x.is_finite() { x + 0.0 } else { a * (1.0 - w) + b * w })
}
