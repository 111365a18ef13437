//! What a store says of itself to a person: its servers, and bucket by bucket where it stands and
//! what it knows of spaces. Nothing is written to find it out, and nothing goes by it: a writer
//! begins where [`crate::Store::look`] says.

use crate::store::{Look, Meta, Stand};

/// A store as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// How its servers belong together, in a few words.
    pub shape: &'static str,
    /// Those that hold buckets; of a store within the process there is one, itself.
    pub servers: Vec<Server>,
    /// In the order of their numbers.
    pub buckets: Vec<Bucket>,
}

/// What holds buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address or file, without secrets.
    pub place: String,
    /// What runs there, with its version.
    pub software: String,
    /// Bytes of memory that it uses, of disk where it is a file; `None` if it does not say.
    pub used_bytes: Option<u64>,
    /// The most that it may use; `None` if nobody set a bound.
    pub limit_bytes: Option<u64>,
}

/// How a server of a store is set up, as far as it says: what the state's life hangs on beside the
/// program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// Its address, without secrets.
    pub place: String,
    /// Names its present life: two addresses that say the same are one server.
    pub life: String,
    /// What of the server is this store's: two stores with the same part of one life are one.
    pub part: String,
    /// What it does when its memory is full, in its own word.
    pub eviction: String,
    /// What outlasts a restart, in a few words; `None` if it does not say.
    pub persistence: Option<String>,
    /// Replicas that follow it; `None` if it does not say.
    pub replicas: Option<u64>,
    /// Replicas without which it refuses writes; `None` if it does not say.
    pub min_replicas: Option<u64>,
    /// What its clock says, microseconds since 1970; `None` if it does not say.
    pub time_us: Option<i64>,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which of the servers has it.
    pub server: usize,
    /// Where it stands; an epoch of 0 before anything was written.
    pub stand: Stand,
    /// How much what it says is worth.
    pub state: BucketState,
    /// What it knows of each space asked for, in that order.
    pub metas: Vec<Meta>,
}

/// How much what a bucket says is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketState {
    /// It stands where its writers were acknowledged.
    Sound,
    /// Nothing was ever written, or all of it is gone.
    Empty,
    /// Its server is not in the life in which its writers were acknowledged: the latest writes may
    /// be gone, and no writer has looked since.
    Unseen,
    /// It is on its way to another server.
    Moving,
}

impl Survey {
    /// What all buckets have of the nth space: partitions that each of them knows, with the least
    /// offset and freshness, and the latest marker, or none if one of them has none.
    pub fn common(&self, nth: usize) -> Meta {
        let mut metas = self.buckets.iter().filter_map(|bucket| bucket.metas.get(nth));
        let first = metas.next().cloned().unwrap_or_default();
        metas.fold(first, |all, one| common(&all, one))
    }

    /// A store that is one bucket, in one place.
    pub(crate) fn of_one(server: Server, shape: &'static str, look: Look) -> Self {
        let Look { stands, metas } = look;
        let nowhere = Stand { epoch: 0, incarnation: 0 };
        let stand = stands.as_slice().first().copied().unwrap_or(nowhere);
        let bucket = Bucket { server: 0, stand, state: BucketState::Sound, metas };
        Self { shape, servers: vec![server], buckets: vec![bucket] }
    }
}

/// What both of two buckets have.
pub(crate) fn common(one: &Meta, other: &Meta) -> Meta {
    let both = one.checkpoints.iter().filter_map(|mine| {
        let theirs = other
            .checkpoints
            .iter()
            .find(|theirs| (theirs.source, theirs.partition) == (mine.source, mine.partition))?;
        let mut least = *mine;
        least.offset = mine.offset.min(theirs.offset);
        least.fresh_us = mine.fresh_us.min(theirs.fresh_us);
        Some(least)
    });
    let latest = |one: Option<i64>, other: Option<i64>| one.zip(other).map(|(a, b)| a.max(b));
    Meta {
        complete_since_us: latest(one.complete_since_us, other.complete_since_us),
        began_us: latest(one.began_us, other.began_us),
        ..Meta::default()
    }
    .with_checkpoints(both.collect())
}
