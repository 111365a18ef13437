//! Which ids of incoming records are in a state already, and where. Looked up for all records of a
//! tail at once, since a hot key has thousands of raw events and its tail a few records.

use crate::events::Event;
use crate::value::Id;

/// Where an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Nowhere,
    /// Among the raw events, with this time.
    Raw {
        time: i64,
    },
    /// Among those of the newest sealed events.
    Recent,
}

/// The ids of the incoming records, ascending, and where each is.
pub(super) struct Ids {
    all: Vec<(Id, Seen)>,
}

impl Ids {
    pub(super) fn of<'e>(events: impl Iterator<Item = &'e Event>) -> Ids {
        let mut all: Vec<(Id, Seen)> = events.map(|e| (e.id.clone(), Seen::Nowhere)).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(a, _), (b, _)| a == b);
        Ids { all }
    }

    fn place(&self, id: &Id) -> Option<usize> {
        // Ids mostly ascend with time, so most that are held are below all that come.
        let (first, last) = (self.all.first()?, self.all.last()?);
        if *id < first.0 || *id > last.0 {
            return None;
        }
        self.all.binary_search_by(|(other, _)| other.cmp(id)).ok()
    }

    pub(super) fn mark(&mut self, id: &Id, seen: Seen) {
        if let Some(place) = self.place(id) {
            self.all[place].1 = seen;
        }
    }

    pub(super) fn get(&self, id: &Id) -> Seen {
        self.place(id).map_or(Seen::Nowhere, |place| self.all[place].1)
    }
}
