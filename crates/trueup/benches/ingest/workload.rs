//! Card transactions out of numbers, and the definition that keeps their windows.

use arrow::array::RecordBatch;
use serde_json::json;
use trueup::catalog::StreamPart;
use trueup_sql::decode::print::Timestamp;

/// Cards; each as likely as the other.
pub(super) const CARDS: usize = 20_000;
/// Merchants; half of the events are with an eighth of them.
pub(super) const MERCHANTS: usize = 4_000;
/// The longest window.
pub(super) const WINDOW_MS: u64 = 86_400_000;
/// Events of a card within the longest window.
pub(super) const EVENTS_OF_A_CARD: usize = 100;
/// Milliseconds between two events, so that a card has so many.
const STEP_MS: u64 = WINDOW_MS / (CARDS * EVENTS_OF_A_CARD) as u64;
/// When the first of them happened.
const START_MS: u64 = 1_760_000_000_000;

/// What is kept.
pub(super) const DEFINITION: &str = include_str!("../four_windows.sql");

/// One event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) card: usize,
    pub(super) merchant: usize,
    pub(super) time_ms: u64,
    pub(super) id: u64,
    pub(super) cents: u64,
}

impl Event {
    /// The event of a number; the same ones whenever asked.
    pub(super) fn new(nth: usize) -> Self {
        let dice = scatter(nth as u64);
        let even = (dice >> 40) as f64 / (1_u64 << 24) as f64;
        Self {
            card: (dice % CARDS as u64) as usize,
            merchant: (even.powi(3) * MERCHANTS as f64) as usize,
            time_ms: START_MS + nth as u64 * STEP_MS,
            id: 9_000_000_000 + nth as u64,
            cents: 100 + dice % 50_000,
        }
    }

    /// The same, but three of ten are with one merchant.
    pub(super) fn hot(nth: usize) -> Self {
        let event = Self::new(nth);
        if nth % 10 < 3 { Self { merchant: 0, ..event } } else { event }
    }

    /// Whose windows it is in: the name of the group and the key.
    pub(super) fn owners(&self) -> [(&'static str, usize); 2] {
        [("card", self.card), ("merchant", self.merchant)]
    }

    fn json(&self) -> Vec<u8> {
        let at = Timestamp(self.time_ms as i64 * 1_000).to_string();
        let amount = format!("{}.{:02}", self.cents / 100, self.cents % 100);
        let event = json!({ "id": self.id, "at": at, "card": self.card,
                            "merchant": self.merchant, "amount": amount });
        event.to_string().into_bytes()
    }
}

/// Events as a worker has them in memory when it has decoded them.
pub(super) fn decoded(part: &StreamPart, events: &[Event]) -> RecordBatch {
    let payloads: Vec<Vec<u8>> = events.iter().map(Event::json).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let decoded = part.decoder.json_rows(&payloads).expect("they decode");
    assert!(decoded.bad.is_empty(), "all are good");
    decoded.batch
}

/// A number far from that of its neighbours (the finalizer of SplitMix64).
fn scatter(nth: u64) -> u64 {
    let mut mixed = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
