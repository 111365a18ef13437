//! The two kinds of simulated events as rows of columns, for any format to write.

use super::{FraudReport, Transaction};
use trueup_core::Micros;

/// A column of a simulated stream, as examples/fraud/fraud.sql declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What its fields are.
    pub kind: FieldKind,
}

/// What the fields of a column are; none is ever NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// `BIGINT`.
    Int,
    /// `TIMESTAMP`.
    Time,
    /// `DECIMAL(12,2)`.
    Money,
    /// `VARCHAR`.
    Text,
}

/// One field of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Of a [`FieldKind::Int`] column.
    Int(i64),
    /// Of a [`FieldKind::Time`] column.
    Time(Micros),
    /// Of a [`FieldKind::Money`] column, cents.
    Money(i64),
    /// Of a [`FieldKind::Text`] column: plain ASCII that no format needs to quote.
    Text(&'static str),
}

/// An event that can be written as a row.
pub trait Record {
    /// The name of its stream.
    const STREAM: &'static str;
    /// Its columns.
    const COLUMNS: &'static [Column];

    /// Its fields, one of each column's kind, in their order; [`write`](super::write) panics on
    /// any other.
    fn fields(&self) -> impl Iterator<Item = Field>;
}

const fn column(name: &'static str, kind: FieldKind) -> Column {
    Column { name, kind }
}

impl Record for Transaction {
    const STREAM: &'static str = "transactions";
    const COLUMNS: &'static [Column] = &[
        column("transaction_id", FieldKind::Int),
        column("event_time", FieldKind::Time),
        column("user_id", FieldKind::Int),
        column("card_id", FieldKind::Int),
        column("device_id", FieldKind::Int),
        column("merchant_id", FieldKind::Int),
        column("country", FieldKind::Text),
        column("amount", FieldKind::Money),
        column("status", FieldKind::Text),
    ];

    fn fields(&self) -> impl Iterator<Item = Field> {
        [
            Field::Int(self.transaction_id),
            Field::Time(self.event_time),
            Field::Int(self.user_id),
            Field::Int(self.card_id),
            Field::Int(self.device_id),
            Field::Int(self.merchant_id),
            Field::Text(self.country),
            Field::Money(self.amount_cents),
            Field::Text(self.status.as_str()),
        ]
        .into_iter()
    }
}

impl Record for FraudReport {
    const STREAM: &'static str = "fraud_reports";
    const COLUMNS: &'static [Column] = &[
        column("transaction_id", FieldKind::Int),
        column("event_time", FieldKind::Time),
        column("user_id", FieldKind::Int),
        column("card_id", FieldKind::Int),
        column("merchant_id", FieldKind::Int),
    ];

    fn fields(&self) -> impl Iterator<Item = Field> {
        [
            Field::Int(self.transaction_id),
            Field::Time(self.event_time),
            Field::Int(self.user_id),
            Field::Int(self.card_id),
            Field::Int(self.merchant_id),
        ]
        .into_iter()
    }
}
