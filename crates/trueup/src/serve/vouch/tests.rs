//! A randomised model of fills beside a pipeline, on `core`'s bytes: a log whose beginning goes, a
//! worker that stops, loses and rewinds, a database that lags, values that expire, a store that is
//! flushed, fills that come late and in any order. Whatever the judge lets count must hold all that
//! it speaks of; and with any of its rules taken out there are runs in which it does not.

use super::Judge;
use std::collections::BTreeSet;
use trueup_core::testing::Dice;
use trueup_core::{
    Aggregate, Event, Frame, Func, Group, Id, IdKind, Instant, Keep, Key, Limits, Micros, Plan,
    Stored, Vouch, fill, fold, receipts, record, vouched,
};
use trueup_store::Meta;

/// How far back the frame reaches. All times are in a unit of no meaning.
const FAR: i64 = 40;
const LATENESS: i64 = 30;
const FUTURE: i64 = 10;

/// The bound on staleness; the database lags at most so much.
const BOUND: i64 = 20;

/// Instants that lie further back may see what has expired.
const SLACK: i64 = 20;

/// After how long a value may expire that nobody writes to: above what instants see that do not.
const KEPT: i64 = FAR + FUTURE + 2 * SLACK + 5;

/// The oldest question of which a fill still lands: far less than what a value lives.
const MAX_AGE: i64 = 30;

const RUNS: u64 = 20_000;
const STEPS: u64 = 150;

/// Which rule of the judge is taken out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Off {
    Nothing,
    /// The database is taken to have what the log has.
    Lag,
    /// Events are taken to come at once.
    Lateness,
    /// The marker is taken to cover everything.
    Marker,
}

/// An event: its place among all is its id.
#[derive(Clone, Copy, Debug)]
struct Happened {
    time: i64,
    /// When the log has it.
    log: i64,
    /// When the database has it.
    there: i64,
}

/// A fill on its way.
struct Pending {
    records: Vec<u8>,
    vouch: Vouch,
}

struct World {
    dice: Dice,
    off: Off,
    plan: Plan,
    key: Key,
    now: i64,
    events: Vec<Happened>,
    /// The value, if there is one, and when its time to live was last set.
    value: Option<(Option<Vec<u8>>, Vec<u8>)>,
    written: i64,
    meta: Meta,
    /// The place of the next event that the worker applies; what the log has begins at `first`.
    next: usize,
    first: usize,
    /// Whether the store was flushed, and the worker has not seen it.
    lost: bool,
    pending: Vec<Pending>,
}

impl World {
    fn new(seed: u64, off: Off) -> World {
        let frame = Frame::Range { far_us: Some(FAR), near_us: 0 };
        let count = Aggregate { func: Func::Count, arg: None, filter: None, frame };
        let group = Group {
            keep: Keep::Exact,
            id: IdKind::Int,
            slots: vec![],
            aggregates: vec![count],
            // Trimming is not what is tried here.
            lateness_us: 1 << 40,
            future_us: FUTURE,
            reorder_us: 0,
        };
        World {
            dice: Dice::new(seed),
            off,
            plan: Plan::new(group),
            key: Key::of(&[]),
            now: 1_000,
            events: Vec::new(),
            value: None,
            written: 0,
            meta: Meta::default(),
            next: 0,
            first: 0,
            lost: true,
            pending: Vec::new(),
        }
    }

    fn record(&self, nth: usize, out: &mut Vec<u8>) {
        let id = Id::Int(nth as i64);
        let event = Event { time: self.events[nth].time, id, slots: vec![] };
        record(self.key.bytes(), &event, None, out);
    }

    fn below(&mut self, n: i64) -> i64 {
        self.dice.below(n as u64) as i64
    }

