//! Groups and events from a seed: small domains, so that ties, repeats, NULLs and frame edges are
//! met all the time.

use crate::events::Event;
use crate::group::{Aggregate, Frame, Func, Group, Keep};
use crate::value::{Id, IdKind, Kind, Value};

/// A seeded source of choices: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same way for a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Puts a slice into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// The slots that generated groups have: an integer, a decimal, a double, a text, a boolean.
const SLOTS: [Kind; 5] =
    [Kind::Int, Kind::Decimal { scale: 2 }, Kind::Float, Kind::Text, Kind::Bool];
const FILTER: usize = 4;

/// A group of the given keeping with a dozen aggregates of all functions that it can keep.
pub fn any_group(dice: &mut Dice, keep: Keep) -> Group {
    let mut aggregates: Vec<Aggregate> = (0..12).map(|_| aggregate(dice, keep)).collect();
    if keep == Keep::Exact && dice.one_in(2) {
        aggregates.retain(|a| matches!(a.frame, Frame::Range { .. }));
    }
    Group {
        keep,
        id: IdKind::Int,
        slots: SLOTS.to_vec(),
        aggregates,
        lateness_us: dice.below(50) as i64,
        future_us: dice.below(20) as i64,
        reorder_us: dice.below(40) as i64,
    }
}

fn aggregate(dice: &mut Dice, keep: Keep) -> Aggregate {
    let (near, reach) = (dice.below(3) as i64 * 25, 1 + dice.below(150) as i64);
    let range = match keep {
        Keep::Lifetime => Frame::Range { far_us: None, near_us: near },
        Keep::Binned { .. } if dice.one_in(5) => Frame::Range { far_us: None, near_us: near },
        _ => Frame::Range { far_us: Some(near + reach), near_us: near },
    };
    let near = dice.below(2) as u32;
    let rows = Frame::Rows { far: near + dice.below(6) as u32, near };
    let exact = keep == Keep::Exact;
    let frame = if exact && dice.one_in(3) { rows } else { range };
    let numbers = [0, 1, 2];
    let any = [0, 1, 2, 3, 4];
    let filter = dice.one_in(3).then_some(FILTER);
    let (func, arg) = match dice.below(if exact { 20 } else { 16 }) {
        0 => (Func::Count, None),
        1 => (Func::Count, Some(*dice.pick(&any))),
        2 | 3 => (Func::Sum, Some(*dice.pick(&numbers))),
        4 => (Func::Avg, Some(*dice.pick(&numbers))),
        5 => (Func::Min, Some(*dice.pick(&any))),
        6 => (Func::Max, Some(*dice.pick(&any))),
        7 => (Func::VarPop, Some(*dice.pick(&numbers))),
        8 => (Func::VarSamp, Some(*dice.pick(&numbers))),
        9 => (Func::StddevPop, Some(*dice.pick(&numbers))),
        10 => (Func::StddevSamp, Some(*dice.pick(&numbers))),
        11 => (Func::First, Some(*dice.pick(&any))),
        12 => (Func::Last, Some(*dice.pick(&any))),
        13 => (Func::BoolAnd, Some(FILTER)),
        14 => (Func::BoolOr, Some(FILTER)),
        15 => (Func::ApproxDistinct, Some(*dice.pick(&any))),
        16 => (Func::CountDistinct, Some(*dice.pick(&any))),
        17 => {
            (Func::Percentile(*dice.pick(&[0.0, 0.25, 0.5, 0.9, 1.0])), Some(*dice.pick(&numbers)))
        }
        18 => {
            return Aggregate {
                func: Func::ArrayAgg,
                arg: Some(*dice.pick(&any)),
                filter,
                frame: rows,
            };
        }
        _ => {
            let n = 1 + dice.below(3) as u32;
            let frame = Frame::Rows { far: n, near: n };
            return Aggregate { func: Func::Lag, arg: Some(*dice.pick(&any)), filter: None, frame };
        }
    };
    Aggregate { func, arg, filter, frame }
}

/// `n` events for a group of [`any_group`], times within `span_us`; ids now and then come twice,
/// sometimes with other content.
pub fn events_for(dice: &mut Dice, n: usize, span_us: i64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::with_capacity(n);
    for i in 0..n {
        if i > 0 && dice.one_in(8) {
            let mut again = dice.pick(&events).clone();
            if dice.one_in(3) {
                again.slots = slots(dice);
                again.time += dice.below(5) as i64;
            }
            events.push(again);
            continue;
        }
        let time = 1_000_000 + dice.below(span_us as u64) as i64;
        events.push(Event { time, id: Id::Int(i as i64), slots: slots(dice) });
    }
    events
}

fn slots(dice: &mut Dice) -> Vec<Value> {
    let int = dice.below(20) as i64 - 8;
    let huge = if dice.one_in(9) { 1e15 } else { 1.0 };
    let values = vec![
        Value::Int(int),
        Value::Decimal(i128::from(dice.below(5000)) - 1000),
        Value::Float((dice.below(2000) as f64 - 700.0) / 8.0 * huge),
        Value::Text(["de", "fr", "us", "über"][dice.below(4) as usize].into()),
        Value::Bool(dice.one_in(2)),
    ];
    values.into_iter().map(|v| if dice.one_in(7) { Value::Null } else { v }).collect()
}
