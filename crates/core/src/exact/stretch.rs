//! A wide number of which only the limbs in use are held: the far tier of a sum of doubles. A few
//! stored bytes then make a few limbs, and not the 70 that any sum may need.

use super::wide::{Wide, carrying};

/// A signed integer of at most `64 * N` bits: two's complement from the limb `place` on, zeros
/// below it, the sign above the last limb.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch<const N: usize> {
    place: usize,
    limbs: Vec<u64>,
}

impl<const N: usize> Stretch<N> {
    pub(super) fn of(wide: &Wide<N>) -> Stretch<N> {
        let sign = if wide.is_negative() { u64::MAX } else { 0 };
        let place = wide.limbs.iter().position(|&limb| limb != 0).unwrap_or(0);
        let top = wide.limbs.iter().rposition(|&limb| limb != sign).unwrap_or(place);
        let mut limbs = wide.limbs[place..=top.max(place)].to_vec();
        limbs.push(sign);
        Stretch { place, limbs }
    }

    /// Adds `value`, two's complement, shifted left by `place` limbs.
    pub(super) fn add(&mut self, value: &[u64], place: usize) {
        self.make_room(place, place + value.len() + 1);
        let extension = sign_of(value);
        let skip = place - self.place;
        let mut carry = false;
        for (i, limb) in self.limbs[skip..].iter_mut().enumerate() {
            let more = value.get(i).copied().unwrap_or(extension);
            (*limb, carry) = carrying(*limb, more, carry);
        }
    }

    pub(super) fn merge(&mut self, other: &Stretch<N>) {
        self.add(&other.limbs, other.place);
    }

    pub(super) fn wide(&self) -> Wide<N> {
        let sign = sign_of(&self.limbs);
        let mut wide = Wide::ZERO;
        for (i, limb) in wide.limbs.iter_mut().enumerate().skip(self.place) {
            // Limbs beyond N only repeat the sign.
            *limb = self.limbs.get(i - self.place).copied().unwrap_or(sign);
        }
        wide
    }

    /// Holds the limbs from `low` up to `high`, the highest of them free for a carry.
    fn make_room(&mut self, low: usize, high: usize) {
        if self.limbs.is_empty() {
            self.place = low;
        }
        if let Some(more @ 1..) = self.place.checked_sub(low) {
            self.limbs.splice(..0, std::iter::repeat_n(0, more));
            self.place = low;
        }
        let sign = sign_of(&self.limbs);
        while self.place + self.limbs.len() < high || self.limbs.last() != Some(&sign) {
            self.limbs.push(sign);
        }
    }
}

fn sign_of(limbs: &[u64]) -> u64 {
    if limbs.last().is_some_and(|limb| limb >> 63 == 1) { u64::MAX } else { 0 }
}
