//! What a stream's table and columns are called in the database.

use std::collections::BTreeMap;
use trueup_sql::{EpochUnit, Stream};

/// What settings say of one stream's table; what they leave out is called as in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// The table, perhaps with its schema before a dot.
    pub table: Option<String>,
    /// The table's columns, by the stream's.
    pub columns: BTreeMap<String, String>,
    /// What integers in time columns count.
    pub time_unit: Option<EpochUnit>,
}

/// Names in the database, quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The stream's, for messages.
    pub stream: String,
    /// The table.
    pub table: String,
    /// For each column of the stream, the table's.
    pub columns: Vec<String>,
    /// What integers in time columns count: the settings' word, else the stream's.
    pub time_unit: Option<EpochUnit>,
}

impl Names {
    /// The names for a stream.
    ///
    /// # Errors
    /// A column is mapped that the stream does not have.
    pub fn of(stream: &Stream, settings: Option<&TableSettings>) -> Result<Names, String> {
        let nothing = TableSettings::default();
        let settings = settings.unwrap_or(&nothing);
        let unknown = settings.columns.keys().find(|name| stream.column(name).is_none());
        if let Some(unknown) = unknown {
            let known: Vec<&str> = stream.columns.iter().map(|c| c.name.as_str()).collect();
            return Err(format!(
                "[database_tables.{}] columns: the stream has no column {unknown}; it has: {}",
                stream.name,
                known.join(", ")
            ));
        }
        let table = settings.table.as_deref().map_or_else(
            || quoted(&stream.name),
            |said| said.split('.').map(quoted).collect::<Vec<_>>().join("."),
        );
        let column = |column: &trueup_sql::Column| {
            quoted(settings.columns.get(&column.name).unwrap_or(&column.name))
        };
        Ok(Names {
            stream: stream.name.clone(),
            table,
            columns: stream.columns.iter().map(column).collect(),
            time_unit: settings.time_unit.or(stream.epoch_unit),
        })
    }

    /// Where to mend it, for messages.
    pub(super) fn place(&self) -> String {
        format!("[database_tables.{}]", self.stream)
    }
}

/// An identifier as standard SQL quotes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
