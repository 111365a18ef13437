//! A table of a database, copied: each row as the line of JSON that the stream's decoder reads back
//! to the values that it has in the database.
//!
//! A row that is no event stays one: its line is what the database gave, and if JSON would make an
//! event of that, it is put into an array, which is none. So it becomes a dead letter when the copy
//! is read, with its place and what it holds.

use super::{SpoolError, Writer};
use crate::catalog::StreamPart;
use crate::database::{self, Copied, DatabaseError, Field, Fields, Names, Snapshot};
use crate::json;
use crate::settings::DatabaseSettings;
use arrow::datatypes::TimeUnit;
use std::fmt;
use std::io::Write;
use tokio::task::block_in_place;
use trueup_core::Id;
use trueup_sql::Stream;
use trueup_sql::decode::bridge::id_at;
use trueup_sql::decode::print::{Date, Double, Timestamp};
use trueup_sql::decode::{DecodeError, Decoded, Decoder};

/// One connection looks at the table; the snapshot has another.
const CONNECTIONS: usize = 1;

/// The table of a stream, in the database that settings name.
#[derive(Debug)]
pub struct Origin<'a> {
    settings: &'a DatabaseSettings,
    stream: &'a Stream,
    names: Names,
}

impl<'a> Origin<'a> {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The settings name no database, or columns that the stream has not.
    pub fn new(
        settings: Option<&'a DatabaseSettings>,
        stream: &'a Stream,
    ) -> Result<Origin<'a>, DatabaseError> {
        let settings = settings.ok_or_else(|| {
            let why = "a history is to come from it, and none is set; name it with --database or \
                       in the settings";
            DatabaseError::Setup(why.into())
        })?;
        let names = Names::of(stream, settings.tables.get(&stream.name));
        Ok(Origin { settings, stream, names: names.map_err(DatabaseError::Setup)? })
    }

    /// What it is called, without secrets.
    pub fn name(&self) -> String {
        format!("table {} of {}", self.names.table, self.settings.place)
    }

    /// How its rows are to be understood: the stream's columns, and the table's.
    pub fn columns(&self) -> Vec<String> {
        let unit = self.names.time_unit;
        let columns = self.stream.columns.iter().zip(&self.names.columns);
        let columns =
            columns.map(|(column, name)| format!("{} {} = {name}", column.name, column.ty));
        columns.chain(unit.map(|unit| format!("{unit:?}"))).collect()
    }

    /// Its rows as they are now.
    ///
    /// # Errors
    /// [`DatabaseError`], with the remedy.
    pub async fn snapshot(&self) -> Result<Snapshot, DatabaseError> {
        let DatabaseSettings { place, bounds, .. } = self.settings;
        let database = database::open(place, CONNECTIONS, bounds.timeout)?;
        let table = database.look(self.stream, &self.names).await?;
        database.snapshot(&table).await
    }
}

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Rows that were copied.
    pub rows: u64,
    /// Rows that were left out.
    pub left_out: u64,
}

/// Why a table was not copied.
#[derive(Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// The database.
    Database(DatabaseError),
    /// The disk.
    Spool(SpoolError),
    /// Rows that no batch can be made of.
    Decode(DecodeError),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyError::Database(error) => {
                write!(
                    f,
                    "setting database: {error}; nothing is left of the copy: give the same command \
                     again"
                )
            }
            CopyError::Spool(error) => error.fmt(f),
            CopyError::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CopyError {}

impl From<SpoolError> for CopyError {
    fn from(error: SpoolError) -> CopyError {
        CopyError::Spool(error)
    }
}

/// Copies all rows of a table but the events with these ids; `told` hears of each part how many
/// rows were seen.
///
/// # Errors
/// [`CopyError`]. What was written then is not all.
pub async fn copy(
    snapshot: &mut Snapshot,
    part: &StreamPart,
    left_out: &(impl Fn(&Id) -> bool + Sync),
    writer: &mut Writer,
    told: &(impl Fn(u64) + Sync),
) -> Result<Copy, CopyError> {
    let mut copy = Copy::default();
    loop {
        let rows = snapshot.next().await.map_err(CopyError::Database)?;
        if rows.is_empty() {
            return Ok(copy);
        }
        block_in_place(|| write(&rows, part, left_out, writer, &mut copy))?;
        told(copy.rows + copy.left_out);
        crate::fault::point("history-copying");
    }
}

