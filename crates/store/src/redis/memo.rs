//! What this process remembers of the values that it wrote to lately: how long the base is, and
//! when its time to live was last set. Bounded; forgetting costs a command and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::name::{Hashed, Placed};
use crate::store::At;

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

/// Which value: the hash of its place, and the epoch of its name. Two values with one of these (one
/// in 2^64) share what is known: a base's length, which is a hint, and a time to live that is set a
/// little late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemoKey(u64);

impl MemoKey {
    pub(super) fn of(at: At<'_>, epoch: u64) -> Self {
        Self::placed(Placed::of(at), epoch)
    }

    /// Epochs are random, so that those of one place differ.
    pub(super) fn placed(placed: Placed, epoch: u64) -> Self {
        Self(placed.hash ^ epoch)
    }
}

/// The values remembered; opened once for many of them.
#[derive(Debug, Default)]
pub(super) struct Memo {
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
pub(super) struct Halves {
    young: HashMap<MemoKey, Known, Hashed>,
    old: HashMap<MemoKey, Known, Hashed>,
}

impl Memo {
    /// Nobody else reads or writes it until the guard is gone.
    pub(super) fn open(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: after a loss, what was written may be gone, times to live included.
    pub(super) fn clear(&self) {
        *self.open() = Halves::default();
    }
}

impl Halves {
    pub(super) fn known(&self, key: MemoKey) -> Known {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or_default()
    }

    pub(super) fn learn(&mut self, key: MemoKey, change: impl FnOnce(&mut Known)) {
        let mut known = self.known(key);
        change(&mut known);
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memo_keeps_the_latest_and_stays_bounded() {
        let memo = Memo::default();
        let mut halves = memo.open();
        let key = |nth: u32| {
            let bytes = nth.to_le_bytes();
            MemoKey::of(At { space: [0; 32].into(), key: &bytes }, 5)
        };
        for nth in 0..(3 * HALF as u32) {
            halves.learn(key(nth), |known| known.head_len = nth);
        }
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
        let latest = 3 * HALF as u32 - 1;
        assert_eq!(halves.known(key(latest)).head_len, latest);
        assert_eq!(halves.known(key(7)), Known::default());
        drop(halves);
        memo.clear();
        assert_eq!(memo.open().known(key(latest)), Known::default());
    }

    #[test]
    fn a_value_of_another_epoch_or_place_is_another_one() {
        let at = |key| At { space: [0; 32].into(), key };
        let key = MemoKey::of(at(b"a"), 5);
        assert_eq!(key, MemoKey::of(at(b"a"), 5));
        assert_ne!(key, MemoKey::of(at(b"a"), 6));
        assert_ne!(key, MemoKey::of(at(b"b"), 5));
    }
}
