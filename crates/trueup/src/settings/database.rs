//! The settings of the database that is asked for what the store does not vouch for.

use super::raw::{Origin, Raw};
use super::text::duration;
use super::{SettingsError, value};
use crate::database::{DatabasePlace, TableSettings};
use crate::place::public;
use crate::serve::{Bounds, MILLION};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use trueup_sql::EpochUnit;

/// The most connections: a transactional database has some hundred for all that it serves.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// The most rows of an answer: a tenth of a second to fold.
pub(super) const MAX_ROWS: usize = 100_000;

/// One hit in a thousand: enough to see skew within hours, and the way to the database exercised.
const USUAL_SAMPLE: u32 = MILLION / 1_000;

/// A database, the tables in it and the bounds on asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Where it is.
    pub place: DatabasePlace,
    /// How streams' tables are called, by the streams' names.
    pub tables: BTreeMap<String, TableSettings>,
    /// How much it is asked.
    pub bounds: Bounds,
    /// So many of a million hits are compared with it.
    pub verify_per_million: u32,
    /// Whether its answers are written into the store.
    pub write_back: bool,
    /// How far behind the pipeline may be.
    pub max_staleness: Duration,
}

/// A stream's table as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSaid {
    /// The table, perhaps with its schema before a dot.
    pub table: Option<String>,
    /// The table's columns, by the stream's, where they have other names.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// What integers in its time column count: `seconds`, `milliseconds` or `microseconds`.
    pub time_unit: Option<String>,
}

pub(super) fn database(
    raw: &Raw,
    max_staleness: Duration,
) -> Result<Option<DatabaseSettings>, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.database.as_ref()) else {
        return Ok(None);
    };
    let wrong = |reason: String| value("database", origin.to_string(), reason);
    let place = match said.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => {
            DatabasePlace::Sqlite(raw.base(&origin).join(path))
        }
        Some(("mysql", _)) => {
            DatabasePlace::MySql { url: said.clone(), password: raw.database_password()? }
        }
        Some(("postgres" | "postgresql", _)) => {
            DatabasePlace::Postgres { url: said.clone(), password: raw.database_password()? }
        }
        _ => {
            return Err(wrong(format!(
                "{:?} is no database; write postgres://USER@HOST:PORT/NAME, \
                 mysql://USER@HOST:PORT/NAME or sqlite:PATH",
                public(said)
            )));
        }
    };
    let mut tables = BTreeMap::new();
    if let Some((origin, said)) = raw.find(|layer| layer.database_tables.as_ref()) {
        for (stream, said) in said {
            tables.insert(stream.clone(), table(said, &origin)?);
        }
    }
    let (bounds, verify_per_million) = (bounds(raw)?, verify_per_million(raw)?);
    let write_back = raw.find(|layer| layer.write_back.as_ref()).is_none_or(|(_, said)| *said);
    Ok(Some(DatabaseSettings {
        place,
        tables,
        bounds,
        verify_per_million,
        write_back,
        max_staleness,
    }))
}

/// The sample of hits, said as a share.
fn verify_per_million(raw: &Raw) -> Result<u32, SettingsError> {
    match raw.find(|layer| layer.verify_sample.as_ref()) {
        None => Ok(USUAL_SAMPLE),
        Some((_, share)) if (0.0..=1.0).contains(share) => Ok((share * f64::from(MILLION)) as u32),
        Some((origin, share)) => {
            let reason = format!("{share} is not taken; write a share from 0 to 1, such as 0.001");
            Err(value("verify_sample", origin.to_string(), reason))
        }
    }
}

fn table(said: &TableSaid, origin: &Origin) -> Result<TableSettings, SettingsError> {
    let time_unit = match said.time_unit.as_deref() {
        None => None,
        Some("seconds") => Some(EpochUnit::Seconds),
        Some("milliseconds") => Some(EpochUnit::Millis),
        Some("microseconds") => Some(EpochUnit::Micros),
        Some(other) => {
            let reason =
                format!("time_unit {other:?}: write seconds, milliseconds or microseconds");
            return Err(value("database_tables", origin.to_string(), reason));
        }
    };
    let (table, columns) = (said.table.clone(), said.columns.clone());
    Ok(TableSettings { table, columns, time_unit })
}

fn bounds(raw: &Raw) -> Result<Bounds, SettingsError> {
    let usual = Bounds::default();
    let connections = raw.find(|layer| layer.database_connections.as_ref());
    let per_second = raw.find(|layer| layer.database_per_second.as_ref());
    let max_rows = raw.find(|layer| layer.database_max_rows.as_ref());
    let max_failures = raw.find(|layer| layer.database_max_failures.as_ref());
    let timeout = raw.find(|layer| layer.database_timeout.as_ref());
    let pause = raw.find(|layer| layer.database_pause.as_ref());
    Ok(Bounds {
        connections: within(
            "database_connections",
            connections,
            usual.connections,
            MAX_CONNECTIONS,
        )?,
        per_second: within("database_per_second", per_second, usual.per_second, u32::MAX)?,
        timeout: length("database_timeout", timeout, usual.timeout)?,
        max_rows: within("database_max_rows", max_rows, usual.max_rows, MAX_ROWS)?,
        max_failures: within("database_max_failures", max_failures, usual.max_failures, u32::MAX)?,
        pause: length("database_pause", pause, usual.pause)?,
    })
}

/// A number from 1 to `most`.
fn within<T: Copy + PartialOrd + From<u8> + std::fmt::Display>(
    setting: &'static str,
    said: Option<(Origin, &T)>,
    usual: T,
    most: T,
) -> Result<T, SettingsError> {
    match said {
        None => Ok(usual),
        Some((_, &said)) if said >= T::from(1) && said <= most => Ok(said),
        Some((origin, said)) => {
            let reason = format!("{said} is not taken; write 1 to {most}");
            Err(value(setting, origin.to_string(), reason))
        }
    }
}

/// A duration above zero.
fn length(
    setting: &'static str,
    said: Option<(Origin, &String)>,
    usual: Duration,
) -> Result<Duration, SettingsError> {
    let Some((origin, said)) = said else { return Ok(usual) };
    match duration(said) {
        Ok(Duration::ZERO) => Err("write more than nothing".to_string()),
        other => other,
    }
    .map_err(|reason| value(setting, origin.to_string(), reason))
}
