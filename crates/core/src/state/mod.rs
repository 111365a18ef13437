//! A key's state in memory: what its base and the records behind it say together, trimmed. `fold`
//! writes it down, `read` evaluates frames on it; both see the same, so it does not matter what was
//! folded when.

mod bins;
mod exact;
mod fill;
mod partials;
mod seen;

pub(crate) use exact::ExactState;
pub use fill::{Filled, Vouch, fill, vouched};
pub(crate) use partials::PartialState;

use crate::codec::{Corrupt, Position};
use crate::events::Met;
use crate::group::Keep;
use crate::plan::Plan;

/// The bytes of one key's value, as a store holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored<'a> {
    /// The folded base; `None` before the first compaction.
    pub base: Option<&'a [u8]>,
    /// The records appended since, in the order of appending.
    pub tail: &'a [u8],
}

/// Bounds on one key's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much the events of an exact base weigh at most, in bytes: each as a base holds it, but
    /// without what it saves by deltas from its neighbours, so that the base is no longer than
    /// this. The oldest go, and the base says from when it is whole.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 1 MiB: some 50,000 events of a few columns. What needs more wants bins.
    fn default() -> Limits {
        Limits { max_bytes: 1 << 20 }
    }
}

/// A folded base and what the fold met.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The new base: equal sets of events give equal bytes.
    pub base: Vec<u8>,
    /// What the folded records were.
    pub met: Met,
    /// Events (or, in groups without them, bins and raw events) that the base holds.
    pub held: usize,
    /// Whether the bound on bytes made the oldest go.
    pub cut: bool,
    /// The records that were not folded, as they stood: to be put behind the base.
    pub kept: Vec<u8>,
}

/// Folds all records of the tail into the base: [`fold_settled`] for those who know that no record
/// before these can be missing.
///
/// # Errors
/// As [`fold_settled`].
pub fn fold(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    limits: &Limits,
) -> Result<Folded, Corrupt> {
    fold_settled(plan, key, stored, limits, &|_| true)
}

/// Folds those records of the tail into the base that are `settled`: everything before them in
/// their partition is in this value. The others are kept as they are, where it matters: partials
/// know what they hold by each partition's highest offset, so a record that came before its
/// forerunners would shut them out. An exact set goes by ids, and takes in everything.
///
/// # Errors
/// [`Corrupt`] if base or tail are damaged, or belong to another key; nothing is lost, the caller
/// keeps what it has.
pub fn fold_settled(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    limits: &Limits,
    settled: &dyn Fn(Position) -> bool,
) -> Result<Folded, Corrupt> {
    let mut kept = Vec::new();
    match plan.group.keep {
        Keep::Exact => {
            let (state, met) = ExactState::load(plan, key, stored, limits, &|_| true)?;
            let base = state.base(plan, key);
            Ok(Folded { base, met, held: state.events.len(), cut: state.cut, kept })
        }
        _ => {
            let (state, met) = PartialState::load(plan, key, stored, settled, &mut kept)?;
            let base = state.base(plan, key);
            Ok(Folded { base, met, held: state.held(), cut: false, kept })
        }
    }
}
