//! Card transactions as a worker has them in memory: each is one record for its user and one for
//! its merchant.

use std::time::Duration;

use trueup_store::{Append, At, Space};

/// Users; each as likely as the other.
pub(super) const USERS: usize = 20_000;
/// Merchants; half of the events are with an eighth of them.
pub(super) const MERCHANTS: usize = 4_000;
/// Events sent in one go, as a worker batches them.
pub(super) const BATCH: usize = 1000;
/// Far longer than the bench: a time to live is set once and then remembered, as in a long run.
pub(super) const EXPIRY: Duration = Duration::from_secs(30 * 86_400);

/// The state of the users, and that of the merchants.
pub(super) fn spaces() -> [Space; 2] {
    [Space::from([1; 32]), Space::from([2; 32])]
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) user: usize,
    pub(super) merchant: usize,
    pub(super) time_ms: u64,
    pub(super) id: u64,
    pub(super) cents: u64,
}

impl Event {
    /// The event of a number; the same ones whenever asked.
    pub(super) fn new(nth: usize) -> Self {
        let dice = scatter(nth as u64);
        let even = (dice >> 40) as f64 / (1_u64 << 24) as f64;
        Self {
            user: (dice % USERS as u64) as usize,
            merchant: (even.powi(3) * MERCHANTS as f64) as usize,
            time_ms: 1_760_000_000_000 + nth as u64,
            id: 9_000_000_000 + nth as u64,
            cents: 100 + dice % 50_000,
        }
    }

    /// Whose values: the group's number and the key.
    pub(super) fn owners(&self) -> [(usize, usize); 2] {
        [(0, self.user), (1, self.merchant)]
    }

    /// The bytes of its record in a group: 28, as time, id, position and amount take.
    pub(super) fn record(&self) -> [u8; 28] {
        let mut record = [7; 28];
        record[1..9].copy_from_slice(&self.time_ms.to_be_bytes());
        record[9..17].copy_from_slice(&self.id.to_be_bytes());
        record[17..25].copy_from_slice(&self.cents.to_be_bytes());
        record
    }
}

/// A number far from that of its neighbours (the finalizer of SplitMix64).
pub(super) fn scatter(nth: u64) -> u64 {
    let mut mixed = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The keys of both groups, as long as a BIGINT makes them.
pub(super) struct Keys {
    pub(super) of_group: [Vec<[u8; 9]>; 2],
}

impl Keys {
    pub(super) fn new() -> Self {
        let key = |nth: usize| {
            let mut key = [8; 9];
            key[1..].copy_from_slice(&(4_000_000_000 + nth as u64).to_be_bytes());
            key
        };
        Self { of_group: [USERS, MERCHANTS].map(|count| (0..count).map(key).collect()) }
    }

    pub(super) fn at(&self, (group, nth): (usize, usize)) -> At<'_> {
        At { space: spaces()[group], key: &self.of_group[group][nth] }
    }

    /// Every key of both groups.
    pub(super) fn all(&self) -> Vec<At<'_>> {
        let numbers = |group: usize| (0..self.of_group[group].len()).map(move |nth| (group, nth));
        numbers(0).chain(numbers(1)).map(|owner| self.at(owner)).collect()
    }

    /// The appends of some events, group by group in the order of the events.
    pub(super) fn appends<'a>(
        &'a self,
        events: &[Event],
        records: &'a [[u8; 28]],
    ) -> Vec<Append<'a>> {
        let both = events.iter().zip(records).flat_map(|(event, record)| {
            event.owners().map(|owner| Append { at: self.at(owner), record })
        });
        both.collect()
    }
}
