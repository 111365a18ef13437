//! MySQL and MariaDB: a handful of connections of our own, each with its statements prepared.
//!
//! How many there are at one time is not counted here: the caller asks no more at once than it may.
//! A query that nobody waits for any more takes its connection with it, and the server ends it by
//! the bound that every connection sets; so no answer of one query is ever taken for another's.
//!
//! Two things are unlike PostgreSQL. Text is equal there by a collation, mostly whatever the case,
//! so keys are compared twice: as the index has them, and byte by byte. And a DATETIME has no zone:
//! it is taken as UTC; a TIMESTAMP is sent as UTC, because the session asks for it.
//!
//! How connections are encrypted is in `mysql_tls.rs`.

use super::connect::{MAX_STATEMENTS, apart, greeted};
use super::field::time_unit;
use super::mysql_tls::{WORDS, is_local, mode, options};
use super::query::{Param, all, events};
use super::snapshot::{Hand, SILENT, Snapshot};
use super::tls::{Said, Tls, plain, refused};
use super::{
    Answer, Ask, Database, DatabaseError, Field, Fields, Names, Reading, Table, TableColumn,
};
use mysql_async::consts::ColumnType as Type;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, DriverError, Error, Opts, OptsBuilder, Row, Value};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::{ColumnType, Stream};

/// How soon a server that went without a word is noticed by an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// A table that is not there.
const NO_SUCH_TABLE: u16 = 1146;

/// A column that is not there.
const NO_SUCH_COLUMN: u16 = 1054;

/// A table, or a column, that the user may not read.
const DENIED: [u16; 2] = [1142, 1143];

pub(super) struct MySql {
    opts: Opts,
    tls: Tls,
    idle: Mutex<Vec<Conn>>,
}

