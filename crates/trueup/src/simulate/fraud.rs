//! Three ways to steal: testing cards, a stolen card, a compromised merchant.
//!
//! Each starts by chance beside a genuine transaction, so its share does not depend on the rate or
//! the span. What is under way waits in a heap by time; heap and leaks are bounded, so memory does
//! not grow with the simulation.

use super::people::{Person, any_merchant, strange_device};
use super::random::Random;
use super::{Scenario, SimulateOptions, Status, Transaction};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use trueup_core::Micros;

/// Attacks under way; more are not begun. 65,536 of some 100 bytes are 7 MB.
const MAX_ATTACKS: usize = 1 << 16;

/// Merchants that leak cards at one time.
const MAX_LEAKS: usize = 16;

/// Cards that one merchant leaks.
const CARDS_PER_LEAK: usize = 25;

/// Chance that a card seen by a leaking merchant is copied.
const COPY_CHANCE: f64 = 0.5;

/// One card is tested for this many genuine transactions.
const TESTING_EVERY: f64 = 8_000.0;

/// One card is stolen for this many genuine transactions.
const STOLEN_EVERY: f64 = 5_000.0;

/// One merchant is compromised for this many genuine transactions.
const LEAK_EVERY: f64 = 20_000.0;

const SECOND_US: f64 = 1e6;
const MINUTE_US: f64 = 60.0 * SECOND_US;
const HOUR_US: f64 = 60.0 * MINUTE_US;
const DAY_US: f64 = 24.0 * HOUR_US;

/// How long a merchant leaks before it is closed.
const LEAK_US: f64 = 3.0 * DAY_US;

/// One card in a thief's hands. Ordered by time, then by the order in which the attacks began.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attack {
    next: Micros,
    order: u64,
    scenario: Scenario,
    left: i64,
    user_id: i64,
    card_id: i64,
    device_id: i64,
    country: &'static str,
    /// Where all of it happens; `None` is a new merchant each time.
    merchant_id: Option<i64>,
}

/// A merchant whose customers' cards are being copied.
#[derive(Debug)]
struct Leak {
    merchant_id: i64,
    until: Micros,
    cards: Vec<(i64, i64)>,
}

/// All crime of a simulation.
#[derive(Debug)]
pub(crate) struct Underworld {
    random: Random,
    attacks: BinaryHeap<Reverse<Attack>>,
    leaks: Vec<Leak>,
    begun: u64,
    seed: u64,
    merchants: i64,
}

impl Underworld {
    pub(crate) fn new(options: &SimulateOptions) -> Underworld {
        /// Crime draws from a sequence of its own, so that genuine transactions are the same with
        /// and without it.
        const PURPOSE: u64 = 4;
        Underworld {
            random: Random::keyed(options.seed, PURPOSE, 0),
            attacks: BinaryHeap::new(),
            leaks: Vec::new(),
            begun: 0,
            seed: options.seed,
            merchants: options.merchants,
        }
    }

    /// The time of the next fraud, if one is under way.
    pub(crate) fn next_time(&self) -> Option<Micros> {
        self.attacks.peek().map(|Reverse(attack)| attack.next)
    }

    /// Sees a genuine transaction, and may begin something beside it.
    pub(crate) fn watch(&mut self, seen: &Transaction) {
        if self.random.chance(1.0 / TESTING_EVERY) {
            self.begin(Scenario::CardTesting, seen.user_id, seen.card_id, seen.event_time);
        }
        if self.random.chance(1.0 / STOLEN_EVERY) {
            self.begin(Scenario::StolenCard, seen.user_id, seen.card_id, seen.event_time);
        }
        self.copy_card(seen);
        if self.random.chance(1.0 / LEAK_EVERY) {
            self.open_leak(seen);
        }
        self.close_leaks(seen.event_time);
    }

