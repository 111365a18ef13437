//! Features from state: frames evaluated at an instant, for a request.

mod partials;
mod receipt;

pub use receipt::{Receipt, receipts};

use crate::answer::{Answer, Unknown};
use crate::codec::Corrupt;
use crate::events::{Event, Events};
use crate::group::{Frame, Keep};
use crate::plan::Plan;
use crate::state::{ExactState, Limits, PartialState, Stored};
use crate::value::Micros;
use crate::window::Window;
use std::ops::Range;

/// When and for whom frames are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Instant<'a> {
    /// The event time of the current row, or of the look-up.
    pub at: Micros,
    /// In request mode the request's own event, counted once whether or not the state holds it
    /// already (its id tells); in lookup mode, or where the request's event belongs to another key,
    /// `None`.
    pub own: Option<&'a Event>,
    /// From when on the store vouches that this key's state is complete.
    pub complete_from: Micros,
}

/// Answers the aggregates `wanted` (places in the group) at an instant, in the order asked.
///
/// # Errors
/// [`Corrupt`] if the stored bytes are damaged or belong to another key.
pub fn read(
    plan: &Plan,
    key: &[u8],
    stored: Stored<'_>,
    instant: Instant<'_>,
    wanted: &[usize],
    limits: &Limits,
) -> Result<Vec<Answer>, Corrupt> {
    match plan.group.keep {
        Keep::Exact => {
            let needed = |slot: usize| {
                wanted.iter().any(|&w| {
                    let aggregate = &plan.group.aggregates[w];
                    aggregate.arg == Some(slot) || aggregate.filter == Some(slot)
                })
            };
            let (state, _) = ExactState::load(plan, key, stored, limits, &needed)?;
            Ok(read_exact(plan, state, instant, wanted))
        }
        _ => {
            let (state, _) = PartialState::load(plan, key, stored, &|_| true, &mut Vec::new())?;
            partials::read_partials(plan, &state, instant, wanted).ok_or(Corrupt::Base)
        }
    }
}

/// Where a row stands among its key's ordered events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) at: i64,
    /// The place of the row itself, if it is among the events; else the place that it would take
    /// behind its peers.
    pub(crate) place: usize,
    pub(crate) present: bool,
}

/// The events that a frame holds, of the first `known` ones.
pub(crate) fn span(
    plan: &Plan,
    frame: Frame,
    events: &Events,
    stand: Stand,
    known: usize,
) -> Range<usize> {
    let range = match frame {
        Frame::Range { far_us, near_us } => {
            let (from, to) = plan.interval(far_us, near_us, stand.at);
            events.before(from)..events.until(to).min(known)
        }
        Frame::Rows { far, near } => {
            let end = (stand.place + 1).saturating_sub(near as usize);
            let last = if stand.present { stand.place + 1 } else { stand.place };
            stand.place.saturating_sub(far as usize)..end.min(last)
        }
    };
    range.start.min(range.end)..range.end
}

/// Where the row of an instant stands; the request's own event is put among the others.
fn stand(events: &mut Events, instant: Instant<'_>) -> Stand {
    match instant.own {
        Some(own) => {
            let (place, _) = events.put(own);
            Stand { at: own.time, place, present: true }
        }
        None => {
            let at = instant.at.0;
            Stand { at, place: events.until(at), present: false }
        }
    }
}

fn read_exact(
    plan: &Plan,
    mut state: ExactState,
    instant: Instant<'_>,
    wanted: &[usize],
) -> Vec<Answer> {
    let whole_from = state.whole_from(plan).max(instant.complete_from.0);
    let lost_rows = state.has_lost_rows(plan) || instant.complete_from.0 > i64::MIN;
    let stand = stand(&mut state.events, instant);
    let events = &state.events;
    // Of aggregates that measure the same over the same events one window serves all.
    let mut windows: Vec<(usize, Range<usize>, Window<'_>)> = Vec::with_capacity(wanted.len());
    let answer = |&w: &usize| {
        let frame = plan.frames[plan.frame_of[w]];
        let span = span(plan, frame, events, stand, events.len());
        let own = usize::from(stand.present && span.contains(&stand.place));
        let empty = span.len() == own;
        let short = match frame {
            Frame::Range { far_us, near_us } => {
                plan.interval(far_us, near_us, stand.at).0 < whole_from
            }
            // What trimming left is a suffix of the order, so a frame is whole if its far end is in
            // it and lies where the store vouches for what it has.
            Frame::Rows { far, .. } => match stand.place.checked_sub(far as usize) {
                None => lost_rows,
                Some(_) if far == 0 => false,
                Some(first) => events.times[first] < instant.complete_from.0,
            },
        };
        if short {
            let value = Err(Unknown::NotWhole { from: Micros(whole_from) });
            return Answer { value, empty: false };
        }
        let measure = plan.measure_of[w];
        let known = windows.iter_mut().find(|(of, over, _)| *of == measure && *over == span);
        if let Some((_, _, window)) = known
            && window.turn_to(plan, w)
        {
            return Answer { value: window.value(), empty };
        }
        let mut window = Window::new(plan, w, events, span.clone());
        window.advance(plan, span.clone());
        let value = window.value();
        windows.push((measure, span, window));
        Answer { value, empty }
    };
    wanted.iter().map(answer).collect()
}
