//! When the database is asked for what the online store cannot vouch for, and when it is not.
//!
//! ```text
//! Want ─▶ a flight of that key under way? ─ yes ─▶ wait for it
//!            │ no
//!            ├─▶ paused, or over the budget? ─▶ refused at once
//!            └─▶ wait for one of `connections` ─▶ query, once more if it broke off ─▶ all who wait
//! ```
//!
//! - One flight per key: whoever misses a key that is being asked for waits for that answer.
//! - Nobody waits past the own deadline. A flight that has a connection goes on to its own end,
//!   `timeout`; one that has none by the deadline of who began it is given up.
//! - Flights are tasks and queries are the database's: no thread that answers requests blocks, so
//!   a database that hangs holds up nothing that the store answers.
//! - After `max_failures` in a row it is left alone, then one flight tries for all.
//!
//! What it brings are events, decoded as the stream's; features are `serve::misses`'.

mod bounds;
mod flight;
mod gate;

pub use bounds::{Bounds, Counts};
pub(super) use flight::{Fetched, Landed};

use self::bounds::What;
use self::flight::{Flights, Waiting};
use self::gate::{Ended, Gate, Shut};
use super::verify::Verify;
use super::write_back::WriteBack;
use crate::catalog::{Catalog, StreamPart};
use crate::cause;
use crate::clock::Clock;
use crate::database::{Ask, Database, DatabaseError, Field, Fields, Names, Table, TableSettings};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use trueup_core::Value;

/// How much more than wanted a flight asks for at either end, microseconds: so that those who ask
/// within this time for an instant of their own find theirs in it.
pub(super) const MARGIN_US: i64 = 60_000_000;

/// Rows beside those that a ROWS frame wants: for the margin, the row itself and ties at the end.
const MORE_ROWS: usize = 64;

/// The longest wait before a query that broke off is sent once more. Each waits for a part of it
/// by chance, so that all who lost a connection do not come back in one moment.
const RETRY_WITHIN: Duration = Duration::from_millis(25);

/// Rows that are decoded on the spot; more are decoded on a thread that answers nobody.
const FEW_ROWS: usize = 256;

/// The events of a key that a frame needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Want {
    /// The stream's columns that make the key, and their values.
    pub(super) keys: Vec<usize>,
    pub(super) values: Vec<Value>,
    /// Event times from here on, microseconds since 1970; `i64::MIN` for all.
    pub(super) from_us: i64,
    /// And to here.
    pub(super) to_us: i64,
    /// Only so many of them, the newest.
    pub(super) newest: Option<usize>,
}

/// Why the database gave no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All connections were at work until the deadline.
    Busy,
    /// Too many queries were begun in this second.
    Budget(u32),
    /// It is left alone because it fails.
    Paused,
    /// It failed.
    Database(DatabaseError),
    /// It has a row that the stream would not take.
    BadRow(String),
    /// Its answer did not come before the deadline.
    Deadline,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Busy => f.write_str("all connections to the database are at work"),
            Refusal::Budget(per_second) => {
                write!(f, "the database is asked {per_second} times a second at most")
            }
            Refusal::Paused => f.write_str("the database fails and is left alone for a while"),
            Refusal::Database(error) => error.fmt(f),
            Refusal::BadRow(why) => write!(f, "the database has a row that is no event: {why}"),
            Refusal::Deadline => f.write_str("the database did not answer before the deadline"),
        }
    }
}

/// The database with its guards; one for a process, shared by all that it serves.
#[derive(Debug)]
pub struct Fallback {
    database: Arc<dyn Database>,
    settings: BTreeMap<String, TableSettings>,
    bounds: Bounds,
    clock: Clock,
    /// What became of questions.
    pub counts: Counts,
    /// Compares a sample of hits with it.
    pub verify: Verify,
    /// Writes what it answered into the store.
    pub write_back: WriteBack,
    connections: Semaphore,
    gate: Mutex<Gate>,
}

