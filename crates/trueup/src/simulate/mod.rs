//! Card transactions out of a seed: users, merchants, the rhythm of the week, declines and three
//! kinds of fraud.
//!
//! For demos, benches and tests. The same options give the same events on every machine, at any
//! size in memory that does not grow with their number. It is not a model of any real bank, and
//! nothing measured on it says how well a fraud model does in the world.

mod fraud;
mod people;
mod random;
mod record;
mod report;
mod rhythm;
mod stream;
mod write;

#[cfg(test)]
mod tests;

pub use record::{Column, Field, FieldKind, Record};
pub use report::{FraudReport, FraudReports};
pub use stream::Simulation;
pub use write::{FileFormat, to_json, write};

use trueup_core::Micros;

/// The definitions of the simulated streams, `transactions` and `fraud_reports`, and of the view
/// `fraud` over them.
pub const SIMULATED_SQL: &str = include_str!("../../../../examples/fraud/fraud.sql");

/// The largest number of users or merchants: their cards and devices have ids of their own below
/// 2^60.
pub const MAX_PEOPLE: i64 = 1_000_000_000_000;

/// The longest span, days: a century.
pub const MAX_DAYS: f64 = 36_525.0;

/// Cents that no purchase exceeds, 20,000.00.
const MAX_CENTS: f64 = 2_000_000.0;

/// Cents that no purchase goes below, 0.50.
const MIN_CENTS: f64 = 50.0;

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulateOptions {
    /// Where chance begins: equal options give equal events.
    pub seed: u64,
    /// Users, 1 to [`MAX_PEOPLE`]. User 1 is the busiest.
    pub users: i64,
    /// Merchants, 1 to [`MAX_PEOPLE`]. Merchant 1 is the busiest.
    pub merchants: i64,
    /// Transactions to make, frauds included.
    pub events: u64,
    /// The id of the first transaction; the others follow by one.
    pub first_id: i64,
    /// From when on.
    pub start: Micros,
    /// The days over which so many transactions are expected, above 0, at most [`MAX_DAYS`]. The
    /// last one falls near the end of them, not exactly there.
    pub days: f64,
    /// Whether there is fraud. The genuine transactions are the same either way, but for their ids.
    pub fraud: bool,
}

impl Default for SimulateOptions {
    /// 100,000 transactions of 5,000 users at 2,000 merchants in the 60 days from 2026-09-01.
    fn default() -> SimulateOptions {
        SimulateOptions {
            seed: 1,
            users: 5_000,
            merchants: 2_000,
            events: 100_000,
            first_id: 1,
            start: Micros(1_788_220_800_000_000),
            days: 60.0,
            fraud: true,
        }
    }
}

impl SimulateOptions {
    fn check(&self) -> Result<(), SimulateError> {
        let wrong = |option, range: String| Err(SimulateError::Option { option, range });
        let people = 1..=MAX_PEOPLE;
        for (option, count) in [("users", self.users), ("merchants", self.merchants)] {
            if !people.contains(&count) {
                return wrong(option, format!("1 to {MAX_PEOPLE}"));
            }
        }
        if !(self.days > 0.0 && self.days <= MAX_DAYS) {
            return wrong("days", format!("above 0 and at most {MAX_DAYS}"));
        }
        let last_start = Micros::LATEST.back((2.0 * MAX_DAYS * 86_400e6) as i64);
        if self.start < Micros::EARLIEST || self.start > last_start {
            return wrong("start", "0001-01-01 to some two centuries before 9999-12-31".into());
        }
        let room = i64::MAX.abs_diff(self.first_id.max(0));
        if self.events > room {
            return wrong("events", format!("0 to {room}, which is where ids end"));
        }
        Ok(())
    }
}

/// One card transaction. Its amount is in euros, whatever the country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its identity, rising by one.
    pub transaction_id: i64,
    /// When it happened; never before the transaction that was made before it.
    pub event_time: Micros,
    /// Whose card it is.
    pub user_id: i64,
    /// The card.
    pub card_id: i64,
    /// The telephone, computer or terminal that was used.
    pub device_id: i64,
    /// Who was paid.
    pub merchant_id: i64,
    /// Where, as an ISO 3166-1 code of two letters.
    pub country: &'static str,
    /// How much, euro cents, at least 50.
    pub amount_cents: i64,
    /// Whether the bank let it pass.
    pub status: Status,
    /// What the simulation knows and no feature may use; it is in no stream and in no file.
    pub scenario: Scenario,
}

impl Transaction {
    /// Whether it is a fraud, known to the simulation at once and to the bank only by a
    /// [`FraudReport`].
    pub fn is_fraud(&self) -> bool {
        self.scenario != Scenario::Genuine
    }

    /// An amount in whole cents and within what cards are used for.
    fn payable(cents: f64) -> i64 {
        (cents + 0.5).clamp(MIN_CENTS, MAX_CENTS) as i64
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Paid.
    Approved,
    /// Refused by the bank.
    Declined,
}

impl Status {
    fn declined_if(declined: bool) -> Status {
        if declined { Status::Declined } else { Status::Approved }
    }

    /// As it stands in the stream: `approved` or `declined`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Approved => "approved",
            Status::Declined => "declined",
        }
    }
}

/// Why a transaction was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// By the card's owner.
    Genuine,
    /// A burst of small amounts within minutes at one merchant, most of them declined: is this card
    /// still good?
    CardTesting,
    /// A few large amounts within hours, from a new device and another country.
    StolenCard,
    /// Some days after a merchant was compromised, purchases with the cards of its customers.
    CompromisedMerchant,
}

/// Why a simulation could not be made or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SimulateError {
    /// An option is out of its range.
    Option {
        /// Its name.
        option: &'static str,
        /// What it may be.
        range: String,
    },
    /// The output could not be written.
    Write {
        /// The format that was being written.
        format: FileFormat,
        /// What the system or the writer said.
        reason: String,
    },
}

impl std::fmt::Display for SimulateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SimulateError::Option { option, range } => {
                write!(f, "the simulation's option `{option}` is out of range; give {range}")
            }
            SimulateError::Write { format, reason } => {
                write!(
                    f,
                    "cannot write the simulation as {format}: {reason}; check the space and the \
                     permissions of the output"
                )
            }
        }
    }
}

impl std::error::Error for SimulateError {}
