//! Features for training: one key's events in order, and the rows that ask, in order; each
//! aggregate's window slides once over them. The windows are those of `read`, so the values are
//! too.

use crate::answer::Unknown;
use crate::events::Events;
use crate::group::Frame;
use crate::plan::Plan;
use crate::read::{Stand, span};
use crate::value::{Micros, Value};
use crate::window::Window;

/// A row that asks for features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its event time.
    pub at: Micros,
    /// Its place among the key's events, if it is one of them.
    pub own: Option<usize>,
    /// How many of the ordered events were known when it asked, its own among them; all, where
    /// history does not say.
    pub known: usize,
}

/// Answers one aggregate for all rows, in their order; `each` gets the row's number and the value.
///
/// The events are ordered by (event time, id) and each id is there once. The rows are ordered by
/// event time, and those with a place of their own by place; `known` never falls. [`is_ordered`]
/// tells; rows that are not go one at a time.
pub fn slide(
    plan: &Plan,
    aggregate: usize,
    events: &Events,
    rows: &[Ask],
    mut each: impl FnMut(usize, Result<Value, Unknown>),
) {
    let frame = plan.frames[plan.frame_of[aggregate]];
    let mut window = Window::new(plan, aggregate, events, 0..events.len());
    let mut edges = Edges::default();
    for (number, row) in rows.iter().enumerate() {
        let range = match (frame, row.own) {
            (Frame::Range { far_us, near_us }, _) => {
                let (from, to) = plan.interval(far_us, near_us, row.at.0);
                edges.reach(events, from, to, row.known)
            }
            (Frame::Rows { .. }, own) => {
                let place = own.unwrap_or_else(|| events.until(row.at.0).min(row.known));
                let stand = Stand { at: row.at.0, place, present: own.is_some() };
                span(plan, frame, events, stand, row.known)
            }
        };
        window.advance(plan, range);
        each(number, window.value());
    }
}

/// Whether these rows may slide: nothing that a window has passed comes back.
pub fn is_ordered(rows: &[Ask]) -> bool {
    rows.windows(2).all(|w| {
        // A row without a place stands behind all events of its time.
        let place = |row: &Ask| row.own.unwrap_or(usize::MAX);
        let is_later = w[0].at < w[1].at || place(&w[0]) <= place(&w[1]);
        let places = w[0].own.unwrap_or(0) <= place(&w[1]);
        w[0].at <= w[1].at && w[0].known <= w[1].known && is_later && places
    })
}

/// Ends of a RANGE frame, found by walking on from the last ones.
#[derive(Default)]
struct Edges {
    start: usize,
    end: usize,
}

impl Edges {
    fn reach(
        &mut self,
        events: &Events,
        from: i64,
        to: i64,
        known: usize,
    ) -> std::ops::Range<usize> {
        while self.start < events.len() && events.times[self.start] < from {
            self.start += 1;
        }
        while self.end < events.len() && events.times[self.end] <= to {
            self.end += 1;
        }
        let end = self.end.min(known);
        self.start.min(end)..end
    }
}