/// Rows by the table of decoding; what could not be read is bad for that reason.
///
/// # Errors
/// [`DecodeError`], which rows do not cause.
pub fn decoded(decoder: &Decoder, rows: &[Copied]) -> Result<Decoded, DecodeError> {
    // One that could not be read has no cells, and so no id: it is bad.
    let cells: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().flatten().map(Field::cell).collect()).collect();
    let mut decoded = decoder.rows(&cells)?;
    for bad in &mut decoded.bad {
        if let Err(words) = &rows[bad.index] {
            bad.column = None;
            bad.reason.clone_from(words);
        }
    }
    Ok(decoded)
}

fn write(
    rows: &[Copied],
    part: &StreamPart,
    left_out: &impl Fn(&Id) -> bool,
    writer: &mut Writer,
    copy: &mut Copy,
) -> Result<(), CopyError> {
    let decoder = &part.decoder;
    let Decoded { batch, kept, .. } = decoded(decoder, rows).map_err(CopyError::Decode)?;
    let (ids, kind) = (batch.column(part.stream.id), part.stream.id_kind());
    let mut good = kept.iter().enumerate().peekable();
    let mut line = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        line.clear();
        match good.next_if(|(_, kept)| **kept == index) {
            Some((place, _)) if left_out(&id_at(ids, place, kind)) => {
                copy.left_out += 1;
                continue;
            }
            Some((place, _)) => json::object(&mut line, &batch, place),
            None => bad(&mut line, decoder, row)?,
        }
        writer.line(&line)?;
        copy.rows += 1;
    }
    Ok(())
}

/// The line of a row that is no event.
fn bad(line: &mut Vec<u8>, decoder: &Decoder, row: &Copied) -> Result<(), CopyError> {
    match row {
        Err(words) => json::text(line, words),
        Ok(fields) => raw(line, decoder, fields),
    }
    let decoded = decoder.json_rows(&[&line]).map_err(CopyError::Decode)?;
    if decoded.bad.is_empty() {
        line.insert(0, b'[');
        line.push(b']');
    }
    Ok(())
}

/// A row as the database gave it.
fn raw(line: &mut Vec<u8>, decoder: &Decoder, fields: &Fields) {
    line.push(b'{');
    for (column, field) in decoder.stream().columns.iter().zip(fields) {
        if line.len() > 1 {
            line.push(b',');
        }
        json::text(line, &column.name);
        line.push(b':');
        raw_value(line, field);
    }
    line.push(b'}');
}

fn raw_value(line: &mut Vec<u8>, field: &Field) {
    // Writing to memory does not fail.
    let _ = match field {
        Field::Null => write!(line, "null"),
        Field::Bool(value) => write!(line, "{value}"),
        Field::Int(value) => write!(line, "{value}"),
        Field::Double(value) if value.is_finite() => write!(line, "{}", Double(*value)),
        Field::Double(value) => write!(line, "\"{value}\""),
        Field::Number(text) if serde_json::from_str::<serde_json::Number>(text).is_ok() => {
            write!(line, "{text}")
        }
        Field::Number(text) | Field::Text(text) => {
            json::text(line, text);
            Ok(())
        }
        Field::Micros(us) => write!(line, "\"{}\"", Timestamp(*us)),
        Field::Epoch(value, unit) => match micros(*value, *unit) {
            Some(us) => write!(line, "\"{}\"", Timestamp(us)),
            None => write!(line, "\"{value} {unit:?}s since 1970\""),
        },
        Field::Date(days) => write!(line, "\"{}\"", Date(*days)),
    };
}

