//! PostgreSQL: a handful of connections of our own, each with its statements prepared.
//!
//! How many there are at one time is not counted here: the caller asks no more at once than it may.
//! A query that nobody waits for any more takes its connection with it, and the server ends it
//! after its `statement_timeout`; so no answer of one query is ever taken for another's.
//!
//! How they are encrypted is in `postgres_tls.rs`.

use super::connect::{MAX_STATEMENTS, apart, greeted};
use super::field::time_unit;
use super::postgres_tls::{Hook, WORDS, is_local, mode};
use super::query::{Param, all, events};
use super::snapshot::{Hand, PART_ROWS, SILENT, Snapshot};
use super::tls::{Said, Tls, plain, refused};
use super::{
    Answer, Ask, Database, DatabaseError, Field, Fields, Names, Reading, Table, TableColumn,
};
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row, Socket, Statement};
use trueup_sql::{ColumnType, Stream};

/// How long an address is tried: a server that is there answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that reads a whole table: however long a part takes, and however long none is
/// wanted. What it sees is fixed by its first query, which is the one that the cursor stands for.
const UNHURRIED: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// The same in days.
const EPOCH_2000_DAYS: i32 = 10_957;

#[derive(Debug)]
pub(super) struct Postgres {
    config: Config,
    tls: Tls,
    greeting: String,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Postgres {
    pub(super) fn open(
        url: &str,
        password: Option<&str>,
        timeout: Duration,
    ) -> Result<Postgres, DatabaseError> {
        let no_url = |why: String| {
            // Behind the name may stand a password too.
            let place = crate::place::public(url);
            let place = place.split('?').next().unwrap_or_default();
            DatabaseError::Setup(format!(
                "{place:?} is no URL of PostgreSQL ({why}); write postgres://USER@HOST:PORT/NAME"
            ))
        };
        let (rest, said) = Said::take(url, WORDS).map_err(DatabaseError::Setup)?;
        let mut config: Config = rest.parse().map_err(|error: Error| {
            no_url(error.source().map(ToString::to_string).unwrap_or_default())
        })?;
        let tls = mode(said, is_local(&config)).map_err(DatabaseError::Setup)?;
        config.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        if config.get_password().is_none()
            && let Some(password) = password
        {
            config.password(password);
        }
        config.connect_timeout(CONNECT_TIMEOUT).application_name("trueup");
        let greeting = format!(
            "SET statement_timeout = {}; SET default_transaction_read_only = on; \
             SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1",
            timeout.as_millis().max(1)
        );
        Ok(Postgres { config, tls, greeting, idle: Mutex::default() })
    }

    /// A connection that nobody uses, or a new one.
    async fn take(&self) -> Result<Connection, DatabaseError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok(connection),
                None => break,
            }
        }
        let client = greeted(self.connect()).await?;
        Ok(Connection { client, statements: HashMap::new() })
    }

    async fn connect(&self) -> Result<Client, DatabaseError> {
        let made = match &self.tls {
            Tls::Off => served(self.config.connect(NoTls).await),
            tls => {
                let tls = tls.clone();
                let hook = apart(move || Hook::of(&tls)).await?;
                served(self.config.connect(hook).await)
            }
        };
        let client = made.map_err(|error| unconnected(&error, &self.tls))?;
        client.batch_execute(&self.greeting).await.map_err(|error| away(&error))?;
        Ok(client)
    }

    /// Back to those that nobody uses; only after a query that came to its end.
    fn give(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn look_at(&self, stream: &Stream, names: &Names) -> Result<Table, DatabaseError> {
        let connection = self.take().await?;
        let text = format!("SELECT {} FROM {} WHERE false", names.columns.join(", "), names.table);
        let prepared = connection.client.prepare(&text).await;
        let statement = prepared.map_err(|error| unfit(&error, names))?;
        let columns = stream.columns.iter().zip(&names.columns).zip(statement.columns());
        let columns = columns.map(|((column, name), found)| {
            let cast = quoted_type(found.type_());
            let reading = reading(column.ty, found.type_()).ok_or_else(|| {
                DatabaseError::Setup(format!(
                    "table {}, column {name}: {} cannot be read as {}; map another column in {}, \
                     or a view that casts it",
                    names.table,
                    found.type_(),
                    column.ty,
                    names.place()
                ))
            })?;
            Ok(TableColumn { name: name.clone(), cast, reading })
        });
        let columns = columns.collect::<Result<Vec<_>, DatabaseError>>()?;
        self.give(connection);
        Table::new(stream, names, columns)
    }

    async fn find_index(&self, table: &Table, keys: &[usize]) -> Result<bool, DatabaseError> {
        let connection = self.take().await?;
        let names: Vec<String> =
            keys.iter().map(|&key| table.columns[key].name.trim_matches('"').into()).collect();
        // Of a view the indexes are not to be seen.
        let query = "SELECT c.relkind = 'v' OR EXISTS (
             SELECT FROM pg_index i
             WHERE i.indrelid = c.oid AND i.indisvalid
               AND cardinality($2::text[]) = (
               SELECT count(*) FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attname = ANY($2::text[])
                 AND a.attnum = ANY((i.indkey::int2[])[0:cardinality($2::text[]) - 1])))
             FROM pg_class c WHERE c.oid = $1::text::regclass";
        let found = connection.client.query_one(query, &[&table.name, &names]).await;
        let found = found.map_err(|error| away(&error))?.try_get(0);
        self.give(connection);
        found.map_err(|error| away(&error))
    }

    async fn ask(&self, table: &Table, ask: &Ask) -> Result<Vec<Fields>, DatabaseError> {
        let mut connection = self.take().await?;
        let place = |number: usize, column: &TableColumn| match column.reading {
            Reading::Text if column.cast == "\"text\"" => format!("${number}::text"),
            _ => format!("${number}::text::{}", column.cast),
        };
        let (text, params) = events(table, ask, select, place);
        let params: Vec<String> = params.into_iter().map(|(_, param)| Param::text(param)).collect();
        let params: Vec<&(dyn ToSql + Sync)> =
            params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        let found = connection.query(&text, &params).await;
        let rows = match found {
            Ok(rows) => rows,
            Err(error) => {
                let error = failed(&error);
                if matches!(error, DatabaseError::Refused(_)) {
                    self.give(connection);
                }
                return Err(error);
            }
        };
        self.give(connection);
        rows.iter().map(|row| fields(table, row).map_err(|error| failed(&error))).collect()
    }

    async fn fix(&self, table: &Table) -> Result<Snapshot, DatabaseError> {
        let client = greeted(self.connect()).await?;
        let cursor = format!("DECLARE copied NO SCROLL CURSOR FOR {}", all(table, select));
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        let opening = async {
            for text in [UNHURRIED, begin, &cursor] {
                client.batch_execute(text).await.map_err(|error| failed(&error))?;
            }
            Ok(())
        };
        let opened = tokio::time::timeout(SILENT, opening).await;
        opened.map_err(|_| DatabaseError::Away(format!("nothing came within {SILENT:?}")))??;
        let (snapshot, mut hand) = Snapshot::new();
        let table = table.clone();
        tokio::spawn(async move {
            if hand.wanted().await {
                let done = fetch(&client, &table, &mut hand).await;
                hand.end(done.map_err(|error| failed(&error))).await;
            }
        });
        Ok(snapshot)
    }
}

