//! Frames on partials: one pass over floor, bins and raw events answers all aggregates, and opens
//! only the bins and the measures that they need.

use super::Instant;
use crate::aggregate::Partial;
use crate::answer::{Answer, Unknown};
use crate::events::{Event, Events};
use crate::group::Frame;
use crate::plan::Plan;
use crate::state::PartialState;
use crate::value::{Kind, Micros, Value};

/// Answers the aggregates `wanted`. `None` if a bin's bytes are no bin.
pub(super) fn read_partials(
    plan: &Plan,
    state: &PartialState<'_>,
    instant: Instant<'_>,
    wanted: &[usize],
) -> Option<Vec<Answer>> {
    let mut sums: Vec<Sum> = wanted.iter().map(|&w| Sum::new(plan, state, instant, w)).collect();
    add_floor(&mut sums, state);
    add_bins(&mut sums, plan, state)?;
    let own_raw = instant.own.and_then(|own| state.raw.find(&own.id));
    for sum in sums.iter_mut().filter(|sum| sum.unknown.is_none()) {
        for i in state.raw.before(sum.from)..state.raw.until(sum.to) {
            if Some(i) != own_raw {
                sum.partial.add(&plan.measures[sum.measure], &state.raw, i);
                sum.events = sum.events.saturating_add(1);
            }
        }
    }
    if let Some(own) = instant.own {
        add_own(&mut sums, plan, state, own);
    }
    let finish = |(sum, &w): (Sum, &usize)| sum.finish(plan, w);
    Some(sums.into_iter().zip(wanted).map(finish).collect())
}

/// One aggregate on its way.
struct Sum {
    measure: usize,
    /// Its frame, both ends in; `None` at the old end if that is unbounded.
    from: i64,
    to: i64,
    /// The start of the first bin that the frame holds.
    first_bin: i64,
    unbounded: bool,
    partial: Partial,
    /// Events in the frame, the request's own not counted.
    events: u64,
    unknown: Option<Unknown>,
}

impl Sum {
    fn new(plan: &Plan, state: &PartialState<'_>, instant: Instant<'_>, w: usize) -> Sum {
        let measure = plan.measure_of[w];
        let partial = Partial::empty(&plan.group, &plan.measures[measure]);
        let at = instant.own.map_or(instant.at.0, |own| own.time);
        // Groups without the events themselves have no ROWS frames.
        let (far_us, near_us) = match plan.group.aggregates[w].frame {
            Frame::Range { far_us, near_us } => (far_us, near_us),
            Frame::Rows { .. } => (Some(0), 0),
        };
        let (from, to) = plan.interval(far_us, near_us, at);
        let unbounded = far_us.is_none();
        let trimmed = if unbounded { i64::MIN } else { state.whole_from(plan) };
        let whole_from = trimmed.max(instant.complete_from.0);
        let short = Unknown::NotWhole { from: Micros(whole_from) };
        let unknown = (from < whole_from).then_some(short);
        let first_bin = plan.bin(from);
        Sum { measure, from, to, first_bin, unbounded, partial, events: 0, unknown }
    }

    /// Takes note of a sealed partial that the frame holds, and says whether it may be added.
    fn admits(&mut self, newest: i64, events: u64) -> bool {
        if newest > self.to {
            self.unknown = Some(Unknown::HoldsLater { newest: Micros(newest) });
            return false;
        }
        self.events = self.events.saturating_add(events);
        true
    }

    fn holds_bin(&self, start: i64) -> bool {
        self.unknown.is_none() && (self.first_bin..=self.to).contains(&start)
    }

    fn finish(self, plan: &Plan, w: usize) -> Answer {
        if let Some(why) = self.unknown {
            return Answer { value: Err(why), empty: false };
        }
        let aggregate = &plan.group.aggregates[w];
        if let Frame::Rows { .. } = aggregate.frame {
            return Answer { value: Ok(Value::Null), empty: true };
        }
        let kind = aggregate.arg.map_or(&Kind::Int, |slot| &plan.group.slots[slot]);
        let value = self.partial.finish(&aggregate.func, kind);
        Answer { value, empty: self.events == 0 }
    }
}

fn add_floor(sums: &mut [Sum], state: &PartialState<'_>) {
    let Some(floor) = &state.floor else { return };
    for sum in sums.iter_mut().filter(|sum| sum.unbounded && sum.unknown.is_none()) {
        if sum.admits(floor.newest, floor.events) {
            sum.partial.merge(&floor.partials[sum.measure]);
        }
    }
}

fn add_bins(sums: &mut [Sum], plan: &Plan, state: &PartialState<'_>) -> Option<()> {
    let asking = || sums.iter().filter(|sum| sum.unknown.is_none());
    let Some(from) = asking().map(|sum| sum.first_bin).min() else { return Some(()) };
    let to = asking().map(|sum| sum.to).max()?;
    let mut needed = vec![false; plan.measures.len()];
    let mut takers = Vec::with_capacity(sums.len());
    for (start, bin) in state.bins.within(from, to) {
        needed.fill(false);
        takers.clear();
        let (newest, events) = bin.head()?;
        for (place, sum) in sums.iter_mut().enumerate() {
            if sum.holds_bin(*start) && sum.admits(newest, events) {
                needed[sum.measure] = true;
                takers.push(place);
            }
        }
        if takers.is_empty() {
            continue;
        }
        bin.each(plan, &needed, |measure, partial| {
            for &place in &takers {
                if sums[place].measure == measure {
                    sums[place].partial.merge(partial);
                }
            }
        })?;
    }
    Some(())
}

/// How the state has counted the request's own event.
#[derive(Clone, Copy)]
enum Counted {
    /// In a sealed partial, out of which it cannot be taken again. Events are immutable, so one
    /// with the request's id and time is the request's own.
    Sealed { time: i64 },
    /// It is raw (and replaced by the request's), or not there.
    No,
    /// It is older than the oldest id that is still known.
    Unsure,
}

impl Counted {
    fn of(own: &Event, plan: &Plan, state: &PartialState<'_>) -> Counted {
        if let Some((time, _)) = state.recent.iter().find(|(_, id)| *id == own.id) {
            return Counted::Sealed { time: *time };
        }
        let young = own.time >= state.newest.saturating_sub(plan.raw_us);
        let oldest = state.recent.front().map(|(time, _)| *time);
        match oldest {
            Some(oldest) if state.forgot && !young && own.time <= oldest => Counted::Unsure,
            _ => Counted::No,
        }
    }
}

fn add_own(sums: &mut [Sum], plan: &Plan, state: &PartialState<'_>, own: &Event) {
    let mut one = Events::new(&plan.group.slots);
    one.push(own.time, own.id.clone(), &own.slots);
    let counted = Counted::of(own, plan, state);
    for sum in sums.iter_mut().filter(|sum| sum.unknown.is_none()) {
        let frame = sum.from..=sum.to;
        match counted {
            Counted::Sealed { time } if time == own.time => {
                sum.events = sum.events.saturating_sub(u64::from(frame.contains(&time)));
            }
            Counted::Sealed { time } if frame.contains(&time) => {
                sum.unknown = Some(Unknown::OwnUnsure);
            }
            _ if !frame.contains(&own.time) => {}
            Counted::Unsure => sum.unknown = Some(Unknown::OwnUnsure),
            _ => sum.partial.add(&plan.measures[sum.measure], &one, 0),
        }
    }
}
