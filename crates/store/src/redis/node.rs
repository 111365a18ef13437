//! A server and the connections to it: one for reads and one for writes, so that a batch of appends
//! does not stand before an answer.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::{Dial, Link, down};
use super::url::Place;
use crate::StoreError;

/// Wait after the first failure to connect; doubled with each that follows.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Longest wait: what a server that is back costs at most in answers.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Reads,
    Writes,
}

/// One server.
pub(super) struct Node {
    pub(super) place: Place,
    lanes: [Mutex<Option<Arc<Link>>>; 2],
    /// One opens at a time; the others wait for it.
    opening: [tokio::sync::Mutex<()>; 2],
    pause: Mutex<Pause>,
    /// Its policy on a full memory may take keys away.
    evicts: AtomicBool,
}

#[derive(Clone, Debug)]
struct Pause {
    wait: Duration,
    until: Option<(Instant, StoreError)>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("place", &self.place).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    pub(super) fn new(place: Place) -> Self {
        let pause = Mutex::new(Pause { wait: FIRST_WAIT, until: None });
        Self {
            place,
            lanes: Default::default(),
            opening: Default::default(),
            pause,
            evicts: AtomicBool::new(false),
        }
    }

    /// The open connection, if there is one.
    pub(super) fn live(&self, lane: Lane) -> Option<Arc<Link>> {
        lock(&self.lanes[lane as usize]).as_ref().filter(|link| link.is_live()).cloned()
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// Why there is none; for a while after a failure the same again, without trying.
    pub(super) async fn link(
        self: &Arc<Self>,
        lane: Lane,
        dial: &Arc<Dial>,
    ) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.live(lane) {
            return Ok(link);
        }
        // A task of its own: the caller's deadline must not keep the failure from being noted.
        let (node, dial) = (Arc::clone(self), Arc::clone(dial));
        let opening = tokio::spawn(async move { node.open(lane, &dial).await });
        opening.await.unwrap_or_else(|_| Err(down(&self.place, "the process ends")))
    }

    async fn open(&self, lane: Lane, dial: &Dial) -> Result<Arc<Link>, StoreError> {
        let _turn = self.opening[lane as usize].lock().await;
        if let Some(link) = self.live(lane) {
            return Ok(link);
        }
        if let Some((until, error)) = &lock(&self.pause).until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match dial.link(&self.place).await {
            Ok(link) => {
                let link = Arc::new(link);
                self.set_evicts(link.evicts);
                *lock(&self.pause) = Pause { wait: FIRST_WAIT, until: None };
                *lock(&self.lanes[lane as usize]) = Some(Arc::clone(&link));
                Ok(link)
            }
            Err(error) => {
                let mut pause = lock(&self.pause);
                pause.until = Some((Instant::now() + pause.wait, error.clone()));
                pause.wait = (pause.wait * 2).min(LONGEST_WAIT);
                Err(error)
            }
        }
    }

    /// Whether it may take keys away, as last seen.
    pub(super) fn evicts(&self) -> bool {
        self.evicts.load(Ordering::Relaxed)
    }

    pub(super) fn set_evicts(&self, evicts: bool) {
        self.evicts.store(evicts, Ordering::Relaxed);
    }

    /// Closes both connections: they lead to a server that is no longer what it was.
    pub(super) fn retire(&self) {
        for lane in &self.lanes {
            if let Some(link) = lock(lane).take() {
                link.retire();
            }
        }
    }
}