/// Hands over all that is behind the cursor.
async fn fetch(client: &Client, table: &Table, hand: &mut Hand) -> Result<(), Error> {
    let statement = client.prepare(&format!("FETCH FORWARD {PART_ROWS} FROM copied")).await?;
    loop {
        let rows = client.query(&statement, &[]).await?;
        let copied = |row: &Row| fields(table, row).map_err(|error| said(&error));
        let copied = rows.iter().map(copied).collect();
        if rows.is_empty() || !hand.rows(copied).await {
            return Ok(());
        }
    }
}

/// A column in a select list.
fn select(column: &TableColumn) -> String {
    match column.reading {
        Reading::Text | Reading::Number => format!("{}::text", column.name),
        _ => column.name.clone(),
    }
}

/// Has a task serve a connection; its end shows at the client's next query.
fn served<T: TlsStream + Unpin + Send + 'static>(
    made: Result<(Client, tokio_postgres::Connection<Socket, T>), Error>,
) -> Result<Client, Error> {
    let (client, connection) = made?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

impl Connection {
    async fn query(
        &mut self,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = match self.statements.get(text) {
            Some(statement) => statement.clone(),
            None => {
                if self.statements.len() >= MAX_STATEMENTS {
                    self.statements.clear();
                }
                let statement = self.client.prepare(text).await?;
                self.statements.insert(text.to_owned(), statement.clone());
                statement
            }
        };
        self.client.query(&statement, params).await
    }
}

impl Database for Postgres {
    fn look<'a>(&'a self, stream: &'a Stream, names: &'a Names) -> Answer<'a, Table> {
        Box::pin(self.look_at(stream, names))
    }

    fn has_index<'a>(&'a self, table: &'a Table, keys: &'a [usize]) -> Answer<'a, bool> {
        Box::pin(self.find_index(table, keys))
    }

    fn events<'a>(&'a self, table: &'a Table, ask: &'a Ask) -> Answer<'a, Vec<Fields>> {
        Box::pin(self.ask(table, ask))
    }

    fn snapshot<'a>(&'a self, table: &'a Table) -> Answer<'a, Snapshot> {
        Box::pin(self.fix(table))
    }
}

