//! Questions under way: whoever asks for events that one of them will bring waits for it instead.

use super::{Refusal, Want};
use crate::database::Ask;
use arrow::array::RecordBatch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use trueup_core::Key;

/// The events of a key in a range.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// With the stream's schema, the newest first.
    pub(crate) rows: RecordBatch,
    /// From this event time on all are here; `i64::MIN` if there are no others.
    pub(crate) whole_from_us: i64,
    /// Whether the bound on rows left older ones out.
    pub(crate) cut: bool,
    /// And to this one.
    pub(crate) whole_to_us: i64,
    /// Wall-clock microseconds since 1970 at which the database was asked.
    pub(crate) asked_us: i64,
    /// Groups into whose state it is being written.
    pub(crate) written: Mutex<Vec<usize>>,
}

impl Fetched {
    /// Whether nobody else writes it into the state of this group: many wait for one flight.
    pub(crate) fn is_unwritten(&self, group: usize) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !written.contains(&group);
        if is_new {
            written.push(group);
        }
        is_new
    }
}

/// What a flight came to.
pub(crate) type Landed = Result<Arc<Fetched>, Refusal>;

/// What one waits on; nothing until it has landed.
pub(super) type Waiting = watch::Receiver<Option<Landed>>;

/// Whose events: the stream by its number, and the key.
type Whose = (usize, Vec<usize>, Vec<u8>);

#[derive(Debug)]
struct Flight {
    number: u64,
    ask: Ask,
    waiting: Waiting,
}

/// All that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_key: Mutex<(u64, HashMap<Whose, Vec<Flight>>)>,
}

impl Flights {
    /// A flight that brings what is asked, if one is under way; else a new one, if `may` lets it,
    /// to be flown by the caller.
    pub(super) fn board<E>(
        self: &Arc<Self>,
        stream: usize,
        want: &Want,
        ask: &Ask,
        may: impl FnOnce() -> Result<(), E>,
    ) -> Result<(Waiting, Option<Landing>), E> {
        let whose = (stream, ask.keys.clone(), Key::of(&ask.values).bytes().to_vec());
        let mut all = self.lock();
        let (next, by_key) = &mut *all;
        if let Some(flights) = by_key.get(&whose)
            && let Some(flight) = flights.iter().find(|flight| brings(&flight.ask, want, ask.limit))
        {
            return Ok((flight.waiting.clone(), None));
        }
        may()?;
        *next += 1;
        let (tell, waiting) = watch::channel(None);
        let flight = Flight { number: *next, ask: ask.clone(), waiting: waiting.clone() };
        by_key.entry(whose.clone()).or_default().push(flight);
        let flights = Arc::clone(self);
        Ok((waiting, Some(Landing { flights, whose, number: *next, tell })))
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<Whose, Vec<Flight>>)> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the answer to `flown` holds what is wanted.
fn brings(flown: &Ask, want: &Want, limit: usize) -> bool {
    flown.from_us <= want.from_us && flown.to_us >= want.to_us && flown.limit >= limit
}

/// The end of a flight: it tells those who wait, and takes the flight off the board, also if it is
/// dropped before.
pub(super) struct Landing {
    flights: Arc<Flights>,
    whose: Whose,
    number: u64,
    tell: watch::Sender<Option<Landed>>,
}

impl Landing {
    pub(super) fn land(self, landed: Landed) {
        // Off the board first: who comes now must not be given what is known already.
        self.leave();
        self.tell.send_replace(Some(landed));
    }

    fn leave(&self) {
        let mut all = self.flights.lock();
        if let Some(flights) = all.1.get_mut(&self.whose) {
            flights.retain(|flight| flight.number != self.number);
            if flights.is_empty() {
                all.1.remove(&self.whose);
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.leave();
    }
}