    fn stored(value: &Option<(Option<Vec<u8>>, Vec<u8>)>) -> Stored<'_> {
        let parts = value.as_ref().map(|(base, tail)| Stored { base: base.as_deref(), tail });
        parts.unwrap_or_default()
    }

    /// One step of somebody; whether a read found a hole.
    fn step(&mut self) -> bool {
        self.now += self.below(4);
        match self.dice.below(20) {
            0..=5 => self.happen(),
            6..=9 => self.work(),
            10 => self.compact(),
            11 if self.dice.one_in(4) => self.flush(),
            11 => self.expire(),
            12 => self.trim_log(),
            13 | 14 => self.ask(),
            15 | 16 => self.land(),
            _ => return self.read(),
        }
        false
    }

    fn happen(&mut self) {
        self.now += 1;
        let log = self.now;
        // The latest that may be are what the rules are made for.
        let behind = if self.dice.one_in(2) { LATENESS } else { self.below(LATENESS + 1) };
        let time = if self.dice.one_in(4) { log + self.below(FUTURE + 1) } else { log - behind };
        let there = log + if self.dice.one_in(2) { BOUND } else { self.below(BOUND + 1) };
        self.events.push(Happened { time, log, there });
    }

    fn work(&mut self) {
        if self.lost && self.dice.one_in(2) {
            // It looks, and begins with what the log has.
            (self.lost, self.next) = (false, self.first);
            self.meta.began_us.get_or_insert(self.now);
            if self.dice.one_in(2) {
                self.backfill();
            }
        }
        let more = self.below(6) as usize;
        let end = (self.next + more).min(self.events.len());
        for nth in self.next..end {
            if !self.lost {
                let mut bytes = Vec::new();
                self.record(nth, &mut bytes);
                self.value.get_or_insert_default().1.extend(bytes);
                self.written = self.now;
            }
        }
        self.next = end;
        if !self.lost && self.dice.one_in(2) {
            self.tell();
        }
    }

    /// A history of what was before the log, from some time on.
    fn backfill(&mut self) {
        let since = self.now - self.below(60);
        for nth in (0..self.first).filter(|&nth| self.events[nth].time >= since) {
            let mut bytes = Vec::new();
            self.record(nth, &mut bytes);
            self.value.get_or_insert_default().1.extend(bytes);
            self.written = self.now;
        }
        self.meta.complete_since_us = Some(since);
    }

    /// The worker's checkpoint, and the marker with the first of them.
    fn tell(&mut self) {
        let since = match self.first {
            0 => i64::MIN,
            first => self.events.get(first).map_or(i64::MAX, |event| event.log + FUTURE + 1),
        };
        self.meta.complete_since_us.get_or_insert(since);
        let last = self.next.checked_sub(1).map(|last| self.events[last].log);
        let fresh = if self.next == self.events.len() { Some(self.now) } else { last };
        self.meta.fresh_us = self.meta.fresh_us.max(fresh);
    }

    fn compact(&mut self) {
        if self.value.is_some() {
            let (key, stored) = (self.key.bytes(), World::stored(&self.value));
            let folded = fold(&self.plan, key, stored, &Limits::default()).expect("own bytes");
            self.value = Some((Some(folded.base), Vec::new()));
        }
    }

    fn flush(&mut self) {
        (self.value, self.meta, self.lost) = (None, Meta::default(), true);
    }

    fn expire(&mut self) {
        if self.now - self.written >= KEPT * 7 / 8 {
            self.value = None;
        }
    }

    /// The log's beginning goes, but for what the worker has not read.
    fn trim_log(&mut self) {
        if self.dice.one_in(3) {
            self.first = self.first.max(self.next.saturating_sub(self.below(8) as usize));
        }
    }

    fn ask(&mut self) {
        let from = self.now - FAR - self.below(20);
        let mut records = Vec::new();
        for nth in 0..self.events.len() {
            if self.events[nth].time >= from && self.events[nth].there <= self.now {
                self.record(nth, &mut records);
            }
        }
        let vouch = Vouch { from: Micros(from), as_of: Micros(self.now) };
        self.pending.push(Pending { records, vouch });
    }

    fn land(&mut self) {
        let oldest = self.now - MAX_AGE;
        self.pending.retain(|pending| pending.vouch.as_of.0 >= oldest);
        if self.pending.is_empty() {
            return;
        }
        let at = self.dice.below(self.pending.len() as u64) as usize;
        let Pending { records, vouch } = self.pending.swap_remove(at);
        let (key, stored) = (self.key.bytes(), World::stored(&self.value));
        let filled = fill(&self.plan, key, stored, &records, vouch, &Limits::default());
        let filled = filled.expect("own bytes").expect("it fits");
        match &mut self.value {
            Some(value) => *value = (Some(filled.base), Vec::new()),
            none => {
                *none = Some((Some(filled.base), Vec::new()));
                self.written = self.now;
            }
        }
        self.meta.began_us.get_or_insert(self.now);
    }

    /// Whether what is let count lacks an event.
    fn read(&mut self) -> bool {
        let far = if self.dice.one_in(3) { 70 } else { 8 };
        let at = self.now - self.below(far);
        let expired = at < self.now - SLACK
            && self.meta.began_us.is_some_and(|began| self.now >= began + KEPT * 7 / 8);
        let (key, stored) = (self.key.bytes(), World::stored(&self.value));
        let Some(vouch) = vouched(&self.plan, key, stored).expect("own bytes") else {
            return false;
        };
        let marked = Meta { complete_since_us: Some(i64::MIN), ..self.meta.clone() };
        let judge = Judge {
            meta: if self.off == Off::Marker { &marked } else { &self.meta },
            stale_before_us: self.now - BOUND,
            bound_us: if self.off == Off::Lag { 0 } else { BOUND },
            lateness_us: if self.off == Off::Lateness { 0 } else { LATENESS },
            may_have_expired: expired,
        };
        let Some(fresh) = judge.fresh_us(vouch, at) else { return false };
        assert!(fresh >= self.now - BOUND, "what is older is STALE, or asked for anew");
        if at - FAR < vouch.from.0 {
            return false;
        }
        let with_pipeline = judge.with_pipeline(vouch.as_of.0).is_some();
        let must = |event: &Happened| match with_pipeline {
            true => event.log <= fresh,
            false => event.there <= fresh,
        };
        let is_seen = |event: &Happened| (at - FAR..=at).contains(&event.time);
        let must: BTreeSet<i64> = (0..)
            .zip(&self.events)
            .filter(|(_, event)| is_seen(event) && must(event))
            .map(|(id, _)| id)
            .collect();
        let instant = Instant { at: Micros(at), own: None, complete_from: vouch.from };
        let limits = Limits::default();
        let held = receipts(&self.plan, key, stored, instant, &[0], &limits, usize::MAX);
        let held = held.expect("own bytes").remove(0).events;
        let is_held = |id: &i64| held.iter().any(|(_, held)| *held == Id::Int(*id));
        !must.iter().all(is_held)
    }
}

/// The first run that finds a hole.
fn hole(off: Off) -> Option<u64> {
    let is_holed = |seed: &u64| {
        let mut world = World::new(*seed, off);
        (0..STEPS).any(|_| world.step())
    };
    (0..RUNS).find(is_holed)
}

/// Row 42 and its kin: what the database lacked when it was asked, what a flush took and what a
/// worker has not brought again is missing in an answer that nobody marks.
#[test]
fn what_a_fill_is_let_vouch_for_is_there() {
    assert_eq!(hole(Off::Nothing), None, "the seed of a run that has a hole");
}

#[test]
fn with_a_rule_of_the_judge_taken_out_events_are_missing() {
    for off in [Off::Lag, Off::Lateness, Off::Marker] {
        let seed = hole(off).unwrap_or_else(|| panic!("{off:?} is of no use"));
        println!("without {off:?} run {seed} has a hole");
    }
}