/// How a column of this type is read for a column of the stream; `None` if it would not give the
/// values that the stream's events have.
fn reading(wanted: ColumnType, found: &Type) -> Option<Reading> {
    let int = match *found {
        Type::INT2 => Some(Reading::Int(2)),
        Type::INT4 => Some(Reading::Int(4)),
        Type::INT8 => Some(Reading::Int(8)),
        _ => None,
    };
    let number = int.or(match *found {
        Type::NUMERIC => Some(Reading::Number),
        Type::FLOAT8 => Some(Reading::Double),
        _ => None,
    });
    match wanted {
        ColumnType::Boolean if *found == Type::BOOL => Some(Reading::Bool),
        ColumnType::Boolean => int,
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
            number.filter(|reading| *reading != Reading::Double)
        }
        ColumnType::Decimal { .. } | ColumnType::Double => number,
        ColumnType::Varchar => match *found {
            Type::BYTEA | Type::FLOAT4 | Type::FLOAT8 => None,
            _ => Some(Reading::Text),
        },
        ColumnType::Timestamp => match *found {
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Some(Reading::Instant),
            _ => int,
        },
        ColumnType::Date => (*found == Type::DATE).then_some(Reading::Date),
    }
}

fn quoted_type(ty: &Type) -> String {
    // The catalogue's own types are found without their schema, and look better so in its logs.
    match ty.schema() {
        "pg_catalog" => format!("\"{}\"", ty.name()),
        schema => format!("\"{schema}\".\"{}\"", ty.name()),
    }
}

/// Microseconds since 2000, as TIMESTAMP and TIMESTAMPTZ are sent.
struct Since2000(i64);

impl<'a> FromSql<'a> for Since2000 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Since2000(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }
}

/// Days since 2000, as DATE is sent.
struct DaysSince2000(i32);

impl<'a> FromSql<'a> for DaysSince2000 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(DaysSince2000(i32::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::DATE
    }
}

fn fields(table: &Table, row: &Row) -> Result<Fields, Error> {
    let field = |(place, column): (usize, &TableColumn)| {
        let is_time = table.types[place] == ColumnType::Timestamp;
        let unit = table.time_unit.filter(|_| is_time).map(time_unit);
        let int = |value: i64| match unit {
            Some(unit) => Field::Epoch(value, unit),
            None => Field::Int(value),
        };
        Ok(match column.reading {
            Reading::Bool => row.try_get::<_, Option<bool>>(place)?.map(Field::Bool),
            Reading::Int(2) => row.try_get::<_, Option<i16>>(place)?.map(|v| int(v.into())),
            Reading::Int(4) => row.try_get::<_, Option<i32>>(place)?.map(|v| int(v.into())),
            Reading::Int(_) => row.try_get::<_, Option<i64>>(place)?.map(int),
            Reading::Double => row.try_get::<_, Option<f64>>(place)?.map(Field::Double),
            Reading::Number => row.try_get::<_, Option<String>>(place)?.map(Field::Number),
            Reading::Text | Reading::Any => {
                row.try_get::<_, Option<String>>(place)?.map(Field::Text)
            }
            // What is infinite there is out of range here, and no time that the decoder takes.
            Reading::Instant => row
                .try_get::<_, Option<Since2000>>(place)?
                .map(|time| Field::Micros(time.0.saturating_add(EPOCH_2000_US))),
            Reading::Date => row
                .try_get::<_, Option<DaysSince2000>>(place)?
                .map(|date| Field::Date(date.0.saturating_add(EPOCH_2000_DAYS))),
        }
        .unwrap_or(Field::Null))
    };
    table.columns.iter().enumerate().map(field).collect()
}

/// What the server said, or why it said nothing.
fn said(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

fn away(error: &Error) -> DatabaseError {
    DatabaseError::Away(said(error))
}

/// A connection that was not made.
fn unconnected(error: &Error, tls: &Tls) -> DatabaseError {
    // The client has no kind for it.
    let is_plain =
        |cause: &dyn std::error::Error| cause.to_string() == "server does not support TLS";
    if error.source().is_some_and(is_plain) {
        return plain(WORDS);
    }
    refused(error, tls, WORDS).unwrap_or_else(|| away(error))
}

/// A query that failed: by the key's values, by table and settings, or because nobody answers.
fn failed(error: &Error) -> DatabaseError {
    match error.code().map(SqlState::code) {
        // Its words hold the value, which is the key's.
        Some(code) if code.starts_with("22") => DatabaseError::Refused(format!(
            "its column is of a type that does not take the value (SQLSTATE {code})"
        )),
        Some(code) if code.starts_with("42") => DatabaseError::Setup(said(error)),
        _ => away(error),
    }
}

/// A table that is not there, or is not as the settings say.
fn unfit(error: &Error, names: &Names) -> DatabaseError {
    let (table, place) = (&names.table, names.place());
    let remedy = match error.code() {
        Some(code) if *code == SqlState::UNDEFINED_TABLE => {
            format!("say which table has the events of stream {}: {place} table", names.stream)
        }
        Some(code) if *code == SqlState::UNDEFINED_COLUMN => {
            format!("say which column of the table it is: {place} columns")
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("GRANT SELECT ON {table} to the user of the URL")
        }
        _ => return failed(error),
    };
    DatabaseError::Setup(format!("table {table}: {}; {remedy}", said(error)))
}