/// The tables of one set of definitions.
#[derive(Clone, Debug)]
pub struct Tables {
    fallback: Arc<Fallback>,
    flights: Arc<Flights>,
    /// For each stream its table, once it was looked at.
    seen: Arc<Vec<Mutex<Option<Arc<Table>>>>>,
}

impl Fallback {
    /// A database within bounds; `settings` say how streams' tables are called.
    pub fn new(
        database: Arc<dyn Database>,
        settings: BTreeMap<String, TableSettings>,
        bounds: Bounds,
        clock: Clock,
    ) -> Fallback {
        Fallback {
            database,
            settings,
            bounds,
            clock,
            counts: Counts::default(),
            verify: Verify::new(0, Duration::ZERO),
            write_back: WriteBack::new(false),
            connections: Semaphore::new(bounds.connections),
            gate: Mutex::new(Gate::new(bounds, Instant::now())),
        }
    }

    /// Has so many of a million hits compared with it, as they were when the pipeline may last have
    /// been behind.
    #[must_use]
    pub fn verifying(mut self, per_million: u32, max_staleness: Duration) -> Fallback {
        self.verify = Verify::new(per_million, max_staleness);
        self
    }

    /// Has its answers written into the store.
    #[must_use]
    pub fn writing_back(mut self) -> Fallback {
        self.write_back = WriteBack::new(true);
        self
    }

    /// How long a query may take.
    pub(super) fn timeout(&self) -> Duration {
        self.bounds.timeout
    }

    /// Whether it is left alone because it fails.
    pub fn is_paused(&self) -> bool {
        self.gate().is_paused()
    }

    /// Queries that are under way.
    pub fn in_flight(&self) -> usize {
        self.bounds.connections.saturating_sub(self.connections.available_permits())
    }

    /// The bound on rows, for messages.
    pub(super) fn max_rows(&self) -> usize {
        self.bounds.max_rows
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that no index of its table begins with: every miss of it reads the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingIndex {
    /// The table.
    pub table: String,
    /// The columns of the key.
    pub keys: Vec<String>,
    /// The column of the event time.
    time: String,
}

impl MissingIndex {
    /// The statement that makes it, with a name, which SQLite does not choose by itself.
    pub fn statement(&self) -> String {
        let MissingIndex { table, keys, time } = self;
        let of = table.rsplit('.').next().into_iter();
        let words = of.chain(keys.iter().chain([time]).map(String::as_str));
        let words: Vec<&str> = words.map(|word| word.trim_matches(['"', '`'])).collect();
        let name = words.join("_").replace(|c: char| !c.is_alphanumeric(), "_");
        format!("CREATE INDEX {name} ON {table} ({}, {time})", keys.join(", "))
    }
}

impl fmt::Display for MissingIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MissingIndex { table, keys, .. } = self;
        let (keys, remedy) = (keys.join(", "), self.statement());
        write!(
            f,
            "table {table}: no index begins with {keys}; every miss reads the whole table: {remedy}"
        )
    }
}

/// What a question came to at once.
pub(super) enum Asked {
    Waiting(Waiting),
    Refused(Refusal),
}

impl Tables {
    /// The tables of these definitions' streams; none is looked at yet.
    pub fn new(fallback: Arc<Fallback>, catalog: &Catalog) -> Tables {
        let seen = Arc::new(catalog.streams().iter().map(|_| Mutex::default()).collect());
        Tables { fallback, flights: Arc::default(), seen }
    }

    /// The database itself.
    pub fn fallback(&self) -> &Arc<Fallback> {
        &self.fallback
    }

    /// Looks at all tables. Says of each key of a group that no index of its table begins with it.
    ///
    /// # Errors
    /// What does not fit, or that the database is away; with the remedy.
    pub async fn look(&self, catalog: &Catalog) -> Result<Vec<MissingIndex>, DatabaseError> {
        let mut missing = Vec::new();
        for (number, part) in catalog.streams().iter().enumerate() {
            let table = self.table(number, part).await?;
            let groups = catalog.definitions().groups.iter();
            let mut all: Vec<&Vec<usize>> =
                groups.filter(|group| group.stream == number).map(|group| &group.keys).collect();
            all.sort_unstable();
            all.dedup();
            for keys in all.into_iter().filter(|keys| !keys.is_empty()) {
                if !self.fallback.database.has_index(&table, keys).await? {
                    let name = |&key: &usize| table.columns[key].name.clone();
                    missing.push(MissingIndex {
                        table: table.name.clone(),
                        keys: keys.iter().map(name).collect(),
                        time: name(&table.event_time),
                    });
                }
            }
        }
        Ok(missing)
    }

