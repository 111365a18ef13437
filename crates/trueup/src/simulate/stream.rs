//! The stream itself: genuine transactions and frauds, merged by time.
//!
//! Genuine ones are a Poisson process whose rate follows the week, made by thinning (P. Lewis and
//! G. Shedler, "Simulation of nonhomogeneous Poisson processes by thinning", 1979); each event is
//! then given to a user by that user's share. That equals one process for each user with a rate of
//! its own, but keeps none of them in memory.

use super::fraud::Underworld;
use super::people::{Person, price_level};
use super::random::Random;
use super::rhythm::{activity, mean_activity};
use super::{Scenario, SimulateError, SimulateOptions, Status, Transaction};
use trueup_core::Micros;

/// Share of genuine purchases made abroad.
const ABROAD_SHARE: f64 = 0.02;

/// Share of genuine purchases declined.
const DECLINED_SHARE: f64 = 0.03;

/// The same for a purchase of more than [`HIGH_FACTOR`] times the user's usual amount.
const HIGH_DECLINED_SHARE: f64 = 0.15;

const HIGH_FACTOR: f64 = 4.0;

/// Spread of a user's amounts at one merchant: the standard deviation of the logarithm.
const AMOUNT_SIGMA: f64 = 0.6;

/// Card transactions in the order of their event times, with ids that rise by one.
#[derive(Debug)]
pub struct Simulation {
    options: SimulateOptions,
    random: Random,
    underworld: Option<Underworld>,
    /// Mean gap between candidates of the process at its busiest hour, microseconds.
    gap_us: f64,
    genuine_time: Micros,
    made: u64,
}

impl Simulation {
    /// A simulation from its first event.
    ///
    /// # Errors
    ///
    /// [`SimulateError::Option`] names the option that is out of its range, and the range.
    pub fn new(options: SimulateOptions) -> Result<Simulation, SimulateError> {
        options.check()?;
        let span_us = options.days * 86_400e6;
        let mut simulation = Simulation {
            random: Random::new(options.seed),
            underworld: options.fraud.then(|| Underworld::new(&options)),
            gap_us: span_us / options.events.max(1) as f64 * mean_activity(),
            genuine_time: options.start,
            made: 0,
            options,
        };
        simulation.step();
        Ok(simulation)
    }

    /// Moves to the time of the next genuine transaction.
    fn step(&mut self) {
        loop {
            let gap_us = (self.random.exponential(self.gap_us) + 0.5) as i64;
            self.genuine_time = Micros(self.genuine_time.0.saturating_add(gap_us));
            if self.random.chance(activity(self.genuine_time)) {
                return;
            }
        }
    }

    fn genuine(&mut self, transaction_id: i64) -> Transaction {
        let SimulateOptions { seed, users, merchants, .. } = self.options;
        let random = &mut self.random;
        let user_id = random.heavy_rank(users as u64) as i64;
        let person = Person::new(seed, user_id);
        let merchant_id = person.merchant(seed, merchants, random);
        let usual_cents = person.usual_cents * price_level(seed, merchant_id);
        let amount_cents = Transaction::payable(random.lognormal(usual_cents, AMOUNT_SIGMA));
        let high = amount_cents as f64 > HIGH_FACTOR * person.usual_cents;
        let declined_share = if high { HIGH_DECLINED_SHARE } else { DECLINED_SHARE };
        let travels = random.chance(ABROAD_SHARE);
        Transaction {
            transaction_id,
            event_time: self.genuine_time,
            user_id,
            card_id: person.card(random),
            device_id: person.device(random),
            merchant_id,
            country: if travels { person.abroad(random) } else { person.home() },
            amount_cents,
            status: Status::declined_if(random.chance(declined_share)),
            scenario: Scenario::Genuine,
        }
    }
}

impl Iterator for Simulation {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        if self.made == self.options.events {
            return None;
        }
        let transaction_id = self.options.first_id + self.made as i64;
        self.made += 1;
        if let Some(underworld) = &mut self.underworld
            && underworld.next_time().is_some_and(|fraud| fraud <= self.genuine_time)
        {
            return underworld.strike(transaction_id);
        }
        let transaction = self.genuine(transaction_id);
        if let Some(underworld) = &mut self.underworld {
            underworld.watch(&transaction);
        }
        self.step();
        Some(transaction)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.options.events - self.made).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}
