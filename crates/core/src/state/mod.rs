//! A key's state in memory: what its base and the records behind it say together, trimmed. `fold`
//! writes it down, `read` evaluates frames on it; both see the same, so it does not matter what was
//! folded when.

mod bins;
mod exact;
mod partials;
mod seen;

pub(crate) use exact::ExactState;
pub(crate) use partials::PartialState;

use crate::codec::Corrupt;
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
}

/// Folds the records of the tail into the base.
///
/// # Errors
/// [`Corrupt`] if base or tail are damaged, or belong to another key; nothing is lost, the caller
/// keeps what it has.
pub fn fold(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    limits: &Limits,
) -> Result<Folded, Corrupt> {
    match plan.group.keep {
        Keep::Exact => {
            let (state, met) = ExactState::load(plan, key, stored, limits, &|_| true)?;
            let base = state.base(plan, key);
            Ok(Folded { base, met, held: state.events.len(), cut: state.cut })
        }
        _ => {
            let (state, met) = PartialState::load(plan, key, stored)?;
            Ok(Folded { base: state.base(plan, key), met, held: state.held(), cut: false })
        }
    }
}
