//! Streams as their `CREATE TABLE` declares them: columns, types, identity, time.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;
use trueup_core::{IdKind, Kind};

/// The SQL types that a stream's column may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `BOOLEAN`.
    Boolean,
    /// `SMALLINT`: checked to 16 bits on the way in, 64 bits inside.
    SmallInt,
    /// `INTEGER`: checked to 32 bits on the way in, 64 bits inside.
    Integer,
    /// `BIGINT`.
    BigInt,
    /// `DECIMAL(precision, scale)`, precision at most 38.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// `DOUBLE`.
    Double,
    /// `VARCHAR` or `TEXT`.
    Varchar,
    /// `TIMESTAMP`: UTC, microseconds.
    Timestamp,
    /// `DATE`.
    Date,
}

/// What a bare number means in a TIMESTAMP column; without a declared unit such a number is a bad
/// event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EpochUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
}

/// One column of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as identifiers fold: lower case unless quoted.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Declared NOT NULL (the id and the event time always are): an event with NULL here is bad.
    pub not_null: bool,
}

/// One event stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its columns, in the order of the declaration.
    pub columns: Vec<Column>,
    /// Index of the PRIMARY KEY column: the event's identity.
    pub id: usize,
    /// Index of the event time column.
    pub event_time: usize,
    /// Index of the column that says when an event became known, where the declaration names one.
    pub known_at: Option<usize>,
    /// Declared lateness, microseconds; 0 if not declared.
    pub lateness_us: i64,
    /// How far an event time may be ahead of the time that the log gave it, microseconds.
    pub future_us: i64,
    /// How long the youngest events of a binned key stay raw, microseconds.
    pub reorder_us: i64,
    /// What bare numbers in TIMESTAMP columns mean, if declared.
    pub epoch_unit: Option<EpochUnit>,
    /// The columns as Arrow sees them.
    pub schema: SchemaRef,
}

impl ColumnType {
    /// The Arrow type of a decoded column of this SQL type.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => DataType::Int64,
            ColumnType::Decimal { precision, scale } => {
                DataType::Decimal128(precision, scale as i8)
            }
            ColumnType::Double => DataType::Float64,
            ColumnType::Varchar => DataType::Utf8,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::Date => DataType::Date32,
        }
    }

    /// The kind that `core` keeps it as.
    pub fn kind(self) -> Kind {
        match self {
            ColumnType::Boolean => Kind::Bool,
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => Kind::Int,
            ColumnType::Decimal { scale, .. } => Kind::Decimal { scale },
            ColumnType::Double => Kind::Float,
            ColumnType::Varchar => Kind::Text,
            ColumnType::Timestamp => Kind::Time,
            ColumnType::Date => Kind::Date,
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColumnType::Boolean => write!(f, "BOOLEAN"),
            ColumnType::SmallInt => write!(f, "SMALLINT"),
            ColumnType::Integer => write!(f, "INTEGER"),
            ColumnType::BigInt => write!(f, "BIGINT"),
            ColumnType::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            ColumnType::Double => write!(f, "DOUBLE"),
            ColumnType::Varchar => write!(f, "VARCHAR"),
            ColumnType::Timestamp => write!(f, "TIMESTAMP"),
            ColumnType::Date => write!(f, "DATE"),
        }
    }
}

impl Stream {
    /// Index of the column called `name`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// How this stream's ids are kept where order does not matter.
    pub fn id_kind(&self) -> IdKind {
        match self.columns[self.id].ty.kind() {
            Kind::Int => IdKind::Int,
            _ => IdKind::Hash,
        }
    }

    /// The Arrow schema of these columns.
    pub fn schema_of(columns: &[Column]) -> SchemaRef {
        let field = |c: &Column| Field::new(&c.name, c.ty.arrow(), !c.not_null);
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }
}
