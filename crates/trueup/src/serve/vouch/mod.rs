//! What the word of a fill is worth: until when, and beside what, a value counts by what the
//! database had when it was asked.
//!
//! A fill says: all events of this key from `from` on that the database had at `as_of` are in this
//! value. Two things make an answer of that:
//!
//! - **By itself**, as long as the database's own answer would still be fresh enough. It takes the
//!   place of the question that would be asked otherwise, and is worth what its answer was.
//! - **With the pipeline**, for as long as the value lives. What the log had when the group's state
//!   was begun, and after it, the pipeline brings; what came before that, the database had, if it
//!   was asked late enough: events from the marker on are in the state, those before it are in the
//!   log by the marker and the stream's lateness, and a bound on staleness later in the database.
//!   So nothing lies between the two, whatever the database lacked of the stream's latest.
//!
//! Neither makes STALE of what would be asked for anew, nor fresh what the marker says is STALE.
//! `docs/decisions/0019-write-back.md` says how it was come to.

use super::fallback::MARGIN_US;
use crate::catalog::SLACK_US;
use trueup_core::Vouch;
use trueup_store::Meta;

/// How far behind the moment of the question the database was asked for events at the least, and so
/// the latest instant that a fill vouches for by itself, microseconds: a clock ahead of ours may
/// give events such times. Half of the margin is left for the time that a question waits.
pub(super) const REACH_US: i64 = MARGIN_US / 2;

/// What is known when a fill's word is judged.
pub(super) struct Judge<'a> {
    /// What the store knows of the group, read with the value.
    pub(super) meta: &'a Meta,
    /// Now less the bound on staleness, wall-clock microseconds since 1970.
    pub(super) stale_before_us: i64,
    /// That bound, microseconds: the database is taken to be no further behind the log.
    pub(super) bound_us: i64,
    /// How late the stream's events come, by its declaration, microseconds.
    pub(super) lateness_us: i64,
    /// Whether an earlier value of the key may have expired that held events which the frames see.
    pub(super) may_have_expired: bool,
}

impl Judge<'_> {
    /// As of when the value holds everything from the word's beginning on that is seen at an
    /// instant, wall-clock microseconds since 1970; `None` where nobody knows.
    pub(super) fn fresh_us(&self, vouch: Vouch, at_us: i64) -> Option<i64> {
        let as_of_us = vouch.as_of.0;
        let by_itself =
            as_of_us >= self.stale_before_us && at_us <= as_of_us.saturating_add(REACH_US);
        self.with_pipeline(as_of_us).or(by_itself.then_some(as_of_us))
    }

    fn with_pipeline(&self, as_of_us: i64) -> Option<i64> {
        let (fresh_us, since_us) = (self.meta.fresh_us?, self.meta.complete_since_us?);
        let settled_us = since_us.saturating_add(self.lateness_us).saturating_add(self.bound_us);
        // What expired was last written to longer ago than this.
        let is_bridged = !self.may_have_expired || self.bound_us.unsigned_abs() <= SLACK_US;
        let counts = fresh_us >= self.stale_before_us && as_of_us >= settled_us && is_bridged;
        counts.then_some(fresh_us)
    }
}

#[cfg(test)]
mod tests;
