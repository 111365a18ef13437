//! A stream's table as it was found: how each column is read.

use super::{DatabaseError, Names};
use trueup_sql::{ColumnType, EpochUnit, Stream};

/// How a column's values come out of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As whatever they are: the database types values and not columns.
    Any,
    /// As booleans.
    Bool,
    /// As integers of so many bytes.
    Int(u8),
    /// As doubles.
    Double,
    /// As the text of decimal numbers.
    Number,
    /// As text.
    Text,
    /// As instants.
    Instant,
    /// As dates.
    Date,
}

/// One column of the table that a column of the stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name, quoted.
    pub name: String,
    /// The type that parameters compared with it are cast to; empty where values have no types.
    pub cast: String,
    /// How it is read.
    pub reading: Reading,
}

/// A table whose rows are the events of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, quoted.
    pub name: String,
    /// For each column of the stream, the table's.
    pub columns: Vec<TableColumn>,
    /// For each column of the stream, its type.
    pub types: Vec<ColumnType>,
    /// Which column is the event time.
    pub event_time: usize,
    /// What integers in time columns count.
    pub time_unit: Option<EpochUnit>,
}

impl Table {
    /// A table with these columns, one for each of the stream's.
    ///
    /// # Errors
    /// The event time is of a type by which rows cannot be picked.
    pub(super) fn new(
        stream: &Stream,
        names: &Names,
        columns: Vec<TableColumn>,
    ) -> Result<Table, DatabaseError> {
        let table = Table {
            name: names.table.clone(),
            types: stream.columns.iter().map(|column| column.ty).collect(),
            columns,
            event_time: stream.event_time,
            time_unit: names.time_unit,
        };
        match table.columns[table.event_time].reading {
            Reading::Instant => Ok(table),
            Reading::Int(_) | Reading::Any if table.time_unit.is_some() => Ok(table),
            Reading::Int(_) | Reading::Any => Err(DatabaseError::Setup(format!(
                "table {}, column {}: integers, and all event times of SQLite, need their unit; \
                 write time_unit = \"microseconds\", \"milliseconds\" or \"seconds\" in {}",
                table.name,
                table.columns[table.event_time].name,
                names.place()
            ))),
            _ => Err(DatabaseError::Setup(format!(
                "table {}, column {}: rows cannot be picked by event times of this type; map a \
                 column of timestamps, or of integers with a time_unit, in {}",
                table.name,
                table.columns[table.event_time].name,
                names.place()
            ))),
        }
    }
}