/// Without the password, which its options hold.
impl std::fmt::Debug for MySql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MySql").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl MySql {
    pub(super) fn open(
        url: &str,
        password: Option<&str>,
        timeout: Duration,
    ) -> Result<MySql, DatabaseError> {
        let no_url = |why: String| {
            let place = crate::place::public(url);
            let place = place.split('?').next().unwrap_or_default();
            DatabaseError::Setup(format!(
                "{place:?} is no URL of MySQL ({why}); write mysql://USER@HOST:PORT/NAME"
            ))
        };
        let (rest, said) = Said::take(url, WORDS).map_err(DatabaseError::Setup)?;
        if crate::place::public(&rest).contains('?') {
            return Err(no_url("behind its ? only ssl-mode and ssl-ca may stand".into()));
        }
        let opts = Opts::from_url(&rest).map_err(|error| no_url(error.to_string()))?;
        if opts.db_name().is_none_or(str::is_empty) {
            return Err(no_url("it names no database".into()));
        }
        let tls = mode(said, is_local(&opts)).map_err(DatabaseError::Setup)?;
        let password = opts.pass().or(password).map(str::to_owned);
        let greeting = bounded(timeout.max(Duration::from_millis(1)));
        let opts = OptsBuilder::from_opts(opts)
            .pass(password)
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .stmt_cache_size(MAX_STATEMENTS)
            .init(vec![greeting, "SET SESSION TRANSACTION READ ONLY".into()]);
        Ok(MySql { opts: opts.into(), tls, idle: Mutex::default() })
    }

    /// A connection that nobody uses, or a new one.
    async fn take(&self) -> Result<Conn, DatabaseError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        greeted(self.connect()).await
    }

    async fn connect(&self) -> Result<Conn, DatabaseError> {
        let tls = self.tls.clone();
        let tls = apart(move || options(&tls)).await?;
        let opts = OptsBuilder::from_opts(self.opts.clone()).ssl_opts(tls);
        Conn::new(opts).await.map_err(|error| match &error {
            Error::Driver(DriverError::NoClientSslFlagFromServer) => plain(WORDS),
            _ => refused(&error, &self.tls, WORDS).unwrap_or_else(|| away(&error)),
        })
    }

    /// Back to those that nobody uses, after a query that came to its end. One that broke off says
    /// nothing good of the others, of which nobody has heard for longer.
    fn give<T>(&self, connection: Conn, done: Result<T, Error>) -> Result<T, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match &done {
            Err(error) if error.is_fatal() => idle.clear(),
            _ => idle.push(connection),
        }
        done
    }

    async fn look_at(&self, stream: &Stream, names: &Names) -> Result<Table, DatabaseError> {
        let mut connection = self.take().await?;
        let table = quoted(&parts(&names.table, '"'));
        let named = names.columns.iter().map(|name| quoted(&parts(name, '"')));
        let named: Vec<String> = named.collect();
        let text = format!("SELECT {} FROM {table}", named.join(", "));
        let prepared = connection.prep(text).await;
        let statement = self.give(connection, prepared).map_err(|error| unfit(&error, names))?;
        let found = statement.columns();
        let columns = stream.columns.iter().zip(named).zip(found.iter());
        let columns = columns.map(|((column, name), found)| {
            let reading = reading(column.ty, found).ok_or_else(|| {
                DatabaseError::Setup(format!(
                    "table {table}, column {name}: {} cannot be read as {}; map another column in \
                     {}, or a view that casts it",
                    name_of(found),
                    column.ty,
                    names.place()
                ))
            })?;
            Ok(TableColumn { name, cast: cast(column.ty, reading), reading })
        });
        let columns = columns.collect::<Result<Vec<_>, DatabaseError>>()?;
        Table::new(stream, &Names { table, ..names.clone() }, columns)
    }

    async fn find_index(&self, table: &Table, keys: &[usize]) -> Result<bool, DatabaseError> {
        let mut connection = self.take().await?;
        let mut name = parts(&table.name, '`');
        let of = name.pop().unwrap_or_default();
        let schema = name.pop().map_or(Value::NULL, Value::from);
        let of_keys = keys.iter().flat_map(|&key| parts(&table.columns[key].name, '`'));
        let count = Value::from(keys.len());
        // Of a view the indexes are not to be seen.
        let query = format!(
            "SELECT t.table_type LIKE '%VIEW' OR EXISTS (
               SELECT 1 FROM information_schema.statistics s
               WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name
                 AND s.index_type = 'BTREE'
               GROUP BY s.index_name
               HAVING sum(s.seq_in_index <= ? AND s.column_name IN ({})) = ?)
             FROM information_schema.tables t
             WHERE t.table_schema = coalesce(?, database()) AND t.table_name = ?",
            vec!["?"; keys.len()].join(", ")
        );
        let mut params = vec![count.clone()];
        params.extend(of_keys.map(Value::from));
        params.extend([count, schema, Value::from(of)]);
        let found = connection.exec_first::<i64, _, _>(query, params).await;
        let found = self.give(connection, found).map_err(|error| away(&error))?;
        Ok(found == Some(1))
    }

    async fn ask(&self, table: &Table, ask: &Ask) -> Result<Vec<Fields>, DatabaseError> {
        let place = |_, column: &TableColumn| match (column.reading, column.cast.as_str()) {
            // Once by the index, once byte by byte.
            (Reading::Text, _) => {
                format!("? AND CAST(CONVERT({} USING utf8mb4) AS BINARY) = ?", column.name)
            }
            (_, "") => "?".to_owned(),
            (_, cast) => format!("CAST(? AS {cast})"),
        };
        let (text, params) = events(table, ask, |column| column.name.clone(), place);
        let mut values = Vec::with_capacity(2 * params.len());
        for (column, param) in params {
            let value = value(param);
            if table.columns[column].reading == Reading::Text {
                values.push(value.clone());
            }
            values.push(value);
        }
        let mut connection = self.take().await?;
        let found = connection.exec::<Row, _, _>(text, values).await;
        let rows = self.give(connection, found).map_err(|error| failed(&error))?;
        rows.into_iter().map(|row| fields(table, row)).collect()
    }

    async fn fix(&self, table: &Table) -> Result<Snapshot, DatabaseError> {
        let mut connection = greeted(self.connect()).await?;
        self.keeps_moments(&mut connection, table).await?;
        let opening = [
            bounded(Duration::ZERO),
            format!("SET net_write_timeout = {}", SILENT.as_secs()),
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".into(),
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY".into(),
        ];
        for text in opening {
            connection.query_drop(text).await.map_err(|error| away(&error))?;
        }
        let (snapshot, mut hand) = Snapshot::new();
        let table = table.clone();
        tokio::spawn(async move {
            if hand.wanted().await {
                let done = read(&mut connection, &table, &mut hand).await;
                hand.end(done.map_err(|error| failed(&error))).await;
            }
        });
        Ok(snapshot)
    }

    /// Refuses a table of which no moment can be held.
    async fn keeps_moments(
        &self,
        connection: &mut Conn,
        table: &Table,
    ) -> Result<(), DatabaseError> {
        let mut name = parts(&table.name, '`');
        let of = name.pop().unwrap_or_default();
        let schema = name.pop().map_or(Value::NULL, Value::from);
        let query = "SELECT engine FROM information_schema.tables
                     WHERE table_schema = coalesce(?, database()) AND table_name = ?";
        let found = connection.exec_first::<Option<String>, _, _>(query, (schema, of)).await;
        match found.map_err(|error| away(&error))?.flatten() {
            Some(engine) if !engine.eq_ignore_ascii_case("InnoDB") => {
                Err(DatabaseError::Setup(format!(
                    "table {}: its engine {engine} has no snapshots; copy it into one of InnoDB, \
                     or export it to a file",
                    table.name
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Hands over all rows of a table.
async fn read(connection: &mut Conn, table: &Table, hand: &mut Hand) -> Result<(), Error> {
    let text = all(table, |column| column.name.clone());
    let mut rows = connection.exec_iter(text, ()).await?;
    while let Some(row) = rows.next().await? {
        let copied = fields(table, row).map_err(|error| match error {
            DatabaseError::Refused(why) => why,
            other => other.to_string(),
        });
        if !hand.row(copied).await {
            break;
        }
    }
    Ok(())
}

/// How a session is set up: no statement takes longer than this, or none is bounded if it is zero.
/// MariaDB runs what stands in the first comment, MySQL what stands in the second.
fn bounded(timeout: Duration) -> String {
    format!(
        "SET time_zone = '+00:00', sql_mode = '' /*M!100101 , max_statement_time = {} */ \
         /*!50708 , max_execution_time = {} */",
        timeout.as_secs_f64(),
        timeout.as_millis()
    )
}

impl Database for MySql {
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

/// The names in a quoted one, in which dots may stand between.
fn parts(name: &str, quote: char) -> Vec<String> {
    let (mut all, mut chars, mut is_inside) = (vec![String::new()], name.chars().peekable(), false);
    while let Some(c) = chars.next() {
        let last = all.last_mut().expect("there is one from the beginning");
        if c == quote && is_inside && chars.next_if_eq(&quote).is_some() {
            last.push(quote);
        } else if c == quote {
            is_inside = !is_inside;
        } else if c == '.' && !is_inside {
            all.push(String::new());
        } else {
            last.push(c);
        }
    }
    all
}

/// Names as MySQL quotes them.
fn quoted(parts: &[String]) -> String {
    let parts = parts.iter().map(|part| format!("`{}`", part.replace('`', "``")));
    parts.collect::<Vec<_>>().join(".")
}

/// How a column is read for a column of the stream; `None` if it would not give the values that
/// the stream's events have.
fn reading(wanted: ColumnType, found: &Column) -> Option<Reading> {
    let int = match found.column_type() {
        Type::MYSQL_TYPE_TINY
        | Type::MYSQL_TYPE_SHORT
        | Type::MYSQL_TYPE_INT24
        | Type::MYSQL_TYPE_LONG
        | Type::MYSQL_TYPE_LONGLONG => Some(Reading::Int(8)),
        _ => None,
    };
    let number = int.or(match found.column_type() {
        Type::MYSQL_TYPE_NEWDECIMAL => Some(Reading::Number),
        Type::MYSQL_TYPE_DOUBLE => Some(Reading::Double),
        _ => None,
    });
    match (wanted, found.column_type()) {
        (ColumnType::Boolean, Type::MYSQL_TYPE_BIT) => {
            (found.column_length() == 1).then_some(Reading::Bool)
        }
        (ColumnType::Boolean, _) => int,
        (ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt, _) => {
            number.filter(|reading| *reading != Reading::Double)
        }
        (ColumnType::Decimal { .. } | ColumnType::Double, _) => number,
        (
            ColumnType::Varchar,
            Type::MYSQL_TYPE_VAR_STRING | Type::MYSQL_TYPE_STRING | Type::MYSQL_TYPE_BLOB,
        ) => (found.character_set() != BINARY).then_some(Reading::Text),
        (ColumnType::Varchar, _) => None,
        (ColumnType::Timestamp, Type::MYSQL_TYPE_DATETIME | Type::MYSQL_TYPE_TIMESTAMP) => {
            Some(Reading::Instant)
        }
        (ColumnType::Timestamp, _) => int,
        (ColumnType::Date, Type::MYSQL_TYPE_DATE) => Some(Reading::Date),
        (ColumnType::Date, _) => None,
    }
}

/// What a parameter is cast to that goes as text: else decimals would be compared as doubles.
fn cast(wanted: ColumnType, reading: Reading) -> String {
    match (wanted, reading) {
        (ColumnType::Decimal { scale, .. }, _) => format!("DECIMAL(65, {scale})"),
        (_, Reading::Instant) => "DATETIME(6)".into(),
        (_, Reading::Date) => "DATE".into(),
        _ => String::new(),
    }
}

/// A column's type, for messages.
fn name_of(found: &Column) -> String {
    let name = format!("{:?}", found.column_type());
    let name = name.trim_start_matches("MYSQL_TYPE_");
    match (name, found.character_set()) {
        ("VAR_STRING" | "STRING" | "BLOB", BINARY) => "binary".into(),
        (name, _) => name.to_owned(),
    }
}

fn value(param: Param) -> Value {
    match param {
        Param::Int(value) => Value::Int(value),
        Param::Double(value) => Value::Double(value),
        Param::Text(text) => Value::Bytes(text.into_bytes()),
        Param::Time(us) => {
            let text = Timestamp(us).to_string().replace('T', " ");
            Value::Bytes(text.trim_end_matches('Z').into())
        }
    }
}

fn fields(table: &Table, row: Row) -> Result<Fields, DatabaseError> {
    let columns = row.unwrap_raw().into_iter().zip(&table.columns).zip(&table.types);
    columns.map(|((value, column), &ty)| field(table, column, ty, value)).collect()
}

fn field(
    table: &Table,
    column: &TableColumn,
    ty: ColumnType,
    value: Option<Value>,
) -> Result<Field, DatabaseError> {
    let unit = table.time_unit.filter(|_| ty == ColumnType::Timestamp).map(time_unit);
    let int = |value: i64| match unit {
        Some(unit) => Field::Epoch(value, unit),
        None => Field::Int(value),
    };
    let refused = |what: &str| {
        DatabaseError::Refused(format!("table {}, column {}: {what}", table.name, column.name))
    };
    Ok(match (value, column.reading) {
        (None | Some(Value::NULL), _) => Field::Null,
        (Some(Value::Int(value)), _) => int(value),
        (Some(Value::UInt(value)), _) => match i64::try_from(value) {
            Ok(value) => int(value),
            Err(_) => Field::Number(value.to_string()),
        },
        (Some(Value::Double(value)), _) => Field::Double(value),
        (Some(Value::Bytes(bytes)), Reading::Bool) => Field::Bool(bytes.iter().any(|b| *b != 0)),
        (Some(Value::Bytes(bytes)), reading) => {
            let text = String::from_utf8(bytes).map_err(|_| refused("it is no UTF-8"))?;
            match reading {
                Reading::Number => Field::Number(text),
                _ => Field::Text(text),
            }
        }
        // What is zero there, 0000-00-00, is no time that the decoder takes.
        (Some(Value::Date(year, month, day, ..)), Reading::Date) => {
            Field::Text(format!("{year:04}-{month:02}-{day:02}"))
        }
        (Some(Value::Date(year, month, day, hour, minute, second, us)), _) => Field::Text(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z"
        )),
        (Some(Value::Float(_) | Value::Time(..)), _) => {
            return Err(refused("it is of another type than when it was looked at"));
        }
    })
}

/// What the server said, or why it said nothing.
fn said(error: &Error) -> String {
    match error {
        Error::Server(said) => said.message.clone(),
        other => other.to_string(),
    }
}

fn away(error: &Error) -> DatabaseError {
    DatabaseError::Away(said(error))
}

/// A query that failed: by the key's values, by table and settings, or because nobody answers.
fn failed(error: &Error) -> DatabaseError {
    match error {
        // Its words hold the value, which is the key's.
        Error::Server(said) if said.state.starts_with("22") => DatabaseError::Refused(format!(
            "its column is of a type that does not take the value (SQLSTATE {})",
            said.state
        )),
        Error::Server(said)
            if [NO_SUCH_TABLE, NO_SUCH_COLUMN].contains(&said.code)
                || DENIED.contains(&said.code) =>
        {
            DatabaseError::Setup(said.message.clone())
        }
        _ => away(error),
    }
}

/// A table that is not there, or is not as the settings say.
fn unfit(error: &Error, names: &Names) -> DatabaseError {
    let (table, place) = (quoted(&parts(&names.table, '"')), names.place());
    let Error::Server(server) = error else { return failed(error) };
    let remedy = match server.code {
        NO_SUCH_TABLE => {
            format!("say which table has the events of stream {}: {place} table", names.stream)
        }
        NO_SUCH_COLUMN => format!("say which column of the table it is: {place} columns"),
        code if DENIED.contains(&code) => {
            format!("GRANT SELECT ON {table} to the user of the URL")
        }
        _ => return failed(error),
    };
    DatabaseError::Setup(format!("table {table}: {}; {remedy}", said(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_double_quotes_are_those_in_backticks() {
        for (name, expected) in [
            ("\"a\"", "`a`"),
            ("\"a\".\"b\"", "`a`.`b`"),
            ("\"a.b\"", "`a.b`"),
            ("\"a\"\"b`\"", "`a\"b```"),
        ] {
            let found = parts(name, '"');
            assert_eq!(quoted(&found), expected);
            assert_eq!(parts(expected, '`'), found);
        }
    }
}
