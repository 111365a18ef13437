//! A store that fails on cue: the n-th call of a verb, before or after it took effect; or that
//! waits on cue.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::StoreError;
use crate::store::{
    Answer, At, Batch, Detail, Early, Grown, Look, Plant, Read, Recorded, Space, Stats, Store, Swap,
};
use crate::survey::Survey;

/// A verb of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// [`Store::read`].
    Get,
    /// [`Store::record`].
    Record,
    /// [`Store::look`].
    Look,
    /// [`Store::append`].
    Append,
    /// [`Store::swap`].
    Swap,
    /// [`Store::plant`].
    Plant,
    /// [`Store::drop_space`].
    DropSpace,
    /// [`Store::spaces`].
    Spaces,
    /// [`Store::keys`].
    Keys,
    /// [`Store::note`].
    Note,
    /// [`Store::set_note`].
    SetNote,
    /// [`Store::sync`].
    Sync,
    /// [`Store::stats`].
    Stats,
    /// [`Store::survey`].
    Survey,
}

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing was done.
    Before,
    /// It was done, and the answer got lost.
    After,
    /// It does not fail: nothing is done before [`FaultyStore::release`]. The thread that polls it
    /// waits.
    Held,
}

/// Any store, with failures. Without a cue it is the store within.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    cues: Mutex<Cues>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Cues {
    calls: BTreeMap<Verb, u64>,
    fail: BTreeMap<(Verb, u64), When>,
    /// Whether calls are held that are to be.
    hold: bool,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Self {
        Self { inner, cues: Mutex::default(), released: Condvar::new() }
    }

    /// The `nth` call of `verb` from now on fails; 0 is the next.
    pub fn fail(&self, verb: Verb, nth: u64, when: When) {
        let mut cues = self.cues();
        let calls = cues.calls.get(&verb).copied().unwrap_or(0);
        cues.fail.insert((verb, calls + nth), when);
        cues.hold |= when == When::Held;
    }

    /// Lets the calls go on that are held, and those that were to be.
    pub fn release(&self) {
        self.cues().hold = false;
        self.released.notify_all();
    }

    fn wait(&self) {
        let held = self.released.wait_while(self.cues(), |cues| cues.hold);
        drop(held.unwrap_or_else(PoisonError::into_inner));
    }

    /// How often a verb was called.
    pub fn calls(&self, verb: Verb) -> u64 {
        self.cues().calls.get(&verb).copied().unwrap_or(0)
    }

    fn cues(&self) -> MutexGuard<'_, Cues> {
        self.cues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cue(&self, verb: Verb) -> Option<When> {
        let mut cues = self.cues();
        let calls = cues.calls.entry(verb).or_default();
        let now = (verb, *calls);
        *calls += 1;
        cues.fail.remove(&now)
    }

    fn play<'a, T: Send + 'a>(&'a self, verb: Verb, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let lost = StoreError::Unavailable { detail: format!("{verb:?} failed on cue") };
            match self.cue(verb) {
                None => call.await,
                Some(When::Before) => Err(lost),
                Some(When::After) => call.await.and(Err(lost)),
                Some(When::Held) => {
                    self.wait();
                    call.await
                }
            }
        })
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn read<'a>(&'a self, keys: &'a [At<'a>], detail: Detail) -> Answer<'a, Vec<Read>> {
        self.play(Verb::Get, self.inner.read(keys, detail))
    }

    fn record<'a>(
        &'a self,
        keys: &'a [At<'a>],
        early: &'a Early<'a>,
        detail: Detail,
    ) -> Answer<'a, Recorded> {
        self.play(Verb::Record, self.inner.record(keys, early, detail))
    }

    fn writes_block(&self) -> bool {
        self.inner.writes_block()
    }

    fn look<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Look> {
        self.play(Verb::Look, self.inner.look(spaces))
    }

    fn append<'a>(&'a self, batch: &'a Batch<'a>) -> Answer<'a, Vec<Grown>> {
        self.play(Verb::Append, self.inner.append(batch))
    }

    fn swap<'a>(&'a self, swaps: &'a [Swap<'a>]) -> Answer<'a, Vec<bool>> {
        self.play(Verb::Swap, self.inner.swap(swaps))
    }

    fn plant<'a>(&'a self, plant: &'a Plant<'a>) -> Answer<'a, bool> {
        self.play(Verb::Plant, self.inner.plant(plant))
    }

    fn drop_space<'a>(&'a self, space: Space) -> Answer<'a, ()> {
        self.play(Verb::DropSpace, self.inner.drop_space(space))
    }

    fn fence(&self) -> Answer<'_, ()> {
        self.inner.fence()
    }

    fn spaces(&self) -> Answer<'_, Vec<Space>> {
        self.play(Verb::Spaces, self.inner.spaces())
    }

    fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Vec<Vec<u8>>> {
        self.play(Verb::Keys, self.inner.keys(space, after, limit))
    }

    fn note<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.play(Verb::Note, self.inner.note(name))
    }

    fn set_note<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Answer<'a, bool> {
        self.play(Verb::SetNote, self.inner.set_note(name, expected, bytes))
    }

    fn sync(&self) -> Answer<'_, ()> {
        self.play(Verb::Sync, self.inner.sync())
    }

    fn stats(&self) -> Answer<'_, Stats> {
        self.play(Verb::Stats, self.inner.stats())
    }

    fn survey<'a>(&'a self, spaces: &'a [Space]) -> Answer<'a, Survey> {
        self.play(Verb::Survey, self.inner.survey(spaces))
    }

    fn checkpoint_every(&self) -> Duration {
        self.inner.checkpoint_every()
    }
}
