//! A group with what follows from it, worked out once: horizon, measures, distinct frames, and the
//! interval of event times that a frame spans at an instant.

use crate::aggregate::Measure;
use crate::group::{Frame, Group, Keep};

/// A group ready for use. Built once per definition; everything in it derives from the [`Group`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) group: Group,
    /// Distinct measures of the aggregates.
    pub(crate) measures: Vec<Measure>,
    /// For each aggregate, its measure.
    pub(crate) measure_of: Vec<usize>,
    /// Distinct frames.
    pub(crate) frames: Vec<Frame>,
    /// For each aggregate, its frame.
    pub(crate) frame_of: Vec<usize>,
    /// How far behind the newest event a bounded frame can see, lateness and future bound included.
    pub(crate) horizon_us: i64,
    /// How many of the newest events stay whatever their age.
    pub(crate) newest_rows: usize,
    /// Whether some frame is unbounded, so that what leaves the horizon goes into a floor and not
    /// away.
    pub(crate) unbounded: bool,
    /// How long events of a binned or lifetime group stay raw behind the newest.
    pub(crate) raw_us: i64,
}

impl Plan {
    /// Works out what follows from a group.
    pub fn new(group: Group) -> Plan {
        let mut measures = Vec::new();
        let mut frames = Vec::new();
        let measure_of = group.aggregates.iter().map(|a| place(&mut measures, Measure::of(a)));
        let measure_of = measure_of.collect();
        let frame_of = group.aggregates.iter().map(|a| place(&mut frames, a.frame)).collect();
        let (mut far, mut near, mut unbounded) = (0i64, 0i64, false);
        for frame in &frames {
            if let Frame::Range { far_us, near_us } = *frame {
                unbounded |= far_us.is_none();
                far = far.max(far_us.unwrap_or(0));
                near = near.max(near_us);
            }
        }
        let slack = group.lateness_us.saturating_add(group.future_us);
        let (horizon_us, raw_us) = match group.keep {
            Keep::Exact => (far.max(near).saturating_add(slack), i64::MAX),
            Keep::Binned { width_us, .. } => {
                let reach = far.max(near).saturating_add(width_us);
                (reach.saturating_add(slack).saturating_add(group.reorder_us), group.reorder_us)
            }
            Keep::Lifetime => (i64::MAX, near.saturating_add(group.reorder_us)),
        };
        let newest_rows = group.newest_rows();
        Plan {
            group,
            measures,
            measure_of,
            frames,
            frame_of,
            horizon_us,
            newest_rows,
            unbounded,
            raw_us,
        }
    }

    /// The group that it was built from.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// How far behind the newest event, in microseconds, anything can be seen: `None` where
    /// something is seen for ever, by an unbounded frame or a `ROWS` frame.
    pub fn horizon_us(&self) -> Option<i64> {
        let for_ever = self.unbounded || self.newest_rows > 0 || self.group.keep == Keep::Lifetime;
        (!for_ever).then_some(self.horizon_us)
    }

    /// The start of the bin that holds `time`; in groups without bins, `time` itself.
    pub(crate) fn bin(&self, time: i64) -> i64 {
        match self.group.keep {
            Keep::Binned { width_us, origin_us } => {
                let offset = i128::from(time) - i128::from(origin_us);
                let start = offset.div_euclid(i128::from(width_us)) * i128::from(width_us);
                clamp(start + i128::from(origin_us))
            }
            _ => time,
        }
    }

    /// The interval of event times, both ends in, that a RANGE frame spans at instant `t`.
    ///
    /// In a binned group the frame is on bin starts, and what comes after t is never in it.
    pub(crate) fn interval(&self, far_us: Option<i64>, near_us: i64, t: i64) -> (i64, i64) {
        let Keep::Binned { width_us, origin_us } = self.group.keep else {
            return (
                far_us.map_or(i64::MIN, |far| t.saturating_sub(far)),
                t.saturating_sub(near_us),
            );
        };
        let (width, origin) = (i128::from(width_us), i128::from(origin_us));
        let bin = i128::from(self.bin(t));
        let from = far_us.map_or(i64::MIN, |far| {
            let bound = bin - i128::from(far) - origin;
            clamp(-(-bound).div_euclid(width) * width + origin)
        });
        let bound = bin - i128::from(near_us) - origin;
        let last = bound.div_euclid(width) * width + origin + width - 1;
        (from, clamp(last).min(t))
    }
}

fn clamp(x: i128) -> i64 {
    x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn place<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}
