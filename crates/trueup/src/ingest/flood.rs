//! When so many records are bad that it is no longer the records: a producer or the definitions
//! have changed, and going on would drain the log into the dead letters. A record here and there is
//! none of its business.
//!
//! It counts what this process reads, so it begins anew with each start.

use std::collections::VecDeque;

/// Records of a stream that are looked back on: a second or less of a busy stream, and enough for a
/// share to mean something.
const WINDOW: usize = 1_000;

/// Bad records below which no share is too large: a quiet stream may see a few bad ones in a row.
const AT_LEAST: usize = 100;

/// The share of bad records, in percent, at which a stream stops unless settings say otherwise.
pub const DEFAULT_MAX_BAD_PERCENT: u8 = 50;

/// The last records of a stream, good or bad.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    /// None: any share is taken.
    max_percent: Option<u8>,
    last: VecDeque<bool>,
    bad: usize,
}

/// Too many of the last records are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flooded {
    pub(super) bad: usize,
    pub(super) of: usize,
    /// How many records went before the one at which it was too much.
    pub(super) at: usize,
}

impl Flood {
    pub(super) fn new(max_percent: Option<u8>) -> Flood {
        Flood { max_percent, last: VecDeque::new(), bad: 0 }
    }

    /// With these records behind the others, each bad or not; this one stays as it is, for records
    /// that have to be read again.
    pub(super) fn with(&self, records: impl Iterator<Item = bool>) -> Result<Flood, Flooded> {
        let mut next = self.clone();
        let Some(max_percent) = self.max_percent else { return Ok(next) };
        for (at, is_bad) in records.enumerate() {
            if next.last.len() == WINDOW && next.last.pop_front() == Some(true) {
                next.bad -= 1;
            }
            next.last.push_back(is_bad);
            next.bad += usize::from(is_bad);
            let (bad, of) = (next.bad, next.last.len());
            if bad >= AT_LEAST && bad * 100 >= of * usize::from(max_percent) {
                return Err(Flooded { bad, of, at });
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(max_percent: u8, records: impl Iterator<Item = bool>) -> Option<Flooded> {
        Flood::new(Some(max_percent)).with(records).err()
    }

    #[test]
    fn it_takes_the_share_and_the_number() {
        let every = |nth: usize, of: usize| (0..of).map(move |number| number % nth == 0);
        assert_eq!(flood(50, every(3, 100_000)), None, "a third is below half");
        assert_eq!(flood(50, every(1, 99)), None, "few");
        assert_eq!(flood(50, every(1, 100)), Some(Flooded { bad: 100, of: 100, at: 99 }));
        assert_eq!(flood(10, every(3, 1_000)), Some(Flooded { bad: 100, of: 298, at: 297 }));
        assert_eq!(flood(100, every(2, 100_000)), None);
        let late = std::iter::repeat_n(false, 100_000).chain(std::iter::repeat_n(true, 1_000));
        assert_eq!(flood(50, late), Some(Flooded { bad: 500, of: 1_000, at: 100_499 }));
        assert!(Flood::new(None).with(every(1, 10_000)).is_ok());
    }

    /// A store that fails makes the worker read its records again, and they are not twice as many.
    #[test]
    fn what_is_read_again_counts_once() {
        let flood = Flood::new(Some(50));
        for _ in 0..10 {
            assert!(flood.with(std::iter::repeat_n(true, 99)).is_ok());
        }
    }
}
