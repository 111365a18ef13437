//! The wall clock as an argument, so that tests and replays say what time it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use trueup_core::Micros;

/// Tells wall-clock time, UTC microseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Micros + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock::of(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        })
    }

    /// A clock of the caller's making.
    pub fn of(now: impl Fn() -> Micros + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Micros {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
