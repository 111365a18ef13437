//! Fixed-point two's complement numbers of N limbs, and their canonical bytes.
//!
//! ```text
//! bytes  (count << 1 | negative) varint │ place varint
//!        │ the magnitude's bytes from the lowest that is not 0 to the highest
//!        0 is the single byte 0; `place` is the lowest byte's place, from the number's own point
//! ```

use crate::codec::{Reader, put_u64};

/// A signed integer of `64 * N` bits, least significant limb first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide<const N: usize> {
    pub(crate) limbs: [u64; N],
}

impl<const N: usize> Wide<N> {
    pub(crate) const ZERO: Wide<N> = Wide { limbs: [0; N] };

    /// Adds `value`, 192 bits of two's complement, shifted left by `place` limbs.
    pub(crate) fn add(&mut self, value: [u64; 3], place: usize) {
        let extension = if value[2] >> 63 == 1 { u64::MAX } else { 0 };
        let mut carry = false;
        for (i, limb) in self.limbs[place..].iter_mut().enumerate() {
            let more = value.get(i).copied().unwrap_or(extension);
            // Beyond the value nothing changes once the carry meets the extension.
            if i >= 3 && carry == (extension == u64::MAX) {
                return;
            }
            (*limb, carry) = carrying(*limb, more, carry);
        }
    }

    pub(crate) fn add_all<const M: usize>(&mut self, other: &Wide<M>, place: usize) {
        let extension = if other.is_negative() { u64::MAX } else { 0 };
        let mut carry = false;
        for (i, limb) in self.limbs[place..].iter_mut().enumerate() {
            let more = other.limbs.get(i).copied().unwrap_or(extension);
            (*limb, carry) = carrying(*limb, more, carry);
        }
    }

    pub(crate) fn negated(mut self) -> Wide<N> {
        let mut carry = true;
        for limb in &mut self.limbs {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
        self
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.limbs[N - 1] >> 63 == 1
    }

    /// Sign and magnitude.
    pub(crate) fn magnitude(&self) -> (bool, [u64; N]) {
        let negative = self.is_negative();
        (negative, if negative { self.negated().limbs } else { self.limbs })
    }

    /// The canonical bytes of this number; `point` limbs are added to the place, for a number that
    /// is held at another scale.
    pub(crate) fn encode(&self, point: usize, out: &mut Vec<u8>) {
        let (negative, limbs) = self.magnitude();
        let byte = |i: usize| (limbs[i / 8] >> (i % 8 * 8)) as u8;
        let Some(first) = limbs.iter().position(|&limb| limb != 0) else { return out.push(0) };
        let last = limbs.iter().rposition(|&limb| limb != 0).unwrap_or(first);
        let low = first * 8 + limbs[first].trailing_zeros() as usize / 8;
        let high = last * 8 + 7 - limbs[last].leading_zeros() as usize / 8;
        put_u64(out, ((high - low + 1) as u64) << 1 | u64::from(negative));
        put_u64(out, (low + point * 8) as u64);
        out.extend((low..=high).map(byte));
    }

    pub(crate) fn decode(input: &mut &[u8]) -> Option<Wide<N>> {
        let mut reader = Reader::new(input);
        let head = reader.u64()?;
        let mut wide = Wide::ZERO;
        if head != 0 {
            let count = usize::try_from(head >> 1).ok()?;
            let place = usize::try_from(reader.u64()?).ok()?;
            // The top bit is the sign's.
            let fits = count > 0 && place.checked_add(count)? <= N * 8;
            let bytes = if fits { reader.take(count)? } else { return None };
            if bytes[0] == 0 || bytes[count - 1] == 0 {
                return None;
            }
            for (at, chunk) in (place..).step_by(8).zip(bytes.chunks(8)) {
                let mut limb = [0; 8];
                limb[..chunk.len()].copy_from_slice(chunk);
                let value = u128::from(u64::from_le_bytes(limb)) << (at % 8 * 8);
                wide.limbs[at / 8] |= value as u64;
                // Nothing is above where there is no limb: the bytes fit.
                if let Some(above) = wide.limbs.get_mut(at / 8 + 1) {
                    *above |= (value >> 64) as u64;
                }
            }
            if wide.is_negative() {
                return None;
            }
            if head & 1 == 1 {
                wide = wide.negated();
            }
        }
        *input = reader.rest();
        Some(wide)
    }
}

pub(crate) fn carrying(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, over) = a.overflowing_add(b);
    let (sum, over2) = sum.overflowing_add(u64::from(carry));
    (sum, over || over2)
}

/// A 128-bit integer as 192 bits.
pub(crate) fn extend(value: i128) -> [u64; 3] {
    [value as u64, (value >> 64) as u64, (value >> 127) as u64]
}
