//! The bins of a key, in the order of their starts. One that nobody has touched stays as the bytes
//! that it came from: a read opens those that its frames hold, a fold those that take an event in,
//! and a key may have ten thousands of them.
//!
//! ```text
//! bins    n varint │ bin │ bin │ …, ascending
//! bin     start: first zigzag, then deltas │ byte length varint │ sealed
//! sealed  newest zigzag │ events varint │ partial │ partial │ …        one partial a measure
//! ```

use crate::aggregate::Partial;
use crate::codec::{Reader, put_i64, put_u64};
use crate::events::Events;
use crate::plan::Plan;
use std::collections::VecDeque;

/// Partials of sealed events: of one bin, or of all that is older than the bins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    /// The newest event time in it.
    pub(crate) newest: i64,
    /// How many events it holds.
    pub(crate) events: u64,
    pub(crate) partials: Vec<Partial>,
}

impl Sealed {
    pub(super) fn empty(plan: &Plan) -> Sealed {
        let partials = plan.measures.iter().map(|m| Partial::empty(&plan.group, m)).collect();
        Sealed { newest: i64::MIN, events: 0, partials }
    }

    /// Takes in the event at `i`.
    pub(super) fn add(&mut self, plan: &Plan, events: &Events, i: usize) {
        self.newest = self.newest.max(events.times[i]);
        self.events = self.events.saturating_add(1);
        for (partial, measure) in self.partials.iter_mut().zip(&plan.measures) {
            partial.add(measure, events, i);
        }
    }

    pub(super) fn merge(&mut self, more: &Sealed) {
        self.newest = self.newest.max(more.newest);
        self.events = self.events.saturating_add(more.events);
        self.partials.iter_mut().zip(&more.partials).for_each(|(a, b)| a.merge(b));
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_i64(out, self.newest);
        put_u64(out, self.events);
        self.partials.iter().for_each(|partial| partial.put(out));
    }

    pub(super) fn read(plan: &Plan, input: &mut Reader<'_>) -> Option<Sealed> {
        let (newest, events) = (input.i64()?, input.u64()?);
        let partials = plan.measures.iter().map(|m| Partial::read(&plan.group, m, input));
        Some(Sealed { newest, events, partials: partials.collect::<Option<_>>()? })
    }
}

/// One bin, opened or not.
pub(crate) enum Bin<'a> {
    Stored(&'a [u8]),
    Open(Sealed),
}

impl<'a> Bin<'a> {
    fn open(self, plan: &Plan) -> Option<Sealed> {
        match self {
            Bin::Open(sealed) => Some(sealed),
            Bin::Stored(bytes) => {
                let mut input = Reader::new(bytes);
                Sealed::read(plan, &mut input).filter(|_| input.is_empty())
            }
        }
    }

    /// Its newest event time and how many events it holds.
    pub(crate) fn head(&self) -> Option<(i64, u64)> {
        match self {
            Bin::Open(sealed) => Some((sealed.newest, sealed.events)),
            Bin::Stored(bytes) => {
                let mut input = Reader::new(bytes);
                Some((input.i64()?, input.u64()?))
            }
        }
    }

    /// Gives the partials of the measures that are `needed` to `each`, with the measure's place.
    /// `None` if the bytes are no bin.
    pub(crate) fn each(
        &self,
        plan: &Plan,
        needed: &[bool],
        mut each: impl FnMut(usize, &Partial),
    ) -> Option<()> {
        let mut input = match self {
            Bin::Stored(bytes) => Reader::new(bytes),
            Bin::Open(sealed) => {
                let partials = sealed.partials.iter().enumerate().filter(|(m, _)| needed[*m]);
                partials.for_each(|(m, partial)| each(m, partial));
                return Some(());
            }
        };
        (input.i64()?, input.u64()?);
        for (m, measure) in plan.measures.iter().enumerate() {
            if needed[m] {
                each(m, &Partial::read(&plan.group, measure, &mut input)?);
            } else {
                Partial::skip(&plan.group, measure, &mut input)?;
            }
        }
        input.is_empty().then_some(())
    }
}

/// All bins of a key.
#[derive(Default)]
pub(crate) struct Bins<'a> {
    all: VecDeque<(i64, Bin<'a>)>,
}

impl<'a> Bins<'a> {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn place(&self, start: i64) -> usize {
        self.all.partition_point(|(other, _)| *other < start)
    }

    /// The bins from one start to another, both in.
    pub(crate) fn within(&self, from: i64, to: i64) -> impl Iterator<Item = &(i64, Bin<'a>)> {
        self.all.range(self.place(from)..).take_while(move |(start, _)| *start <= to)
    }

    /// The bin at `start`, opened; made if it is not there. `None` if its bytes are no bin.
    pub(super) fn open(&mut self, plan: &Plan, start: i64) -> Option<&mut Sealed> {
        let place = self.place(start);
        if self.all.get(place).is_none_or(|(other, _)| *other != start) {
            self.all.insert(place, (start, Bin::Open(Sealed::empty(plan))));
        }
        let bin = &mut self.all[place].1;
        if let Bin::Stored(bytes) = *bin {
            *bin = Bin::Open(Bin::Stored(bytes).open(plan)?);
        }
        match bin {
            Bin::Open(sealed) => Some(sealed),
            Bin::Stored(_) => None,
        }
    }

    /// Takes out the first bin if it starts before `edge`.
    pub(super) fn pop_before(&mut self, edge: i64) -> Option<Bin<'a>> {
        self.all.front().filter(|(start, _)| *start < edge)?;
        self.all.pop_front().map(|(_, bin)| bin)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.all.len() as u64);
        let (mut last, mut open) = (None, Vec::new());
        for (start, bin) in &self.all {
            match last.replace(*start) {
                None => put_i64(out, *start),
                // Ascending, so the delta is above 0; wrapping holds where it passes 2^63.
                Some(last) => put_u64(out, start.wrapping_sub(last) as u64),
            }
            let bytes = match bin {
                Bin::Stored(bytes) => bytes,
                Bin::Open(sealed) => {
                    open.clear();
                    sealed.put(&mut open);
                    open.as_slice()
                }
            };
            put_u64(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }

    pub(super) fn read(input: &mut Reader<'a>) -> Option<Bins<'a>> {
        // A start, a length, a newest time and a count take at least a byte each.
        let n = input.count(4)?;
        let mut all: VecDeque<(i64, Bin<'a>)> = VecDeque::with_capacity(n);
        for _ in 0..n {
            let start = match all.back() {
                None => input.i64()?,
                Some((last, _)) => {
                    let delta = Some(input.u64()?).filter(|&delta| delta > 0)?;
                    i64::try_from(i128::from(*last) + i128::from(delta)).ok()?
                }
            };
            let length = input.count(1)?;
            all.push_back((start, Bin::Stored(input.take(length)?)));
        }
        Some(Bins { all })
    }
}

/// Joins a bin to what is held, if anything is. `None` if its bytes are no bin.
pub(super) fn join(held: &mut Option<Sealed>, bin: Bin<'_>, plan: &Plan) -> Option<()> {
    let more = bin.open(plan)?;
    match held {
        Some(held) => held.merge(&more),
        None => *held = Some(more),
    }
    Some(())
}