    /// A stream's table, looked at once.
    async fn table(&self, number: usize, part: &StreamPart) -> Result<Arc<Table>, DatabaseError> {
        let seen = || self.seen[number].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*seen() {
            return Ok(Arc::clone(table));
        }
        let settings = self.fallback.settings.get(&part.stream.name);
        let names = Names::of(&part.stream, settings).map_err(DatabaseError::Setup)?;
        let table = Arc::new(self.fallback.database.look(&part.stream, &names).await?);
        *seen() = Some(Arc::clone(&table));
        Ok(table)
    }

    /// Asks for events of the stream with this number, which somebody waits for until `deadline`.
    pub(super) fn ask(
        &self,
        catalog: &Arc<Catalog>,
        stream: usize,
        want: &Want,
        deadline: Instant,
    ) -> Asked {
        let fallback = &self.fallback;
        let ask = self.widened(want);
        let may = || fallback.gate().enter(Instant::now());
        let (waiting, landing) = match self.flights.board(stream, want, &ask, may) {
            Ok((waiting, None)) => {
                fallback.counts.add(What::Joined);
                return Asked::Waiting(waiting);
            }
            Ok((waiting, Some(landing))) => (waiting, landing),
            Err(Shut::Paused) => {
                fallback.counts.add(What::Paused);
                return Asked::Refused(Refusal::Paused);
            }
            Err(Shut::Budget) => {
                fallback.counts.add(What::OverBudget);
                return Asked::Refused(Refusal::Budget(fallback.bounds.per_second));
            }
        };
        fallback.counts.add(What::Asked);
        let (tables, catalog) = (self.clone(), Arc::clone(catalog));
        tokio::spawn(cause::carried(async move {
            let landed = tables.fly(&catalog.streams()[stream], stream, ask, deadline).await;
            landing.land(landed);
        }));
        Asked::Waiting(waiting)
    }

    /// What is asked of the database for what is wanted.
    fn widened(&self, want: &Want) -> Ask {
        let now_us = self.fallback.clock.now().0;
        let near = want.to_us >= now_us.saturating_sub(MARGIN_US);
        let limit = match want.newest {
            Some(rows) => rows.saturating_add(MORE_ROWS).min(self.fallback.bounds.max_rows),
            None => self.fallback.bounds.max_rows,
        };
        Ask {
            keys: want.keys.clone(),
            values: want.values.clone(),
            from_us: want.from_us.saturating_sub(MARGIN_US),
            to_us: match near {
                true => want.to_us.max(now_us).saturating_add(MARGIN_US),
                // An old instant has a future that may be long.
                false => want.to_us,
            },
            // One more shows that there are more.
            limit: limit.saturating_add(1),
        }
    }

    async fn fly(&self, part: &StreamPart, stream: usize, ask: Ask, deadline: Instant) -> Landed {
        let fallback = &self.fallback;
        let free = tokio::time::timeout_at(deadline.into(), fallback.connections.acquire());
        let Ok(Ok(_connection)) = free.await else {
            fallback.gate().ended(Ended::Unasked, Instant::now(), jitter());
            fallback.counts.add(What::Busy);
            return Err(Refusal::Busy);
        };
        let asked_us = fallback.clock.now().0;
        let query = self.query(part, stream, &ask);
        let found = match tokio::time::timeout(fallback.bounds.timeout, query).await {
            Ok(found) => found,
            Err(_) => {
                let timeout = fallback.bounds.timeout;
                Err(DatabaseError::Away(format!("nothing came within {timeout:?}")))
            }
        };
        let how = match &found {
            Err(DatabaseError::Away(_) | DatabaseError::Setup(_)) => Ended::Failed,
            Ok(_) | Err(DatabaseError::Refused(_)) => Ended::Answered,
        };
        fallback.gate().ended(how, Instant::now(), jitter());
        let rows = found.map_err(|error| {
            fallback.counts.add(What::Failed);
            tracing::warn!(stream = part.stream.name, %error, "a question to the database failed");
            Refusal::Database(error)
        })?;
        let fetched = decoded(part, &ask, rows, asked_us).await.inspect_err(|_| {
            fallback.counts.add(What::BadRow);
        })?;
        fallback.counts.add(if fetched.cut { What::Cut } else { What::Answered });
        Ok(Arc::new(fetched))
    }

