//! A bounded number of threads, each with a connection of its own and the statement prepared.

use super::query::{Asked, FEATURES};
use crate::cli::Failure;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Requests that may wait for a connection; more are refused at once.
const MAX_WAITING: usize = 256;

/// Bytes of the file that a connection maps into memory: the most that SQLite allows by default.
const MAPPED_BYTES: i64 = 0x7fff_0000;

type Answer = Result<Value, Refused>;

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too many wait.
    Busy,
    /// The database failed.
    Failed(String),
}

struct Job {
    asked: Asked,
    answer: oneshot::Sender<Answer>,
}

/// The connections to one database. Dropping it ends the threads.
#[derive(Debug)]
pub(super) struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// Opens a connection for each processor.
    pub(super) fn open(path: &Path) -> Result<Pool, Failure> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let database = Connection::open_with_flags(path, flags)?;
            database.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
            let waiting = Arc::clone(&waiting);
            let work = move || work(&database, &waiting);
            std::thread::Builder::new().name("sqlite".into()).spawn(work)?;
        }
        Ok(Pool { jobs })
    }

    /// The features of one transaction, from the next connection that is free.
    pub(super) async fn answer(&self, asked: Asked) -> Answer {
        let (answer, answered) = oneshot::channel();
        match self.jobs.try_send(Job { asked, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Refused::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(ended()),
        }
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Refused {
    Refused::Failed("the connections are closed".into())
}

/// Answers jobs until there are no more to come.
fn work(database: &Connection, waiting: &Mutex<Receiver<Job>>) {
    let mut prepared = database.prepare(FEATURES);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { asked, answer }) = next else { return };
        let features = match &mut prepared {
            Ok(statement) => asked.run(statement).map_err(|e| Refused::Failed(e.to_string())),
            Err(error) => Err(Refused::Failed(error.to_string())),
        };
        // A caller that has gone away need not be told.
        let _ = answer.send(features);
    }
}
