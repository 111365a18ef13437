//! Features from state: frames evaluated at an instant, for a request.

use crate::aggregate::Partial;
use crate::answer::{Answer, Unknown};
use crate::codec::Corrupt;
use crate::events::{Event, Events};
use crate::group::{Frame, Keep};
use crate::plan::Plan;
use crate::state::{ExactState, Limits, PartialState, Stored};
use crate::value::{Micros, Value};
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
            let (state, _) = PartialState::load(plan, key, stored)?;
            let counted = instant.own.map_or(Counted::No, |own| counted(plan, &state, own));
            let answer = |&w: &usize| read_partials(plan, &state, instant, counted, w);
            Ok(wanted.iter().map(answer).collect())
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

fn read_exact(
    plan: &Plan,
    mut state: ExactState,
    instant: Instant<'_>,
    wanted: &[usize],
) -> Vec<Answer> {
    let at = instant.at.0;
    let whole_from = state.whole_from(plan).max(instant.complete_from.0);
    let lost_rows = state.has_lost_rows(plan) || instant.complete_from.0 > i64::MIN;
    let stand = match instant.own {
        Some(own) => {
            let (place, _) = state.events.put(own);
            Stand { at: own.time, place, present: true }
        }
        None => Stand { at, place: state.events.until(at), present: false },
    };
    let events = &state.events;
    let answer = |&w: &usize| {
        let frame = plan.frames[plan.frame_of[w]];
        let span = span(plan, frame, events, stand, events.len());
        let own = usize::from(stand.present && span.contains(&stand.place));
        let empty = span.len() == own;
        let short = match frame {
            Frame::Range { far_us, near_us } => {
                plan.interval(far_us, near_us, stand.at).0 < whole_from
            }
            // The state holds a suffix of the order, so a frame is whole if its far end is in it.
            Frame::Rows { far, .. } => lost_rows && stand.place < far as usize,
        };
        if short {
            let value = Err(Unknown::NotWhole { from: Micros(whole_from) });
            return Answer { value, empty: false };
        }
        let mut window = Window::new(plan, w, events);
        window.advance(plan, span);
        Answer { value: window.value(), empty }
    };
    wanted.iter().map(answer).collect()
}

fn read_partials(
    plan: &Plan,
    state: &PartialState,
    instant: Instant<'_>,
    counted: Counted,
    w: usize,
) -> Answer {
    let aggregate = &plan.group.aggregates[w];
    let measure = &plan.measures[plan.measure_of[w]];
    let Frame::Range { far_us, near_us } = aggregate.frame else {
        return Answer { value: Ok(Value::Null), empty: true };
    };
    let at = instant.own.map_or(instant.at.0, |own| own.time);
    let (from, to) = plan.interval(far_us, near_us, at);
    let unknown = |why| Answer { value: Err(why), empty: false };
    let trimmed = if far_us.is_none() { i64::MIN } else { state.whole_from(plan) };
    let whole_from = trimmed.max(instant.complete_from.0);
    if from < whole_from {
        return unknown(Unknown::NotWhole { from: Micros(whole_from) });
    }
    let mut sum = Partial::empty(&plan.group, measure);
    let mut events = 0u64;
    let bins = state.bins.range(plan.bin(from)..);
    let floor = state.floor.iter().filter(|_| far_us.is_none());
    for sealed in floor.chain(bins.take_while(|(start, _)| **start <= to).map(|(_, s)| s)) {
        if sealed.newest > to {
            return unknown(Unknown::HoldsLater { newest: Micros(sealed.newest) });
        }
        sum.merge(&sealed.partials[plan.measure_of[w]]);
        events = events.saturating_add(sealed.events);
    }
    let own_raw = instant.own.and_then(|own| state.raw.find(&own.id));
    for i in state.raw.before(from)..state.raw.until(to) {
        if Some(i) != own_raw {
            sum.add(measure, &state.raw, i);
            events = events.saturating_add(1);
        }
    }
    if let Some(own) = instant.own {
        let within = |time: i64| (from..=to).contains(&time);
        match counted {
            Counted::Sealed { time } if time == own.time => {
                events = events.saturating_sub(u64::from(within(time)));
            }
            Counted::Sealed { time } if within(time) => return unknown(Unknown::OwnUnsure),
            Counted::Unsure if within(own.time) => return unknown(Unknown::OwnUnsure),
            _ if within(own.time) => {
                let mut one = Events::new(&plan.group.slots);
                one.push(own.time, own.id.clone(), &own.slots);
                sum.add(measure, &one, 0);
            }
            _ => {}
        }
    }
    let kind = aggregate.arg.map_or(crate::value::Kind::Int, |s| plan.group.slots[s].clone());
    Answer { value: sum.finish(&aggregate.func, &kind), empty: events == 0 }
}

/// How the state has counted the request's own event.
#[derive(Clone, Copy)]
enum Counted {
    /// In a sealed partial, out of which it cannot be taken again. Events are immutable, so one with
    /// the request's id and time is the request's own.
    Sealed { time: i64 },
    /// It is raw (and replaced by the request's), or not there.
    No,
    /// It is older than the oldest id that is still known.
    Unsure,
}

fn counted(plan: &Plan, state: &PartialState, own: &Event) -> Counted {
    if let Some((time, _)) = state.recent.iter().find(|(_, id)| *id == own.id) {
        return Counted::Sealed { time: *time };
    }
    let young = own.time >= state.newest.saturating_sub(plan.raw_us);
    let oldest = state.recent.first().map(|(time, _)| *time);
    match oldest {
        Some(oldest) if state.forgot && !young && own.time <= oldest => Counted::Unsure,
        _ => Counted::No,
    }
}
