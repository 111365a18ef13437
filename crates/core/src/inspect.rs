//! What a key's value holds, for a person who looks at it. Nothing is folded: the base is shown as
//! it was written, and the records behind it one by one. No answer is made of this; see [`read`].
//!
//! [`read`]: crate::read()

use crate::codec::{Corrupt, FORMAT_VERSION, Position, records};
use crate::events::Event;
use crate::group::Keep;
use crate::plan::Plan;
use crate::state::{ExactState, Limits, PartialState, Stored, Vouch};

/// A value, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected {
    /// The folded base; `None` before the first compaction.
    pub base: Option<Base>,
    /// The records behind it, in the order of their appending; one may be in the base already, and
    /// then adds nothing.
    pub tail: Vec<(Event, Option<Position>)>,
}

/// What a base holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Base {
    /// The version of its bytes.
    pub version: u8,
    /// Events that are there one by one: all of them, or in a group of partials the youngest.
    pub events: Vec<Event>,
    /// Events that gave way to another with their id and go on weighing.
    pub beaten: usize,
    /// The bins, ascending.
    pub bins: Vec<Partials>,
    /// What is older than all bins, or in a group without bins than the raw events.
    pub floor: Option<Partials>,
    /// The oldest event time ever taken in, microseconds since 1970; `None` before the first.
    pub oldest_us: Option<i64>,
    /// The newest event time that is there, or ever was in a group of partials.
    pub newest_us: Option<i64>,
    /// Event times from here on are whole; `None` if nothing has ever left.
    pub whole_from_us: Option<i64>,
    /// The word of the fill that stands; `None` if nobody ever filled it.
    pub vouch: Option<Vouch>,
    /// How many ids of events are remembered that are in partials.
    pub recent_ids: usize,
    /// Per source and partition, up to where records were taken in; exact groups go by ids.
    pub admitted: Vec<Position>,
}

/// Partials of some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partials {
    /// Where the bin starts; `i64::MIN` for what is older than all bins.
    pub start_us: i64,
    /// The newest event time in it.
    pub newest_us: i64,
    /// How many events it is of.
    pub events: u64,
}

/// Takes a key's value apart.
///
/// # Errors
/// [`Corrupt`] if the bytes are damaged or belong to another key.
pub fn inspect(plan: &Plan, key: &[u8], stored: Stored<'_>) -> Result<Inspected, Corrupt> {
    let mut tail = Vec::new();
    records(&plan.group, key, stored.tail, |record, _| {
        let position = record.position;
        tail.push((record.event(), position));
    })?;
    let alone = Stored { tail: &[], ..stored };
    let base = match (stored.base, plan.group.keep) {
        (None, _) => None,
        (_, Keep::Exact) => {
            let all = |_: usize| true;
            let (state, _) = ExactState::load(plan, key, alone, &Limits::default(), &all)?;
            Some(state.show(plan))
        }
        _ => {
            let none = &mut Vec::new();
            let (state, _) = PartialState::load(plan, key, alone, &|_| true, none)?;
            Some(state.show(plan).ok_or(Corrupt::Base)?)
        }
    };
    let version = stored.base.and_then(|base| base.first().copied()).unwrap_or(FORMAT_VERSION);
    Ok(Inspected { base: base.map(|base| Base { version, ..base }), tail })
}

/// An instant, unless it stands for none.
pub(crate) fn known(us: i64) -> Option<i64> {
    Some(us).filter(|us| ![i64::MIN, i64::MAX].contains(us))
}