    fn open_leak(&mut self, seen: &Transaction) {
        let known = self.leaks.iter().any(|leak| leak.merchant_id == seen.merchant_id);
        if !known && self.leaks.len() < MAX_LEAKS {
            let until = later(seen.event_time, LEAK_US);
            self.leaks.push(Leak { merchant_id: seen.merchant_id, until, cards: Vec::new() });
        }
    }

    fn copy_card(&mut self, seen: &Transaction) {
        let Some(leak) = self.leaks.iter_mut().find(|l| l.merchant_id == seen.merchant_id) else {
            return;
        };
        let card = (seen.user_id, seen.card_id);
        let room = leak.cards.len() < CARDS_PER_LEAK && !leak.cards.contains(&card);
        if room && self.random.chance(COPY_CHANCE) {
            leak.cards.push(card);
        }
    }

    fn close_leaks(&mut self, now: Micros) {
        while let Some(closed) = self.leaks.iter().position(|leak| leak.until <= now) {
            for (user_id, card_id) in self.leaks.remove(closed).cards {
                let sold = later(now, self.random.uniform(1.0, 10.0) * DAY_US);
                self.begin(Scenario::CompromisedMerchant, user_id, card_id, sold);
            }
        }
    }

    fn begin(&mut self, scenario: Scenario, user_id: i64, card_id: i64, after: Micros) {
        if self.attacks.len() >= MAX_ATTACKS {
            return;
        }
        let random = &mut self.random;
        let person = Person::new(self.seed, user_id);
        let (left, wait_us, abroad) = match scenario {
            Scenario::CardTesting => (random.between(15, 40), 10.0 * MINUTE_US, true),
            Scenario::StolenCard => (random.between(3, 8), HOUR_US, true),
            Scenario::CompromisedMerchant | Scenario::Genuine => {
                (random.between(1, 4), HOUR_US, false)
            }
        };
        let next = later(after, 1.0 + random.unit() * wait_us);
        let country = if abroad { person.abroad(random) } else { person.home() };
        let tests = scenario == Scenario::CardTesting;
        let merchant_id = tests.then(|| any_merchant(self.merchants, random));
        let device_id = strange_device(random);
        self.begun += 1;
        self.attacks.push(Reverse(Attack {
            next,
            order: self.begun,
            scenario,
            left,
            user_id,
            card_id,
            device_id,
            country,
            merchant_id,
        }));
    }

    /// The next fraud, to which the caller gives its id.
    pub(crate) fn strike(&mut self, transaction_id: i64) -> Option<Transaction> {
        let Reverse(mut attack) = self.attacks.pop()?;
        let random = &mut self.random;
        let usual_cents = Person::new(self.seed, attack.user_id).usual_cents;
        let (amount_cents, declined_share, pause_us) = match attack.scenario {
            Scenario::CardTesting => (random.uniform(50.0, 300.0), 0.6, 12.0 * SECOND_US),
            Scenario::StolenCard => {
                (usual_cents * random.uniform(4.0, 12.0), 0.25, 40.0 * MINUTE_US)
            }
            Scenario::CompromisedMerchant | Scenario::Genuine => {
                (usual_cents * random.uniform(1.5, 4.0), 0.15, 6.0 * HOUR_US)
            }
        };
        let merchants = self.merchants;
        let transaction = Transaction {
            transaction_id,
            event_time: attack.next,
            user_id: attack.user_id,
            card_id: attack.card_id,
            device_id: attack.device_id,
            merchant_id: attack.merchant_id.unwrap_or_else(|| any_merchant(merchants, random)),
            country: attack.country,
            amount_cents: Transaction::payable(amount_cents),
            status: Status::declined_if(random.chance(declined_share)),
            scenario: attack.scenario,
        };
        attack.left -= 1;
        if attack.left > 0 {
            attack.next = later(attack.next, SECOND_US + random.exponential(pause_us));
            self.attacks.push(Reverse(attack));
        }
        Some(transaction)
    }
}

fn later(at: Micros, us: f64) -> Micros {
    Micros(at.0.saturating_add(us as i64))
}
