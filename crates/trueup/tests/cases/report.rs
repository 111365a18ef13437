//! One test a way: every case is tried, and what differs is told at the end, case by case.

use crate::case::{self, Case, DeadEvent, Expected};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a way found wrong with a case, and how much it compared.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) compared: usize,
    pub(crate) left_out: usize,
    pub(crate) wrong: Vec<String>,
}

/// A column as it was answered.
pub(crate) struct Column {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) value: String,
    /// `None` where the way has no statuses.
    pub(crate) status: Option<String>,
}

/// An event as it was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its line among the events, from 0.
    pub(crate) index: usize,
    /// The column at fault, and the reason; for ways that file both as one text, the second holds
    /// the first.
    pub(crate) column: Option<Option<String>>,
    pub(crate) reason: String,
}

/// Cases that are tried side by side: the ways that keep events wait for workers most of their
/// time.
const HANDS: usize = 8;

/// Tries every case and fails with all that was wrong.
pub(crate) fn each_case(way: impl Fn(&Case, &mut Findings) + Sync) {
    let cases = case::all();
    let next = AtomicUsize::new(0);
    let hand = || {
        let some = std::iter::from_fn(|| cases.get(next.fetch_add(1, Relaxed)));
        some.map(|case| (&case.name, tried(case, &way))).collect::<Vec<_>>()
    };
    let mut tried: Vec<_> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(hand)).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    tried.sort_by_key(|(name, _)| *name);
    let (mut all, mut failing) = (Findings::default(), 0);
    for (name, found) in tried {
        failing += usize::from(!found.wrong.is_empty());
        all.compared += found.compared;
        all.left_out += found.left_out;
        all.wrong.extend(found.wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    }
    let (values, left) = (all.compared, all.left_out);
    println!("{} cases, {values} values compared, {left} left out", cases.len());
    assert!(values > 0, "nothing was compared");
    let wrong = all.wrong.join("\n  ");
    assert!(all.wrong.is_empty(), "{failing} of {} cases differ:\n  {wrong}", cases.len());
}

fn tried(case: &Case, way: impl Fn(&Case, &mut Findings)) -> Findings {
    let mut found = Findings::default();
    let ended = catch_unwind(AssertUnwindSafe(|| way(case, &mut found)));
    if ended.is_err() {
        found.wrong.push("it panicked; the message is above".to_string());
    }
    found
}

impl Findings {
    /// Holds an answer against what is expected; `how` says which variant of the way it was.
    pub(crate) fn row(&mut self, request: usize, how: &str, expected: &Expected, found: &[Column]) {
        let names = found.iter().map(|column| &column.name);
        if !names.clone().eq(expected.features.iter().map(|(name, _)| name)) {
            let names: Vec<_> = names.collect();
            self.wrong.push(format!("request {request}{how}: the columns are {names:?}"));
            return;
        }
        for ((name, value), column) in expected.features.iter().zip(found) {
            self.compared += 1;
            let status = expected.statuses.get(name).map_or("PRESENT", String::as_str);
            let same_status = column.status.as_ref().is_none_or(|found| found == status);
            if *value != column.value || !same_status {
                let found = column.status.as_deref().unwrap_or("");
                self.wrong.push(format!(
                    "request {request}{how}, {name}: expected {value} {status}, found {} {found}",
                    column.value
                ));
            }
        }
    }

    /// Holds refused events against those that must be.
    pub(crate) fn dead(&mut self, how: &str, expected: &[DeadEvent], found: &[Refused]) {
        for dead in expected {
            self.compared += 1;
            let Some(refused) = found.iter().find(|refused| refused.index == dead.index) else {
                self.wrong.push(format!("event {}{how}: it was not refused", dead.index));
                continue;
            };
            let column = match &refused.column {
                Some(column) => *column == dead.column,
                None => dead.column.as_ref().is_none_or(|name| refused.reason.contains(name)),
            };
            if !column || !refused.reason.contains(&dead.reason_contains) {
                let (column, reason) = (&dead.column, &dead.reason_contains);
                self.wrong.push(format!(
                    "event {}{how}: expected {column:?} {reason:?}, found {refused:?}",
                    dead.index
                ));
            }
        }
        let expects = |refused: &&Refused| expected.iter().any(|dead| dead.index == refused.index);
        for refused in found.iter().filter(|refused| !expects(refused)) {
            self.wrong.push(format!("event {}{how} was refused: {refused:?}", refused.index));
        }
    }
}
