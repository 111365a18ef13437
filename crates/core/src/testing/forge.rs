//! Bytes with a right checksum and any content, to get behind the checksum in tests and fuzz
//! targets.

use crate::codec;

/// Gives changed bytes of a base the length and the tag that make them believed under `key`. Bytes
/// shorter than a base's header stay as they are.
pub fn seal_again(key: &[u8], base: &mut [u8]) {
    codec::seal_again(key, base);
}

/// Appends a record of any payload, believed under `key`, to `out`.
pub fn seal_record(key: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    codec::seal_record(key, payload, out);
}
