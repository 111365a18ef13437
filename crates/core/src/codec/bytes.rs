//! Varints and the other small change of the codec. Readers return `None` at the first byte that
//! cannot be right, and allocate for a count only if the bytes behind it could hold that many.

/// A reader of a varint of this type, which takes at most so many bytes.
macro_rules! varint {
    ($number:ident, $most:literal) => {
        #[inline]
        pub(crate) fn $number(&mut self) -> Option<$number> {
            let mut value = 0;
            for (i, &byte) in self.rest.iter().take($most).enumerate() {
                let bits = $number::from(byte & 0x7f);
                value |= bits << (7 * i);
                if byte < 0x80 {
                    self.rest = &self.rest[i + 1..];
                    // No bit has fallen off at the top, and no zero byte makes a second spelling
                    // of a shorter number.
                    let fits = value >> (7 * i) == bits && (byte != 0 || i == 0);
                    return fits.then_some(value);
                }
            }
            None
        }
    };
}

/// Reads from the front of a byte slice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn rest_mut(&mut self) -> &mut &'a [u8] {
        &mut self.rest
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    varint!(u64, 10);
    varint!(u128, 19);

    pub(crate) fn i64(&mut self) -> Option<i64> {
        let zigzag = self.u64()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    pub(crate) fn i128(&mut self) -> Option<i128> {
        let zigzag = self.u128()?;
        Some((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
    }

    /// A count of things that each take at least `least` bytes of what is left.
    pub(crate) fn count(&mut self, least: usize) -> Option<usize> {
        let n = usize::try_from(self.u64()?).ok()?;
        (n.checked_mul(least)? <= self.rest.len()).then_some(n)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let n = self.count(1)?;
        std::str::from_utf8(self.take(n)?).ok()
    }

    /// `n` bits, least significant first; the bits left over in the last byte must be 0.
    pub(crate) fn bits(&mut self, n: usize) -> Option<impl Iterator<Item = bool> + use<'a>> {
        let bytes = self.take(n.div_ceil(8))?;
        if !n.is_multiple_of(8) && bytes[n / 8] >> (n % 8) != 0 {
            return None;
        }
        Some((0..n).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1))
    }
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_u128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_i128(out: &mut Vec<u8>, value: i128) {
    put_u128(out, ((value << 1) ^ (value >> 127)) as u128);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_bits(out: &mut Vec<u8>, bits: &[bool]) {
    for chunk in bits.chunks(8) {
        out.push(chunk.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << i));
    }
}
