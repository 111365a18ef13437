//! The names of keys in Redis.
//!
//! ```text
//! trueup:{b17}:stand                              where the bucket stands
//! trueup:{b17}:EPOCH:spaces                       set of the spaces written to, whole digests
//! trueup:{b17}:EPOCH:meta:DIGEST                  summary of a space
//! trueup:{b17}:EPOCH:mark:DIGEST                  its marks
//! trueup:{b17}:EPOCH:v:DIGEST:KEY                 a value
//! trueup:{b0}:note:NAME                           a note
//! ```
//!
//! The hash tag comes first and holds the bucket alone, so braces in a key choose nothing. All that
//! precedes KEY has a fixed width for one prefix and bucket, and KEY is the rest as it is: two
//! different (space, key) never have one name. DIGEST is the first 128 bits of the space's digest
//! in hex: a group is one of a few, and two that agree in 128 bits of a cryptographic hash do not
//! occur.

use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::words::BUCKETS;
use crate::store::{At, Space};

/// Hex digits of a space's digest in a name.
const DIGEST_HEX: usize = 32;
/// The bucket that notes lie in.
pub(super) const NOTES: usize = 0;
/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// Makes names under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    /// What all names of a bucket begin with, by bucket.
    buckets: Vec<String>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let bucket = |bucket| format!("{prefix}:{}:", tag(bucket));
        Self { prefix: prefix.to_owned(), buckets: (0..BUCKETS).map(bucket).collect() }
    }

    /// A name of an epoch, with room for what follows; by hand, since each read makes several.
    fn within(&self, bucket: usize, epoch: u64, kind: &str, room: usize) -> String {
        let front = &self.buckets[bucket];
        let mut name = String::with_capacity(front.len() + 17 + kind.len() + room);
        name.push_str(front);
        push_hex(&mut name, &epoch.to_be_bytes());
        name.push(':');
        name.push_str(kind);
        name
    }

    /// The same for a kind that there is one of for each space.
    fn of_space(&self, bucket: usize, epoch: u64, kind: &str, space: Space, room: usize) -> String {
        let mut name = self.within(bucket, epoch, kind, DIGEST_HEX + room);
        push_hex(&mut name, short(&space));
        name
    }

    pub(super) fn stand(&self, bucket: usize) -> String {
        self.buckets[bucket].clone() + "stand"
    }

    /// A note: of no epoch, since it says nothing of what a bucket holds.
    pub(super) fn note(&self, name: &str) -> String {
        self.buckets[NOTES].clone() + "note:" + name
    }

    pub(super) fn spaces(&self, bucket: usize, epoch: u64) -> String {
        self.within(bucket, epoch, "spaces", 0)
    }

    pub(super) fn summary(&self, bucket: usize, epoch: u64, space: Space) -> String {
        self.of_space(bucket, epoch, "meta:", space, 0)
    }

    pub(super) fn marks(&self, bucket: usize, epoch: u64, space: Space) -> String {
        self.of_space(bucket, epoch, "mark:", space, 0)
    }

    /// The name of a value without its key: what all values of a space in a bucket begin with.
    pub(super) fn values(&self, bucket: usize, epoch: u64, space: Space) -> Vec<u8> {
        self.value(bucket, epoch, At { space, key: b"" })
    }

    pub(super) fn value(&self, bucket: usize, epoch: u64, at: At<'_>) -> Vec<u8> {
        let name = self.of_space(bucket, epoch, "v:", at.space, 1 + at.key.len());
        let mut name = name.into_bytes();
        name.push(b':');
        name.extend_from_slice(at.key);
        name
    }

    /// The pattern of all values of a space, or of all spaces.
    pub(super) fn pattern(&self, space: Option<Space>) -> String {
        let digest = space.map_or_else(|| "?".repeat(DIGEST_HEX), |space| hex_of(short(&space)));
        format!("{}:{{b*}}:{}:v:{digest}:*", self.prefix, "?".repeat(16))
    }

    /// Bucket, epoch and key of a value's name.
    pub(super) fn parse<'a>(&self, name: &'a [u8]) -> Option<(usize, u64, &'a [u8])> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":{b")?;
        let close = rest.iter().position(|&byte| byte == b'}')?;
        let bucket = std::str::from_utf8(&rest[..close]).ok()?.parse().ok()?;
        let rest = rest[close..].strip_prefix(b"}:")?;
        let epoch = std::str::from_utf8(rest.get(..16)?).ok()?;
        let key = rest.get(16..)?.strip_prefix(b":v:")?.get(DIGEST_HEX + 1..)?;
        Some((bucket, u64::from_str_radix(epoch, 16).ok()?, key))
    }
}

