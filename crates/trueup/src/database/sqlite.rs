//! A file of SQLite: so many threads, each with a connection of its own, so that none of those
//! that answer requests ever waits for a disk.

use super::field::time_unit;
use super::query::{Param, a_text_time, all, events};
use super::snapshot::{Hand, Snapshot};
use super::{
    Answer, Ask, Database, DatabaseError, Field, Fields, Names, Reading, Table, TableColumn,
};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, InterruptHandle, OpenFlags, Row, ffi, params_from_iter};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::{ColumnType, Stream};

type Work = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    timeout: Duration,
    work: SyncSender<Work>,
}

/// Interrupts the query of a job whose caller has gone away.
#[derive(Default)]
struct Running(Arc<Mutex<Option<InterruptHandle>>>);

impl Running {
    fn set(&self, handle: Option<InterruptHandle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

impl Sqlite {
    pub(super) fn open(
        path: &Path,
        connections: usize,
        timeout: Duration,
    ) -> Result<Sqlite, DatabaseError> {
        // As many may wait as are at work: one that was given up leaves its thread a moment later.
        let (work, waiting) = sync_channel(connections);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..connections {
            let database = connect(path, timeout)?;
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new()
                .name("database".into())
                .spawn(move || serve(&database, &waiting))
                .map_err(|error| unusable(path, &error))?;
        }
        Ok(Sqlite { path: path.to_owned(), timeout, work })
    }

    /// Has the next thread that is free do something with its connection.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (answer, answered) = oneshot::channel();
        let running = Running::default();
        let theirs = Running(Arc::clone(&running.0));
        let work: Work = Box::new(move |database| {
            if answer.is_closed() {
                return;
            }
            theirs.set(Some(database.get_interrupt_handle()));
            let done = job(database);
            // The connection's next query is another's.
            theirs.set(None);
            // A caller that has gone away need not be told.
            let _ = answer.send(done);
        });
        self.work.try_send(work).map_err(|_| {
            DatabaseError::Away("all its connections are at work on queries given up".into())
        })?;
        answered.await.unwrap_or_else(|_| {
            Err(DatabaseError::Away("the thread of its connection has ended".into()))
        })
    }
}

fn connect(path: &Path, timeout: Duration) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|database| database.busy_timeout(timeout).map(|()| database))
        .map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn std::error::Error) -> DatabaseError {
    DatabaseError::Setup(format!(
        "{}: {why}; write database = \"sqlite:PATH\" with the path of a database that is there",
        path.display()
    ))
}

fn serve(database: &Connection, waiting: &Mutex<Receiver<Work>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        work(database);
    }
}

impl Database for Sqlite {
    fn look<'a>(&'a self, stream: &'a Stream, names: &'a Names) -> Answer<'a, Table> {
        let (names, path) = (names.clone(), self.path.clone());
        // A string in double quotes is a column where there is one, and else its own text: so each
        // is asked with its table.
        let columns: Vec<TableColumn> = names
            .columns
            .iter()
            .map(|name| TableColumn {
                name: name.clone(),
                cast: String::new(),
                reading: Reading::Any,
            })
            .collect();
        Box::pin(async move {
            let asked = names.clone();
            self.run(move |database| {
                let names = asked;
                let columns = names.columns.iter().map(|name| format!("{}.{name}", names.table));
                let columns: Vec<String> = columns.collect();
                let text = format!("SELECT {} FROM {}", columns.join(", "), names.table);
                match database.prepare(&text) {
                    Ok(_) => Ok(()),
                    Err(error) if is_setup(&error) => Err(DatabaseError::Setup(format!(
                        "{}: {}; say which table and columns have the events of stream {}: {}",
                        path.display(),
                        said(&error),
                        names.stream,
                        names.place()
                    ))),
                    Err(error) => Err(failed(&error)),
                }
            })
            .await?;
            Table::new(stream, &names, columns)
        })
    }

    fn has_index<'a>(&'a self, table: &'a Table, keys: &'a [usize]) -> Answer<'a, bool> {
        let keys: Vec<String> =
            keys.iter().map(|&key| format!("{} = 1", table.columns[key].name)).collect();
        let text =
            format!("EXPLAIN QUERY PLAN SELECT 1 FROM {} WHERE {}", table.name, keys.join(" AND "));
        Box::pin(self.run(move |database| {
            let plan = database.query_row(&text, [], |row| row.get::<_, String>(3));
            Ok(plan.map_err(|error| failed(&error))?.contains("INDEX"))
        }))
    }

    fn events<'a>(&'a self, table: &'a Table, ask: &'a Ask) -> Answer<'a, Vec<Fields>> {
        let place = |number: usize, _: &TableColumn| format!("?{number}");
        let values = |params: Vec<(usize, Param)>| -> Vec<Param> {
            params.into_iter().map(|(_, param)| param).collect()
        };
        let (text, params) = events(table, ask, |column| column.name.clone(), place);
        let (other, others) = a_text_time(table, ask, place);
        let (params, others) = (values(params), values(others));
        let (types, unit) = (table.types.clone(), table.time_unit.map(time_unit));
        let time = &table.columns[table.event_time].name;
        let refused = format!(
            "table {}, column {time}: an event time is text, and rows are picked by integers; map \
             a column of integers, with its time_unit",
            table.name
        );
        Box::pin(self.run(move |database| {
            let failed = |error| failed(&error);
            // Without this look it would be an empty frame.
            let found = database.prepare(&other).map_err(failed)?.exists(params_from_iter(others));
            if found.map_err(failed)? {
                return Err(DatabaseError::Refused(refused));
            }
            let mut statement = database.prepare(&text).map_err(failed)?;
            let rows = statement
                .query_map(params_from_iter(params), |row| fields(&types, unit, row))
                .map_err(failed)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(failed)
        }))
    }

    fn snapshot<'a>(&'a self, table: &'a Table) -> Answer<'a, Snapshot> {
        let (path, timeout, table) = (self.path.clone(), self.timeout, table.clone());
        Box::pin(async move {
            let (snapshot, mut hand) = Snapshot::new();
            let (fixed, is_fixed) = oneshot::channel();
            let reading = move || match fix(&path, timeout) {
                Err(error) => drop(fixed.send(Err(error))),
                Ok(database) => {
                    let _ = fixed.send(Ok(()));
                    if hand.wanted_blocking() {
                        let done = read(&database, &table, &mut hand);
                        hand.end_blocking(done.map_err(|error| failed(&error)));
                    }
                }
            };
            let thread = std::thread::Builder::new().name("snapshot".into()).spawn(reading);
            thread.map_err(|error| unusable(&self.path, &error))?;
            let ended = |_| DatabaseError::Away("the thread of its connection has ended".into());
            is_fixed.await.map_err(ended)??;
            Ok(snapshot)
        })
    }
}