    /// The query, and once more if it broke off.
    async fn query(
        &self,
        part: &StreamPart,
        stream: usize,
        ask: &Ask,
    ) -> Result<Vec<Fields>, DatabaseError> {
        match self.query_once(part, stream, ask).await {
            Err(DatabaseError::Away(_)) => {}
            done => return done,
        }
        self.fallback.counts.add(What::Retried);
        tokio::time::sleep(RETRY_WITHIN.mul_f64(jitter())).await;
        self.query_once(part, stream, ask).await
    }

    async fn query_once(
        &self,
        part: &StreamPart,
        stream: usize,
        ask: &Ask,
    ) -> Result<Vec<Fields>, DatabaseError> {
        let table = self.table(stream, part).await?;
        self.fallback.database.events(&table, ask).await
    }

    /// Waits for what was asked, but not past the deadline.
    pub(super) async fn wait(&self, asked: Asked, deadline: Instant) -> Landed {
        let mut waiting = match asked {
            Asked::Waiting(waiting) => waiting,
            Asked::Refused(why) => return Err(why),
        };
        let landed = tokio::time::timeout_at(deadline.into(), waiting.wait_for(Option::is_some));
        match landed.await {
            Ok(Ok(landed)) => landed.clone().unwrap_or(Err(Refusal::Deadline)),
            // The task that flew it has ended without a word.
            Ok(Err(_)) => Err(Refusal::Deadline),
            Err(_) => {
                self.fallback.counts.add(What::Late);
                Err(Refusal::Deadline)
            }
        }
    }
}

/// Rows as the stream's decoder takes them. One bad row spoils all: what the stream had in its
/// place may have counted.
async fn decoded(
    part: &StreamPart,
    ask: &Ask,
    mut rows: Vec<Fields>,
    asked_us: i64,
) -> Result<Fetched, Refusal> {
    let cut = rows.len() >= ask.limit;
    if cut {
        rows.pop();
    }
    let (decoder, is_long) = (part.decoder.clone(), rows.len() > FEW_ROWS);
    let decode = move || {
        let rows: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(Field::cell).collect()).collect();
        let decoded = decoder.rows(&rows).map_err(|error| Refusal::BadRow(error.to_string()))?;
        match decoded.bad.first() {
            None => Ok(decoded.batch),
            Some(bad) => Err(Refusal::BadRow(bad.label())),
        }
    };
    let batch: RecordBatch = match is_long {
        false => decode()?,
        true => tokio::task::spawn_blocking(decode)
            .await
            .unwrap_or_else(|_| Err(Refusal::BadRow("its rows could not be decoded".into())))?,
    };
    let times = batch.column(part.stream.event_time).as_primitive::<TimestampMicrosecondType>();
    let oldest = times.values().iter().min().copied();
    let whole_from_us = match (cut, oldest) {
        // Of those with the oldest time some may have been left out.
        (true, Some(oldest)) => oldest.saturating_add(1),
        (true, None) => i64::MAX,
        (false, _) => ask.from_us,
    };
    let whole_to_us = ask.to_us;
    Ok(Fetched {
        rows: batch,
        whole_from_us,
        cut,
        whole_to_us,
        asked_us,
        written: Mutex::default(),
    })
}

/// A number between 0 and 1, by chance; the middle where there is none to be had.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
