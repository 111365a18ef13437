//! Magnitudes of any length, for the last steps of a mean or a variance: limbs of 64 bits, least
//! significant first.

/// A magnitude times `2^exponent`.
#[derive(Clone, Debug)]
pub(crate) struct Big {
    limbs: Vec<u64>,
    exponent: i64,
}

impl Big {
    pub(crate) fn new(limbs: &[u64], exponent: i64) -> Big {
        let low = limbs.iter().position(|&l| l != 0).unwrap_or(limbs.len());
        let high = limbs.iter().rposition(|&l| l != 0).map_or(low, |h| h + 1);
        Big { limbs: limbs[low..high].to_vec(), exponent: exponent + 64 * low as i64 }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    pub(crate) fn times(&self, factor: u64) -> Big {
        let mut carry = 0u128;
        let mut limbs: Vec<u64> = Vec::with_capacity(self.limbs.len() + 1);
        for &limb in &self.limbs {
            carry += u128::from(limb) * u128::from(factor);
            limbs.push(carry as u64);
            carry >>= 64;
        }
        limbs.push(carry as u64);
        Big::new(&limbs, self.exponent)
    }

    pub(crate) fn squared(&self) -> Big {
        let mut out = vec![0u64; self.limbs.len() * 2];
        for (i, &a) in self.limbs.iter().enumerate() {
            let mut carry = 0u128;
            for (j, &b) in self.limbs.iter().enumerate() {
                carry += u128::from(out[i + j]) + u128::from(a) * u128::from(b);
                out[i + j] = carry as u64;
                carry >>= 64;
            }
            out[i + self.limbs.len()] = carry as u64;
        }
        Big::new(&out, 2 * self.exponent)
    }

    /// `self - other`; `None` if that is negative.
    pub(crate) fn minus(&self, other: &Big) -> Option<Big> {
        // Exponents are multiples of 64, so limbs line up.
        let exponent = self.exponent.min(other.exponent);
        let mut limbs = self.limbs_at(exponent);
        let mut borrow = false;
        for (i, limb) in limbs.iter_mut().enumerate() {
            let place = i as i64 - (other.exponent - exponent) / 64;
            let b = usize::try_from(place).ok().and_then(|p| other.limbs.get(p)).copied();
            let (x, under) = limb.overflowing_sub(b.unwrap_or(0));
            let (x, under2) = x.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (x, under || under2);
        }
        // Limbs of `other` that lie above all of ours.
        let end = other.exponent + 64 * other.limbs.len() as i64;
        let longer = !other.is_zero() && end > exponent + 64 * limbs.len() as i64;
        (!borrow && !longer).then(|| Big::new(&limbs, exponent))
    }

    fn limbs_at(&self, exponent: i64) -> Vec<u64> {
        let mut limbs = vec![0; ((self.exponent - exponent) / 64) as usize];
        limbs.extend_from_slice(&self.limbs);
        limbs
    }

    /// The quotient by all `divisors` in turn, with at least 128 significant bits, and whether
    /// anything was left over.
    ///
    /// Dividing step by step is exact: floor(floor(a / b) / c) = floor(a / (b c)).
    pub(crate) fn over(&self, divisors: &[u64]) -> (Big, bool) {
        if self.is_zero() {
            return (self.clone(), false);
        }
        let room = divisors.len() + 3;
        let mut limbs = vec![0; room];
        limbs.extend_from_slice(&self.limbs);
        let mut rest = false;
        for &divisor in divisors {
            let mut remainder = 0u128;
            for limb in limbs.iter_mut().rev() {
                let part = remainder << 64 | u128::from(*limb);
                *limb = (part / u128::from(divisor)) as u64;
                remainder = part % u128::from(divisor);
            }
            rest |= remainder != 0;
        }
        (Big::new(&limbs, self.exponent - 64 * room as i64), rest)
    }

    /// The leading 128 bits, their exponent, and whether lower bits are set; the exponent is even
    /// if `even` asks for it (then 127 bits may lead).
    pub(crate) fn top(&self, even: bool) -> (u128, i64, bool) {
        let Some(&last) = self.limbs.last() else { return (0, 0, false) };
        let n = self.limbs.len();
        let limb = |back: usize| n.checked_sub(back + 1).map_or(0, |i| self.limbs[i]);
        let high = u128::from(last) << 64 | u128::from(limb(1));
        let shift = last.leading_zeros();
        let mut top = high << shift;
        if shift > 0 {
            top |= u128::from(limb(2) >> (64 - shift));
        }
        let below = if shift > 0 { limb(2) << shift } else { limb(2) };
        let mut sticky = below != 0 || self.limbs.iter().take(n.saturating_sub(3)).any(|&l| l != 0);
        let mut exponent = self.exponent + 64 * (n as i64 - 2) - i64::from(shift);
        if even && exponent % 2 != 0 {
            sticky |= top & 1 == 1;
            top >>= 1;
            exponent += 1;
        }
        (top, exponent, sticky)
    }
}