/// The whole digest in hex.
pub(super) fn digest(space: Space) -> String {
    hex_of(space.as_bytes())
}

fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit =
        |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble });
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

/// A digest from its hex.
pub(super) fn parse_digest(text: &[u8]) -> Option<Space> {
    let text = std::str::from_utf8(text).ok()?;
    let mut digest = [0; 32];
    for (nth, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(Space::from(digest))
}

/// As much of a space's digest as is in names.
fn short(space: &Space) -> &[u8] {
    &space.as_bytes()[..DIGEST_HEX / 2]
}

fn tag(bucket: usize) -> String {
    format!("{{b{bucket}}}")
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) bucket: usize,
    /// XXH3-64 of the space's digest and the key.
    pub(super) hash: u64,
}

impl Placed {
    pub(super) fn of(at: At<'_>) -> Self {
        let hash = hash_of(at);
        Self { bucket: (hash % BUCKETS as u64) as usize, hash }
    }
}

/// Bytes of space and key that are hashed in one go, which takes a tenth of the time. XXH3 itself
/// has another form for longer input.
const SHORT: usize = 240;

fn hash_of(at: At<'_>) -> u64 {
    let (space, key) = (at.space.as_bytes(), at.key);
    let mut both = [0; SHORT];
    match both.get_mut(..space.len() + key.len()) {
        Some(both) => {
            let (front, back) = both.split_at_mut(space.len());
            front.copy_from_slice(space);
            back.copy_from_slice(key);
            xxh3_64(both)
        }
        None => {
            let mut hash = Xxh3::new();
            hash.update(space);
            hash.update(key);
            hash.digest()
        }
    }
}

/// The bucket of a key.
pub(super) fn bucket_of(at: At<'_>) -> usize {
    Placed::of(at).bucket
}

/// For maps whose keys bring their hash.
pub(super) type Hashed = BuildHasherDefault<PassOn>;

/// Hands on a hash that was computed already; takes nothing else than one `u64`.
#[derive(Debug, Default)]
pub(super) struct PassOn(u64);

impl Hasher for PassOn {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "a key of {} bytes brings no hash", bytes.len());
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The cluster's slot of a bucket.
pub(super) fn slot_of(bucket: usize) -> u16 {
    crc16(format!("b{bucket}").as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, which Redis Cluster's specification prescribes for slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn buckets_are_spread_over_the_slots() {
        let mut thirds = [0; 3];
        (0..BUCKETS).for_each(|bucket| thirds[slot_of(bucket) as usize * 3 / 16384] += 1);
        assert!(thirds.iter().all(|&buckets| buckets > BUCKETS / 5), "{thirds:?}");
        let slots: BTreeMap<u16, usize> = (0..BUCKETS).map(|b| (slot_of(b), b)).collect();
        assert_eq!(slots.len(), BUCKETS);
    }

    /// The harm: a version that hashes in another way looks for keys where they are not.
    #[test]
    fn a_place_is_hashed_alike_in_one_go_and_piece_by_piece() {
        for len in (0..=SHORT).chain([SHORT + 1, 4096]) {
            let key: Vec<u8> = (0..len).map(|nth| nth as u8).collect();
            let at = At { space: Space::from([3; 32]), key: &key };
            let mut hash = Xxh3::new();
            hash.update(at.space.as_bytes());
            hash.update(at.key);
            assert_eq!(hash_of(at), hash.digest(), "{len} bytes");
        }
    }

    fn tricky_key() -> impl Strategy<Value = Vec<u8>> {
        let pieces = ["{", "}", "{b1}", ":", ":v:", "\0", "%00", "é", "*", "?", "[a]", "\\"];
        let piece = prop_oneof![
            proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// The harm: one tenant's key reads another's value, or chooses its slot.
        #[test]
        fn different_keys_have_different_names_and_cannot_choose_their_tag(
            (one, two) in (tricky_key(), tricky_key()),
            spaces in any::<(u8, u8)>(),
        ) {
            let names = Names::new("trueup");
            let places = [(spaces.0, &one), (spaces.1, &two)];
            let made = places.map(|(space, key)| {
                let at = At { space: Space::from([space; 32]), key };
                (bucket_of(at), names.value(bucket_of(at), 5, at))
            });
            prop_assert_eq!(made[0].1 == made[1].1, places[0] == places[1]);
            for ((bucket, name), (_, key)) in made.iter().zip(places) {
                let open = name.iter().position(|&byte| byte == b'{').unwrap();
                let close = name.iter().position(|&byte| byte == b'}').unwrap();
                let tag = tag(*bucket);
                prop_assert_eq!(&name[open..=close], tag.as_bytes());
                prop_assert_eq!(names.parse(name), Some((*bucket, 5, key.as_slice())));
            }
        }
    }
}
