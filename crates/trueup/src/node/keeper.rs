//! The thread that keeps a process in step with the note: beside the server, which never waits for
//! it.

use super::follow::Follower;
use crate::ingest::IngestError;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks whether the workers go on.
const WATCH: Duration = Duration::from_millis(200);

/// How often it looks at the note: everybody is to know of a change within a second.
const FOLLOW: Duration = Duration::from_millis(400);

/// A running keeper; told to end when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    thread: Option<JoinHandle<Result<(), IngestError>>>,
    end: Arc<End>,
}

/// The word that a thread is to end.
#[derive(Debug, Default)]
pub(super) struct End {
    said: Mutex<bool>,
    heard: Condvar,
}

impl End {
    pub(super) fn say(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }

    /// Whether it was said within this time.
    pub(super) fn within(&self, bound: Duration) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(said, bound, |said| !*said);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Keeper {
    pub(super) fn start(follower: Follower) -> Result<Keeper, IngestError> {
        let end = Arc::new(End::default());
        let heard = Arc::clone(&end);
        let keep = move || keep(follower, &heard);
        let thread = std::thread::Builder::new().name("definitions".into()).spawn(keep);
        Ok(Keeper { thread: Some(thread.map_err(IngestError::Thread)?), end })
    }

    /// Ends the workers after their batch and makes the store durable.
    pub(super) fn stop(mut self) -> Result<(), IngestError> {
        self.end.say();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // A panic was reported by its own thread.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end.say();
    }
}

fn keep(mut follower: Follower, end: &End) -> Result<(), IngestError> {
    let mut followed = Instant::now();
    let mut failing = false;
    while !end.within(WATCH) {
        follower.watch();
        if followed.elapsed() < FOLLOW {
            continue;
        }
        followed = Instant::now();
        let done = follower.follow();
        if let Err(error) = &done
            && !failing
        {
            // Once for each time that the store is away; what is served stays what it is.
            tracing::warn!(%error, "which definitions are served cannot be followed");
        }
        failing = done.is_err();
    }
    follower.stop()
}
