//! How many connections there are, and who goes when there are too many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Connections at one time. One that has sent half a head costs some 15 KB, so all of them some
/// 120 MB.
const MAX_CONNECTIONS: usize = 8_192;

/// Connections have this part of the descriptors that the process may have, as a divisor: the rest
/// is for the store, the logs, brokers and databases, which go on when callers are too many.
const DESCRIPTORS_PART: usize = 2;

/// What became of connections, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Taken in.
    Accepted,
    /// Closed at once: there was no room.
    Refused,
    /// Closed to make room, before its first answer.
    Evicted,
    /// Closed because no request came.
    Silent,
    /// None could be taken in.
    AcceptError,
}

impl What {
    const ALL: [(What, &'static str); 5] = [
        (What::Accepted, "accepted"),
        (What::Refused, "refused"),
        (What::Evicted, "evicted"),
        (What::Silent, "silent"),
        (What::AcceptError, "accept_errors"),
    ];
}

/// The connections of one server.
#[derive(Debug)]
pub(in crate::http) struct Doors {
    most: usize,
    all: Mutex<All>,
    counts: [AtomicU64; What::ALL.len()],
}

#[derive(Debug, Default)]
struct All {
    /// Those that are open, without those that are told to go.
    open: usize,
    next: u64,
    /// Those that had no answer yet, in the order in which they came.
    fresh: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Inside {
    doors: Arc<Doors>,
    number: u64,
    go: Arc<Notify>,
    /// Whether it had an answer while its place was its own.
    has_answer: AtomicBool,
}

impl Doors {
    /// As wide as this process may open files.
    pub(in crate::http) fn new() -> Arc<Doors> {
        let most = most(std::fs::read_to_string("/proc/self/limits").ok().as_deref());
        if most < MAX_CONNECTIONS {
            tracing::info!(most, "fewer connections, for this process may open few files");
        }
        Arc::new(Doors { most, all: Mutex::default(), counts: Default::default() })
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, what: What) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A place for a new connection, if need be that of the oldest without an answer.
    pub(super) fn enter(self: &Arc<Doors>) -> Option<Inside> {
        let mut all = self.lock();
        if all.open >= self.most {
            let Some((_, oldest)) = all.fresh.pop_first() else {
                self.count(What::Refused);
                return None;
            };
            oldest.notify_one();
            self.count(What::Evicted);
            all.open -= 1;
        }
        all.open += 1;
        all.next += 1;
        let (number, go) = (all.next, Arc::<Notify>::default());
        all.fresh.insert(number, Arc::clone(&go));
        self.count(What::Accepted);
        Some(Inside { doors: Arc::clone(self), number, go, has_answer: AtomicBool::new(false) })
    }

    /// Connections that there may be.
    pub(in crate::http) fn most(&self) -> usize {
        self.most
    }

    /// Connections that there are.
    pub(in crate::http) fn open(&self) -> usize {
        self.lock().open
    }

    /// What became of connections, with the names that metrics have for it.
    pub(in crate::http) fn counts(&self) -> [(&'static str, u64); What::ALL.len()] {
        What::ALL.map(|(what, name)| (name, self.counts[what as usize].load(Ordering::Relaxed)))
    }
}

impl Inside {
    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// It has had an answer, and keeps its place for as long as it likes.
    pub(super) fn answered(&self) {
        if !self.has_answer.load(Ordering::Relaxed)
            && self.doors.lock().fresh.remove(&self.number).is_some()
        {
            self.has_answer.store(true, Ordering::Relaxed);
        }
    }

    /// Returns when its place is another's.
    pub(super) async fn told_to_go(&self) {
        self.go.notified().await;
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut all = self.doors.lock();
        let had_answer = self.has_answer.load(Ordering::Relaxed);
        // Neither, and its place is another's already.
        if all.fresh.remove(&self.number).is_some() || had_answer {
            all.open -= 1;
        }
    }
}

/// Connections that there may be, by what the system says of the process's limits.
fn most(limits: Option<&str>) -> usize {
    let line = limits.and_then(|said| said.lines().find_map(|l| l.strip_prefix("Max open files")));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let descriptors = soft.and_then(|soft| soft.parse::<usize>().ok()).unwrap_or(usize::MAX);
    MAX_CONNECTIONS.min(descriptors / DESCRIPTORS_PART).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(most: usize) -> Arc<Doors> {
        Arc::new(Doors { most, all: Mutex::default(), counts: Default::default() })
    }

    /// Thousands of connections that asked nothing kept all others out.
    #[tokio::test]
    async fn the_oldest_connection_without_an_answer_makes_room_and_none_with_one_does() {
        let doors = doors(3);
        let [served, oldest, younger] = [(); 3].map(|()| doors.enter().unwrap());
        served.answered();
        let newcomer = doors.enter().unwrap();
        oldest.told_to_go().await;
        assert_eq!(doors.open(), 3, "one came and one went");
        drop(oldest);
        assert_eq!(doors.open(), 3, "its place is the newcomer's");
        younger.answered();
        newcomer.answered();
        assert!(doors.enter().is_none(), "all have had an answer");
        drop(served);
        assert!(doors.enter().is_some());
        let counted: Vec<u64> = doors.counts().map(|(_, count)| count).to_vec();
        assert_eq!(counted, [5, 1, 1, 0, 0]);
        drop((younger, newcomer));
        assert_eq!(doors.open(), 0);
    }

    #[test]
    fn connections_leave_descriptors_for_the_store() {
        let said =
            |soft: &str| format!("Max processes 10 10\nMax open files   {soft}   524288  files\n");
        assert_eq!(most(Some(&said("64"))), 32);
        assert_eq!(most(Some(&said("1024"))), 512);
        assert_eq!(most(Some(&said("unlimited"))), MAX_CONNECTIONS);
        assert_eq!(most(Some("nothing of the kind")), MAX_CONNECTIONS);
        assert_eq!(most(None), MAX_CONNECTIONS);
    }
}
