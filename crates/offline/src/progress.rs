//! How far a long run has come, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading files; counted in bytes of them.
    Read,
    /// Answering; counted in rows, once for each look-up of the view.
    Answer,
    /// Evaluating the select list and writing; counted in rows.
    Write,
}

/// How far a phase has come. `done` reaches `total` at the end of the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// How much of it is done, in the phase's unit.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// Is told of progress: many times a second, from any thread, in no strict order.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Sync);

/// Nobody is told.
pub const UNWATCHED: Watch<'static> = &|_| {};

/// Counts a phase that several threads advance.
pub(crate) struct Meter<'a> {
    watch: Watch<'a>,
    phase: Phase,
    done: AtomicU64,
    total: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(watch: Watch<'a>, phase: Phase, total: u64) -> Meter<'a> {
        watch(Progress { phase, done: 0, total });
        Meter { watch, phase, done: AtomicU64::new(0), total }
    }

    pub(crate) fn add(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        (self.watch)(Progress { phase: self.phase, done, total: self.total });
    }
}
