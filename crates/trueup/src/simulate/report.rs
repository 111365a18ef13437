//! Fraud reports: what becomes known, and when.
//!
//! A label is not a column of a transaction. It becomes known days later, so it is a stream of its
//! own, timed when the card's owner reported the fraud; a window over it then says the same online
//! and in training.

use super::random::Random;
use super::{Scenario, SimulateError, SimulateOptions, Simulation, Status, Transaction};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use trueup_core::Micros;

/// Share of paid frauds that their victims notice.
const NOTICED_SHARE: f64 = 0.95;

/// Median time until a victim reports, days.
const MEDIAN_DAYS: f64 = 3.0;

/// Shortest and longest time until a victim reports, days.
const DELAY_DAYS: std::ops::RangeInclusive<f64> = 0.05..=30.0;

/// A victim's report of one paid fraud.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FraudReport {
    /// When it was reported.
    pub event_time: Micros,
    /// The fraud that it is about; one transaction is reported at most once.
    pub transaction_id: i64,
    /// The victim.
    pub user_id: i64,
    /// The card that paid.
    pub card_id: i64,
    /// The merchant that was paid.
    pub merchant_id: i64,
}

/// The reports of a simulation in the order of their times; those due after its last transaction
/// come at the end.
///
/// Memory holds the frauds of the last 30 simulated days that are not reported yet.
#[derive(Debug)]
pub struct FraudReports {
    transactions: Simulation,
    seed: u64,
    pending: BinaryHeap<Reverse<FraudReport>>,
    now: Option<Micros>,
}

impl FraudReports {
    /// The reports about the transactions that [`Simulation::new`] makes of the same `options`.
    ///
    /// # Errors
    ///
    /// As [`Simulation::new`].
    pub fn new(options: SimulateOptions) -> Result<FraudReports, SimulateError> {
        Ok(FraudReports {
            seed: options.seed,
            transactions: Simulation::new(options)?,
            pending: BinaryHeap::new(),
            now: Some(Micros(i64::MIN)),
        })
    }

    fn report(&self, fraud: &Transaction) -> Option<FraudReport> {
        const PURPOSE: u64 = 5;
        let paid = fraud.scenario != Scenario::Genuine && fraud.status == Status::Approved;
        let mut random = Random::keyed(self.seed, PURPOSE, fraud.transaction_id as u64);
        if !paid || !random.chance(NOTICED_SHARE) {
            return None;
        }
        let days = random.lognormal(MEDIAN_DAYS, 0.7).clamp(*DELAY_DAYS.start(), *DELAY_DAYS.end());
        Some(FraudReport {
            event_time: Micros(fraud.event_time.0.saturating_add((days * 86_400e6) as i64)),
            transaction_id: fraud.transaction_id,
            user_id: fraud.user_id,
            card_id: fraud.card_id,
            merchant_id: fraud.merchant_id,
        })
    }
}

impl Iterator for FraudReports {
    type Item = FraudReport;

    fn next(&mut self) -> Option<FraudReport> {
        while let Some(now) = self.now {
            if self.pending.peek().is_some_and(|Reverse(first)| first.event_time <= now) {
                break;
            }
            let transaction = self.transactions.next();
            self.now = transaction.as_ref().map(|transaction| transaction.event_time);
            let report = transaction.and_then(|transaction| self.report(&transaction));
            self.pending.extend(report.map(Reverse));
        }
        self.pending.pop().map(|Reverse(report)| report)
    }
}
