//! The bytes of a key's value. Constraints: appended to blind, read whole in one round trip, equal
//! for equal sets of events, and never believed without a checksum that has the key in it.
//!
//! ```text
//! value   [ base ][ record ][ record ] …          no base before the first compaction
//!
//! base    version u8 │ keeping u8 │ reserved u16 = 0 │ body length u32 LE │ tag u64 LE │ body
//!         keeping: 0 exact, 1 binned, 2 lifetime      tag: checksum of (key, first 8 bytes, body)
//! bodies  see `state::exact` and `state::partials`
//! ```
//!
//! The life of a record: `record` writes it, the store appends it, `read` folds it in memory as
//! often as it is asked, `fold` takes it into the base, trimming drops it. The tag names the base
//! for the store's swap: it is a checksum and not a random number, since equal bytes are equal
//! states.

mod bytes;
mod events;
mod key;
mod record;
mod value;

pub(crate) use bytes::{Reader, put_i64, put_u64};
pub(crate) use events::{put_events, read_events, weight, weight_at_most};
pub use key::Key;
#[cfg(feature = "testing")]
pub(crate) use record::seal_record;
pub use record::{Position, record};
pub(crate) use record::{Record, records};
pub(crate) use value::{put_id, put_value, read_id, read_value};

use crate::group::Keep;

/// The version of the base's bytes that this code writes. Older ones stay readable; see
/// `tests/fixtures`.
pub const FORMAT_VERSION: u8 = 1;

const HEADER: usize = 16;

/// Why bytes are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corrupt {
    /// The base is too short, its checksum fails, or its body does not decode.
    Base,
    /// The base was written by a version that this one does not know.
    Version {
        /// The version found.
        found: u8,
    },
    /// A record of the tail is cut off, its checksum fails, or it does not decode.
    Record {
        /// Its place in the tail, from 0.
        number: usize,
    },
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Corrupt::Base => write!(f, "the base of this key's state is damaged"),
            Corrupt::Version { found } => {
                write!(
                    f,
                    "this key's state has format {found}; this version reads up to {FORMAT_VERSION}"
                )
            }
            Corrupt::Record { number } => {
                write!(f, "record {number} in the tail of this key's state is damaged")
            }
        }
    }
}

impl std::error::Error for Corrupt {}

/// 64 bits of XXH3 over the key's length, the key and the bytes: against accidents, not against
/// forgers.
pub(crate) fn checksum(key: &[u8], bytes: &[u8]) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(bytes);
    hash.digest()
}

/// A hash of an event's id and content, not of its time: of the record's bytes but for their head.
pub(crate) fn hash_of(events: &crate::events::Events, i: usize) -> u64 {
    let mut bytes = Vec::with_capacity(48);
    put_id(&mut bytes, &events.ids[i]);
    for column in &events.slots {
        let value = column.value(i);
        bytes.push(u8::from(value != crate::value::Value::Null));
        put_value(&mut bytes, &value);
    }
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

fn keeping(keep: Keep) -> u8 {
    match keep {
        Keep::Exact => 0,
        Keep::Binned { .. } => 1,
        Keep::Lifetime => 2,
    }
}

/// Puts the header before a body.
pub(crate) fn seal(keep: Keep, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(&[FORMAT_VERSION, keeping(keep), 0, 0]);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(body);
    let tag = tag_of(key, &out);
    out[8..HEADER].copy_from_slice(&tag.to_le_bytes());
    out
}

/// Gives changed bytes of a base the length and the tag that make them believed, for tests and fuzz
/// targets that mean to get behind the checksum.
#[cfg(feature = "testing")]
pub(crate) fn seal_again(key: &[u8], base: &mut [u8]) {
    if let Some(length) = base.len().checked_sub(HEADER) {
        base[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        let tag = tag_of(key, base);
        base[8..HEADER].copy_from_slice(&tag.to_le_bytes());
    }
}

fn tag_of(key: &[u8], base: &[u8]) -> u64 {
    checksum(key, &base[HEADER..]) ^ checksum(key, &base[..8]).rotate_left(32)
}

/// The body of a base, if its header and checksum hold.
pub(crate) fn open<'a>(keep: Keep, key: &[u8], base: &'a [u8]) -> Result<&'a [u8], Corrupt> {
    let version = *base.first().ok_or(Corrupt::Base)?;
    if version == 0 || version > FORMAT_VERSION {
        return Err(Corrupt::Version { found: version });
    }
    let (header, body) = base.split_at_checked(HEADER).ok_or(Corrupt::Base)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let tag = u64::from_le_bytes(header[8..].try_into().map_err(|_| Corrupt::Base)?);
    let plain = header[1] == keeping(keep) && header[2..4] == [0, 0];
    if !plain || length as usize != body.len() || tag != tag_of(key, base) {
        return Err(Corrupt::Base);
    }
    Ok(body)
}
