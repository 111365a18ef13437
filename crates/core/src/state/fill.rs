//! Fills: events of a key that somebody asked for elsewhere, taken into its exact state together
//! with the word from when the state is whole with them.
//!
//! The word is part of the state as the events are, and as they it does not depend on what came
//! first: of two the one that was true later stands, and of two of one moment the one that reaches
//! further back. Folding keeps it and never makes one. What it is worth later, when it is not known
//! any more what came meanwhile, is for those to judge who know since when the key's records come.

use super::{ExactState, Limits, Stored};
use crate::codec::Corrupt;
use crate::events::Met;
use crate::group::Keep;
use crate::plan::Plan;
use crate::value::Micros;
use std::cmp::Reverse;

/// The word of a fill: all events of the key with times from `from` on that there were at `as_of`
/// are in this state, but for those that trimming let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// Event times from here on; the least of all for ever.
    pub from: Micros,
    /// Wall-clock time at which the events were asked for.
    pub as_of: Micros,
}

impl Vouch {
    /// Of two words the one that stands.
    pub(super) fn or(self, other: Vouch) -> Vouch {
        std::cmp::max_by_key(self, other, |vouch| (vouch.as_of, Reverse(vouch.from)))
    }
}

/// A base with what was asked for in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The base.
    pub base: Vec<u8>,
    /// What the records were that were folded.
    pub met: Met,
    /// Event times from here on are whole in it.
    pub whole_from: Micros,
}

/// Takes records and the word for them into an exact state. `None` for groups that cannot hold the
/// ids, and for a state that would outgrow its bound: nothing is to be dropped for what is only
/// asked for again.
///
/// # Errors
/// As [`fold`](crate::fold).
pub fn fill(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    records: &[u8],
    vouch: Vouch,
    limits: &Limits,
) -> Result<Option<Filled>, Corrupt> {
    if plan.group.keep != Keep::Exact {
        return Ok(None);
    }
    let tail = [stored.tail, records].concat();
    let stored = Stored { tail: &tail, ..stored };
    let (mut state, met) = ExactState::load(plan, key, stored, limits, &|_| true)?;
    if state.cut {
        return Ok(None);
    }
    let vouch = state.vouch.map_or(vouch, |there| there.or(vouch));
    state.vouch = Some(vouch);
    let whole_from = Micros(state.whole_from(plan).max(vouch.from.0));
    Ok(Some(Filled { base: state.base(plan, key), met, whole_from }))
}

/// The word that a key's state bears; `None` if nobody ever filled it.
///
/// # Errors
/// [`Corrupt`] if the base is damaged, or belongs to another key.
pub fn vouched(plan: &Plan, key: &[u8], stored: Stored<'_>) -> Result<Option<Vouch>, Corrupt> {
    if plan.group.keep != Keep::Exact || stored.base.is_none() {
        return Ok(None);
    }
    let alone = Stored { tail: &[], ..stored };
    let (state, _) = ExactState::load(plan, key, alone, &Limits::default(), &|_| false)?;
    Ok(state.vouch)
}