fn micros(value: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::spool::{Manifest, Spool};
    use trueup_sql::{SourceFile, compile};

    const SQL: &str = "
CREATE TABLE t (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, b BOOLEAN, i INTEGER, d DECIMAL(12,2), f DOUBLE,
  v VARCHAR, day DATE
) WITH (event_time = 'at', lateness = '1 hour', epoch_unit = 'seconds');
CREATE VIEW w AS SELECT id, count(*) OVER (PARTITION BY v ORDER BY at
  RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS n FROM t";

    fn catalog() -> Catalog {
        let compiled = compile(&[SourceFile { name: "t.sql".into(), text: SQL.into() }]);
        Catalog::new(compiled.unwrap_or_else(|errors| panic!("{errors}")))
    }

    /// A row that is an event but for what is put into one column.
    fn with(id: i64, column: usize, field: Field) -> Copied {
        let mut row = vec![
            Field::Int(id),
            Field::Micros(id * 1_000_001),
            Field::Bool(id % 2 == 0),
            Field::Int(-id),
            Field::Number("12.5".into()),
            Field::Double(0.1),
            Field::Text("a \"b\"\n\u{e9}".into()),
            Field::Date(20_000),
        ];
        row[column] = field;
        Ok(row)
    }

    /// The copy of rows, as it is read back; how many were left out; and its text.
    fn copied(rows: &[Copied], left_out: impl Fn(&Id) -> bool) -> (Decoded, Copy, String) {
        let (folder, catalog) = (tempfile::tempdir().unwrap(), catalog());
        let part = &catalog.streams()[0];
        let mut writer = Spool::new(folder.path(), "t").begin().unwrap();
        let mut copy = Copy::default();
        write(rows, part, &left_out, &mut writer, &mut copy).unwrap();
        let whole = writer.finish(Manifest::default()).unwrap();
        let text = std::fs::read(whole.folder.join(&whole.manifest.files[0].name)).unwrap();
        (part.decoder.json_lines(&text).unwrap(), copy, String::from_utf8(text).unwrap())
    }

    /// The harm: a model is trained on a value that the database has not.
    #[test]
    fn rows_read_back_to_what_the_decoder_makes_of_the_database_s_values() {
        let fields = [
            (1, Field::Epoch(1_700_000_000_123, TimeUnit::Millisecond)),
            (1, Field::Text("2026-03-02 10:00:00".into())),
            (2, Field::Int(1)),
            (3, Field::Double(7.0)),
            (3, Field::Null),
            (4, Field::Double(1.005)),
            (4, Field::Int(7)),
            (5, Field::Double(-0.0)),
            (5, Field::Double(5e-324)),
            (5, Field::Number("0.1000000000000000055511151231257827".into())),
            (6, Field::Text(String::new())),
            (7, Field::Text("2026-03-02".into())),
        ];
        let mut rows: Vec<Copied> =
            (1..).zip(fields).map(|(id, (at, it))| with(id, at, it)).collect();
        rows.push(with(99, 1, Field::Micros(-1)));
        let catalog = catalog();
        let decoder = &catalog.streams()[0].decoder;
        let cells: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().flatten().map(Field::cell).collect()).collect();
        let wanted = decoder.rows(&cells).unwrap();
        assert!(wanted.bad.is_empty(), "{:?}", wanted.bad);
        let (decoded, copy, text) = copied(&rows, |_| false);
        assert_eq!(decoded.batch, wanted.batch, "{text}");
        assert_eq!(copy, Copy { rows: rows.len() as u64, left_out: 0 });
    }

    /// The harm: what the database's own types refuse comes in as text or as another time.
    #[test]
    fn rows_that_are_no_events_are_none_in_the_copy_and_stand_there_whole() {
        let fields = [
            (0, Field::Null),
            (1, Field::Micros(i64::MAX)),
            (1, Field::Epoch(1_700_000_000_001, TimeUnit::Nanosecond)),
            (1, Field::Epoch(i64::MAX / 10_000, TimeUnit::Second)),
            (2, Field::Double(1.0)),
            (3, Field::Int(1 << 40)),
            (4, Field::Number("NaN".into())),
            (4, Field::Number("1.005".into())),
            (5, Field::Double(f64::INFINITY)),
            (5, Field::Double(f64::NAN)),
            (6, Field::Double(f64::INFINITY)),
            (6, Field::Int(7)),
            (7, Field::Date(i32::MAX)),
        ];
        let mut rows: Vec<Copied> =
            (1..).zip(fields).map(|(id, (at, it))| with(id, at, it)).collect();
        rows.push(Err("column v: bytes".into()));
        rows.push(with(99, 3, Field::Int(1)));
        let (decoded, copy, text) = copied(&rows, |_| false);
        assert_eq!(decoded.kept, [rows.len() - 1], "{text}");
        assert_eq!(decoded.bad.len(), rows.len() - 1, "{text}");
        assert_eq!(copy.rows, rows.len() as u64);
        assert!(text.contains("\"column v: bytes\"") && text.contains("\"NaN\""), "{text}");
    }

    #[test]
    fn events_that_the_log_brings_are_left_out_and_no_others() {
        let mut rows: Vec<Copied> = (0..10).map(|id| with(id, 3, Field::Null)).collect();
        rows[5] = with(5, 1, Field::Null);
        let (decoded, copy, text) = copied(&rows, |id| *id == Id::Int(3) || *id == Id::Int(5));
        assert_eq!(copy, Copy { rows: 9, left_out: 1 });
        assert_eq!((decoded.kept.len(), decoded.bad.len()), (8, 1), "{text}");
        assert!(!text.contains("\"id\":3,"), "{text}");
    }
}
