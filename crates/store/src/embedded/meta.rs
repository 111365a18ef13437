//! A space's row in `metas`.
//!
//! ```text
//!   checksum u64 (xxh3 of the rest, seeded by the digest)
//!   space number u32 | has a marker u8 | marker i64
//!   [ source u32 | partition u32 | offset u64 | freshness i64 ] ...
//! ```
//!
//! All little-endian. The checksum is ours because nobody above sees these bytes, and a flipped bit
//! in a checkpoint would skip events without a word.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::StoreError;
use crate::store::{Checkpoint, Meta, Space};

/// Bytes of one checkpoint.
const CHECKPOINT_BYTES: usize = 24;

/// What is filed of a space.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) number: u32,
    pub(super) meta: Meta,
}

impl Filed {
    /// A new space.
    pub(super) fn new(number: u32) -> Self {
        Self { number, meta: Meta::default() }
    }

    /// What a reader sees.
    pub(super) fn meta(filed: Option<Self>) -> Meta {
        filed.map_or_else(Meta::default, |filed| filed.meta)
    }

    pub(super) fn encode(&self, space: Space) -> Vec<u8> {
        let mut body = Vec::with_capacity(13 + self.meta.checkpoints.len() * CHECKPOINT_BYTES);
        body.extend_from_slice(&self.number.to_le_bytes());
        let since_us = self.meta.complete_since_us;
        body.push(u8::from(since_us.is_some()));
        body.extend_from_slice(&since_us.unwrap_or_default().to_le_bytes());
        for checkpoint in &self.meta.checkpoints {
            body.extend_from_slice(&checkpoint.source.to_le_bytes());
            body.extend_from_slice(&checkpoint.partition.to_le_bytes());
            body.extend_from_slice(&checkpoint.offset.to_le_bytes());
            body.extend_from_slice(&checkpoint.fresh_us.to_le_bytes());
        }
        [&checksum(space, &body).to_le_bytes()[..], &body].concat()
    }

    pub(super) fn decode(space: Space, bytes: &[u8]) -> Result<Self, StoreError> {
        parse(space, bytes).ok_or_else(|| StoreError::Corrupt {
            place: format!("The checkpoints of space {space:?}"),
            detail: "the checksum does not fit".to_owned(),
        })
    }
}

fn checksum(space: Space, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(space.as_bytes()))
}

fn parse(space: Space, bytes: &[u8]) -> Option<Filed> {
    let (sum, body) = bytes.split_first_chunk()?;
    if u64::from_le_bytes(*sum) != checksum(space, body) {
        return None;
    }
    let (number, rest) = body.split_first_chunk()?;
    let (marked, rest) = rest.split_first()?;
    let (since_us, rest) = rest.split_first_chunk()?;
    let mut filed = Filed::new(u32::from_le_bytes(*number));
    filed.meta.complete_since_us = (*marked == 1).then_some(i64::from_le_bytes(*since_us));
    let mut checkpoints = Vec::with_capacity(rest.len() / CHECKPOINT_BYTES);
    for mut checkpoint in rest.chunks(CHECKPOINT_BYTES) {
        checkpoints.push(Checkpoint {
            source: u32::from_le_bytes(take(&mut checkpoint)?),
            partition: u32::from_le_bytes(take(&mut checkpoint)?),
            offset: u64::from_le_bytes(take(&mut checkpoint)?),
            fresh_us: i64::from_le_bytes(take(&mut checkpoint)?),
        });
    }
    filed.meta = filed.meta.with_checkpoints(checkpoints);
    Some(filed)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*head)
}

/// The space that a row's key names.
pub(super) fn space_of(digest: &[u8]) -> Result<Space, StoreError> {
    let digest: [u8; 32] = digest.try_into().map_err(|_| StoreError::Corrupt {
        place: "The list of spaces".to_owned(),
        detail: format!("a digest has {} bytes", digest.len()),
    })?;
    Ok(Space::from(digest))
}
