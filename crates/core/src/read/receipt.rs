//! What the frames of a read held, for a person who asks why a value is what it is. It loads the
//! state and takes the frames as [`read`] does, and computes nothing.
//!
//! [`read`]: crate::read()

use super::{Instant, span, stand};
use crate::codec::Corrupt;
use crate::events::Events;
use crate::group::{Frame, Keep};
use crate::plan::Plan;
use crate::state::{ExactState, Limits, PartialState, Stored};
use crate::value::{Id, Micros};

/// What the frame of one aggregate held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// The old end of the frame, in; `None` if it is unbounded, or holds no rows. In a binned group
    /// the start of its first bin.
    pub from: Option<Micros>,
    /// The young end, in; `None` for a frame of rows that holds none.
    pub to: Option<Micros>,
    /// Events that are there one by one, are in the frame and pass the FILTER; the request's own
    /// among them.
    pub counted: u64,
    /// Event times and ids of the newest of them, the newest first.
    pub events: Vec<(Micros, Id)>,
    /// Events in sealed bins that the frame holds, and in what is older than all bins: FILTER or
    /// not, their ids are not known any more.
    pub in_partials: u64,
}

/// What the frames of the aggregates `wanted` held at an instant, with at most `most` events each.
///
/// # Errors
/// [`Corrupt`] if the stored bytes are damaged or belong to another key.
pub fn receipts(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    instant: Instant<'_>,
    wanted: &[usize],
    limits: &Limits,
    most: usize,
) -> Result<Vec<Receipt>, Corrupt> {
    match plan.group.keep {
        Keep::Exact => {
            let (mut state, _) = ExactState::load(plan, key, stored, limits, &|_| true)?;
            let stand = stand(&mut state.events, instant);
            let events = &state.events;
            let receipt = |&w: &usize| {
                let frame = plan.frames[plan.frame_of[w]];
                let places = span(plan, frame, events, stand, events.len());
                let (from, to) = match frame {
                    Frame::Range { far_us, near_us } => {
                        let (from, to) = plan.interval(far_us, near_us, stand.at);
                        (far_us.map(|_| Micros(from)), Some(Micros(to)))
                    }
                    Frame::Rows { .. } => {
                        let time = |place: usize| events.times.get(place).map(|&us| Micros(us));
                        match places.is_empty() {
                            true => (None, None),
                            false => (time(places.start), time(places.end - 1)),
                        }
                    }
                };
                let (counted, events) = listed(plan, w, events, places.rev(), most);
                Receipt { from, to, counted, events, in_partials: 0 }
            };
            Ok(wanted.iter().map(receipt).collect())
        }
        _ => {
            let (mut state, _) = PartialState::load(plan, key, stored, &|_| true, &mut Vec::new())?;
            let receipt = |&w: &usize| of_partials(plan, &mut state, instant, w, most);
            wanted.iter().map(receipt).collect::<Option<_>>().ok_or(Corrupt::Base)
        }
    }
}

/// How many of the events at `places` pass the aggregate's FILTER, and the first `most` of them.
fn listed(
    plan: &Plan,
    w: usize,
    events: &Events,
    places: impl Iterator<Item = usize>,
    most: usize,
) -> (u64, Vec<(Micros, Id)>) {
    let measure = &plan.measures[plan.measure_of[w]];
    let (mut counted, mut listed) = (0, Vec::new());
    for place in places.filter(|&place| measure.passes(events, place)) {
        counted += 1;
        if listed.len() < most {
            listed.push((Micros(events.times[place]), events.ids[place].clone()));
        }
    }
    (counted, listed)
}

/// `None` if a bin's bytes are no bin.
fn of_partials(
    plan: &Plan,
    state: &mut PartialState<'_>,
    instant: Instant<'_>,
    w: usize,
    most: usize,
) -> Option<Receipt> {
    let Frame::Range { far_us, near_us } = plan.group.aggregates[w].frame else {
        // Groups without the events themselves have no ROWS frames.
        return Some(Receipt::default());
    };
    let at = instant.own.map_or(instant.at.0, |own| own.time);
    let (from, to) = plan.interval(far_us, near_us, at);
    let mut in_partials = 0;
    for (_, bin) in state.bins.within(plan.bin(from), to) {
        in_partials += bin.head()?.1;
    }
    if let (None, Some(floor)) = (far_us, &state.floor) {
        in_partials += floor.events;
    }
    if let Some(own) = instant.own
        && !state.recent.iter().any(|(_, id)| *id == own.id)
    {
        state.raw.put(own);
    }
    let places = (state.raw.before(from)..state.raw.until(to)).rev();
    let (counted, events) = listed(plan, w, &state.raw, places, most);
    let from = far_us.map(|_| Micros(from));
    Some(Receipt { from, to: Some(Micros(to)), counted, events, in_partials })
}
