//! What a feature means: events folded into exact state, and state read at an instant.
//!
//! Pure. No I/O, clock, randomness, logging or async; given the same bytes it gives the same bytes,
//! on every machine. Four verbs: [`record`] (an event's bytes, to append to a key's value),
//! [`fold`] (base and records to a new base), [`read`] (a key's value and an instant to features),
//! [`slide`] (ordered events and rows to features, for training).
//!
//! ```
//! use trueup_core::*;
//! let hour = Frame::Range { far_us: Some(3_600_000_000), near_us: 0 };
//! let count = Aggregate { func: Func::Count, arg: None, filter: None, frame: hour };
//! let plan = Plan::new(Group {
//!     keep: Keep::Exact, id: IdKind::Int, slots: vec![], aggregates: vec![count],
//!     lateness_us: 0, future_us: 0, reorder_us: 0,
//! });
//! let key = Key::of(&[Value::Int(42)]);
//! let mut tail = Vec::new();
//! for (id, time) in [(1, 0), (2, 1_800_000_000)] {
//!     let event = Event { time, id: Id::Int(id), slots: vec![] };
//!     record(key.bytes(), &event, None, &mut tail);
//! }
//! let instant = Instant { at: Micros(3_600_000_001), own: None, complete_from: Micros(i64::MIN) };
//! let stored = Stored { base: None, tail: &tail };
//! let answers = read(&plan, key.bytes(), stored, instant, &[0], &Limits::default()).unwrap();
//! assert_eq!(answers[0].value, Ok(Value::Int(1)));
//! ```
#![deny(missing_docs)]

mod aggregate;
mod answer;
mod codec;
mod column;
mod events;
pub mod exact;
mod group;
mod inspect;
mod known;
mod loose;
mod plan;
mod read;
mod slide;
mod state;
mod value;
mod window;

#[cfg(feature = "testing")]
pub mod testing;

pub use answer::{Answer, Unknown};
pub use codec::{Corrupt, FORMAT_VERSION, Key, Position, record};
pub use column::Column;
pub use events::{Event, Events, Met};
pub use group::{Aggregate, Frame, Func, Group, Keep};
pub use inspect::{Base, Inspected, Partials, inspect};
pub use known::{Known, Look, slide_known};
pub use plan::Plan;
pub use read::{Instant, Receipt, read, receipts};
pub use slide::{Ask, is_ordered, slide};
pub use state::{Filled, Folded, Limits, Stored, Vouch, fill, fold, fold_settled, vouched};
pub use value::{Id, IdKind, Kind, Micros, Value};