/// A connection in a transaction that sees the database as it is now: a transaction begins with
/// its first reading.
fn fix(path: &Path, timeout: Duration) -> Result<Connection, DatabaseError> {
    let database = connect(path, timeout)?;
    let begun = database.execute_batch("BEGIN").and_then(|()| {
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    });
    begun.map_err(|error| failed(&error))?;
    Ok(database)
}

/// Hands over all rows of a table.
fn read(database: &Connection, table: &Table, hand: &mut Hand) -> rusqlite::Result<()> {
    let text = all(table, |column| column.name.clone());
    let unit = table.time_unit.map(time_unit);
    let mut statement = database.prepare(&text)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let copied = fields(&table.types, unit, row).map_err(|error| said(&error));
        if !hand.row_blocking(copied) {
            break;
        }
    }
    Ok(())
}

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Int(value) => ToSqlOutput::from(*value),
            Param::Double(value) => ToSqlOutput::from(*value),
            Param::Text(text) => ToSqlOutput::from(text.as_str()),
            Param::Time(us) => ToSqlOutput::from(Timestamp(*us).to_string()),
        })
    }
}

fn fields(
    types: &[ColumnType],
    unit: Option<arrow::datatypes::TimeUnit>,
    row: &Row<'_>,
) -> rusqlite::Result<Fields> {
    let field = |(place, ty): (usize, &ColumnType)| {
        Ok(match (row.get_ref(place)?, unit) {
            (ValueRef::Null, _) => Field::Null,
            (ValueRef::Integer(value), Some(unit)) if *ty == ColumnType::Timestamp => {
                Field::Epoch(value, unit)
            }
            (ValueRef::Integer(value), _) => Field::Int(value),
            (ValueRef::Real(value), _) => Field::Double(value),
            (ValueRef::Text(bytes), _) => Field::Text(std::str::from_utf8(bytes)?.to_owned()),
            (ValueRef::Blob(_), _) => {
                let ty = rusqlite::types::Type::Blob;
                return Err(rusqlite::Error::InvalidColumnType(place, "bytes".into(), ty));
            }
        })
    };
    types.iter().enumerate().map(field).collect()
}

/// Whether table or columns are not as the query says.
fn is_setup(error: &rusqlite::Error) -> bool {
    let code = match error {
        rusqlite::Error::SqlInputError { error, .. } => error,
        rusqlite::Error::SqliteFailure(error, _) => error,
        _ => return false,
    };
    code.extended_code & 0xff == ffi::SQLITE_ERROR
}

fn said(error: &rusqlite::Error) -> String {
    match error {
        // It repeats the query otherwise.
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

fn failed(error: &rusqlite::Error) -> DatabaseError {
    match error {
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::Utf8Error(..) => {
            DatabaseError::Refused(said(error))
        }
        error if is_setup(error) => DatabaseError::Setup(said(error)),
        error => DatabaseError::Away(said(error)),
    }
}
