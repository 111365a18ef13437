//! What this process remembers of the values that it wrote to lately: how long the base is, and
//! when its time to live was last set. Bounded; forgetting costs a command and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64;

/// Values remembered in each of the two halves: some 30 MB when both are full.
const HALF: usize = 1 << 19;

/// What is known of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Bytes before the tail; 0 when unknown.
    pub(super) head_len: u32,
    /// When its time to live was last set, as far as known.
    pub(super) refreshed: Option<Instant>,
}

/// By the hash of the name. Two names with one hash (one in 2^64) share what is known: a base's
/// length, which is a hint, and a time to live that is set a little late.
#[derive(Debug, Default)]
pub(super) struct Memo {
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<u64, Known>,
    old: HashMap<u64, Known>,
}

impl Memo {
    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, name: &[u8]) -> Known {
        let (hash, halves) = (xxh3_64(name), self.halves());
        halves.young.get(&hash).or_else(|| halves.old.get(&hash)).copied().unwrap_or_default()
    }

    pub(super) fn learn(&self, name: &[u8], change: impl FnOnce(&mut Known)) {
        let (hash, mut halves) = (xxh3_64(name), self.halves());
        let before = halves.young.get(&hash).or_else(|| halves.old.get(&hash)).copied();
        let mut known = before.unwrap_or_default();
        change(&mut known);
        if halves.young.len() >= HALF {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(hash, known);
    }

    /// Forgets everything: after a loss, what was written may be gone, times to live included.
    pub(super) fn clear(&self) {
        *self.halves() = Halves::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memo_keeps_the_latest_and_stays_bounded() {
        let memo = Memo::default();
        for nth in 0..(3 * HALF as u32) {
            memo.learn(&nth.to_le_bytes(), |known| known.head_len = nth);
        }
        let halves = memo.halves();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
        drop(halves);
        let latest = 3 * HALF as u32 - 1;
        assert_eq!(memo.known(&latest.to_le_bytes()).head_len, latest);
        assert_eq!(memo.known(&7_u32.to_le_bytes()), Known::default());
        memo.clear();
        assert_eq!(memo.known(&latest.to_le_bytes()), Known::default());
    }
}
