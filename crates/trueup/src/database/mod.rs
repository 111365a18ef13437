//! A database that holds the events too, asked for raw events of one key when the online store
//! cannot vouch for them, or for all that a table holds when it is to be a history.
//!
//! ```text
//! stream + settings ─▶ Names ─▶ Database::look ─▶ Table (how each column is read)
//! Table + Ask ─▶ Database::events ─▶ rows of Fields ─▶ the stream's decoder
//! Table ─▶ Database::snapshot ─▶ all its rows, at one moment: a history (`spool::table`)
//! ```
//!
//! It asks for events and for nothing else: no aggregate is ever computed by a database. When to
//! ask, and how often, is not decided here but in `serve::fallback`.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod connect;
mod field;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod mysql_tls;
mod names;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_tls;
mod query;
mod snapshot;
mod sqlite;
mod table;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod tls;

pub use field::Field;
pub use names::{Names, TableSettings};
pub use query::Ask;
pub use snapshot::{Copied, Snapshot};
pub use table::{Reading, Table, TableColumn};

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use trueup_sql::Stream;

/// What a database answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, DatabaseError>> + Send + 'a>>;

/// One row: a field for every column of the stream, in its order.
pub type Fields = Vec<Field>;

/// A database with the events of streams in tables.
pub trait Database: fmt::Debug + Send + Sync {
    /// Looks at a stream's table: how its columns are read, or why they cannot be.
    fn look<'a>(&'a self, stream: &'a Stream, names: &'a Names) -> Answer<'a, Table>;

    /// Whether some index of the table begins with these columns (by their places in the stream).
    fn has_index<'a>(&'a self, table: &'a Table, keys: &'a [usize]) -> Answer<'a, bool>;

    /// The newest events of a key in a range of event times, the newest first, at most so many.
    /// A caller that no longer waits drops the future, and the query is given up.
    fn events<'a>(&'a self, table: &'a Table, ask: &'a Ask) -> Answer<'a, Vec<Fields>>;

    /// All rows of the table as they are when this answers, in no order; by a connection of its
    /// own, which no bound on queries ends.
    fn snapshot<'a>(&'a self, table: &'a Table) -> Answer<'a, Snapshot>;
}

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    /// `mysql://USER@HOST:PORT/NAME`, and the password where the URL has none.
    MySql {
        /// The URL.
        url: String,
        /// From a variable or a file.
        password: Option<String>,
    },
    /// `postgres://USER@HOST:PORT/NAME`, and the password where the URL has none.
    Postgres {
        /// The URL.
        url: String,
        /// From a variable or a file.
        password: Option<String>,
    },
    /// A file of SQLite.
    Sqlite(PathBuf),
}

impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Behind the name may stand a password too.
            DatabasePlace::MySql { url, .. } | DatabasePlace::Postgres { url, .. } => {
                let url = crate::place::public(url);
                f.write_str(url.split('?').next().unwrap_or_default())
            }
            DatabasePlace::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

/// Without secrets.
impl fmt::Debug for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a database did not do, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// Table and settings do not fit together; asking again changes nothing.
    Setup(String),
    /// It refuses the values of this key; it works for others.
    Refused(String),
    /// It cannot be reached, broke off or took too long.
    Away(String),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Setup(why) => f.write_str(why),
            DatabaseError::Refused(why) => write!(f, "the database refuses this key: {why}"),
            DatabaseError::Away(why) => write!(f, "the database does not answer: {why}"),
        }
    }
}

impl std::error::Error for DatabaseError {}

/// Makes ready to ask a database; nothing is connected yet. `connections` is how many queries it
/// is asked at one time, `timeout` after how long a server gives one up by itself.
///
/// # Errors
/// The place is none that can be asked, with the remedy.
pub fn open(
    place: &DatabasePlace,
    connections: usize,
    timeout: Duration,
) -> Result<Arc<dyn Database>, DatabaseError> {
    match place {
        DatabasePlace::Sqlite(path) => {
            Ok(Arc::new(sqlite::Sqlite::open(path, connections, timeout)?))
        }
        #[cfg(feature = "mysql")]
        DatabasePlace::MySql { url, password } => {
            Ok(Arc::new(mysql::MySql::open(url, password.as_deref(), timeout)?))
        }
        #[cfg(not(feature = "mysql"))]
        DatabasePlace::MySql { .. } => Err(DatabaseError::Setup(
            "this program was built without MySQL; build it with the feature `mysql`".into(),
        )),
        #[cfg(feature = "postgres")]
        DatabasePlace::Postgres { url, password } => {
            Ok(Arc::new(postgres::Postgres::open(url, password.as_deref(), timeout)?))
        }
        #[cfg(not(feature = "postgres"))]
        DatabasePlace::Postgres { .. } => Err(DatabaseError::Setup(
            "this program was built without PostgreSQL; build it with the feature `postgres`"
                .into(),
        )),
    }
}
