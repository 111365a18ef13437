//! The bytes of a value in Redis.
//!
//! ```text
//! before the first compaction   [ record ][ record ] ...
//! after it                      [ 0 | 1 | base length u32 | tag u64 ][ base ][ record ] ...
//!                                 \______ header, 14 bytes ________/
//! ```
//!
//! Little-endian. A record's first byte is never 0, so the first byte of a value says which of the
//! two it is; 1 is the version. The tag is XXH3-64 of the base: a swap names header and tail that
//! it replaces, and so names the base. A value whose header does not fit its bytes is handed on
//! whole, as a base that no reader takes for one: the damage stays with that key.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::{BASE_MARK, Value};

/// Of this layout.
const VERSION: u8 = 1;
/// Bytes before the base.
pub(super) const HEADER_BYTES: usize = 14;

/// What stands before a base; nothing before none.
pub(super) fn header(base: &[u8]) -> Vec<u8> {
    if base.is_empty() {
        return Vec::new();
    }
    // A base is at most `MAX_VALUE_BYTES`, far below 4 GiB.
    let len = u32::try_from(base.len()).unwrap_or(u32::MAX);
    [&[BASE_MARK, VERSION][..], &len.to_le_bytes(), &xxh3_64(base).to_le_bytes()].concat()
}

/// Bytes before the tail of a value with this base.
pub(super) fn head_len(base: &[u8]) -> usize {
    if base.is_empty() { 0 } else { HEADER_BYTES + base.len() }
}

/// A value from its bytes.
pub(super) fn parse(mut bytes: Vec<u8>) -> Value {
    if bytes.first() != Some(&BASE_MARK) {
        return Value::of(bytes, 0);
    }
    let base_len = base_len(&bytes);
    if base_len.is_some() {
        bytes.drain(..HEADER_BYTES);
    }
    let len = base_len.unwrap_or(bytes.len());
    Value::of(bytes, len)
}

/// How long the base behind a header is; `None` if the header does not fit.
fn base_len(bytes: &[u8]) -> Option<usize> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    (header(rest.get(..len)?) == head).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_from_its_bytes() {
        for (base, tail) in [("", ""), ("", "tail"), ("base", ""), ("base", "tail")] {
            let (base, tail) = (base.as_bytes(), tail.as_bytes());
            let bytes = [&header(base)[..], base, tail].concat();
            assert_eq!(bytes.len(), head_len(base) + tail.len());
            assert_eq!(parse(bytes), Value::new(base, tail));
        }
    }

    #[test]
    fn a_flipped_bit_in_header_or_base_leaves_no_part_that_passes_for_the_base() {
        let bytes = [&header(b"base")[..], b"base", b"tail"].concat();
        for bit in 8..(HEADER_BYTES + 4) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(flipped.clone()), Value::new(&flipped, b""), "bit {bit}");
        }
        for len in 1..HEADER_BYTES + 4 {
            assert_eq!(
                parse(bytes[..len].to_vec()),
                Value::new(&bytes[..len], b""),
                "cut to {len}"
            );
        }
    }
}
