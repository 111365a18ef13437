//! Settings: one file `trueup.toml` with environments, overridden by `TRUEUP_…` variables and then
//! by flags of the same names.
//!
//! Two steps: `raw` is what is written, in any mixture; [`Settings`] is what follows from it,
//! with every option settled and every impossible combination refused with its place and remedy.

mod avro;
mod database;
mod models;
mod places;
mod raw;
mod text;
mod views;

pub use avro::{AvroSaid, FilesSaid};
pub use database::{DatabaseSettings, TableSaid};
pub use models::{ModelSettings, ModelsSaid, ModelsSettings};
pub use raw::{Flags, Layer, Said};
pub use text::duration;
pub use views::ViewSaid;

use crate::ingest::DEFAULT_MAX_BAD_PERCENT;
use crate::place::{AvroStreams, BadRecords, Place, Sources};
use crate::serve::Policies;
use raw::{Origin, Raw};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The file that is read where no other is named.
pub const FILE_NAME: &str = "trueup.toml";

/// The environment where none is named.
pub(crate) const DEFAULT_ENVIRONMENT: &str = "dev";

/// How far the pipeline may be behind before values are STALE, unless settings say.
const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(10);

/// Checked settings; nothing in them is in doubt.
#[derive(Clone)]
pub struct Settings {
    /// The environment's name.
    pub environment: String,
    /// A file of SQL, or a folder of them.
    pub definitions: PathBuf,
    /// Where state and logs are kept.
    pub store: Place,
    /// Where events come from, beside HTTP push.
    pub sources: Sources,
    /// The schemas of those that hold Avro.
    pub avro: AvroStreams,
    /// What becomes of records that cannot be used.
    pub bad: BadRecords,
    /// The database that is asked for what the store does not vouch for.
    pub database: Option<DatabaseSettings>,
    /// What views return in place of values of some status.
    pub views: Policies,
    /// Whether rows that are recorded go into the log too; else their callers publish them.
    pub record_to_log: bool,
    /// The models that score rows, if there are any.
    pub models: Option<ModelsSettings>,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The same of a process that only applies events; it listens nowhere unless told.
    pub ingest_listen: Option<SocketAddr>,
    /// The address of the gRPC mirror, if there is one.
    pub grpc_listen: Option<SocketAddr>,
    /// How far behind the pipeline may be before values are STALE.
    pub max_staleness: Duration,
    /// The bearer token of this server's callers.
    pub token: Option<String>,
    /// Whether it listens to the world without a token because the settings say so.
    pub insecure: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("environment", &self.environment)
            .field("definitions", &self.definitions)
            .field("store", &self.store)
            .field("sources", &self.sources)
            .field("avro", &self.avro.keys())
            .field("bad", &self.bad)
            .field("database", &self.database)
            .field("views", &self.views)
            .field("record_to_log", &self.record_to_log)
            .field("models", &self.models)
            .field("listen", &self.listen)
            .field("ingest_listen", &self.ingest_listen)
            .field("grpc_listen", &self.grpc_listen)
            .field("max_staleness", &self.max_staleness)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("insecure", &self.insecure)
            .finish()
    }
}

/// Why settings are not taken: which one, where it was said, and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML of the known settings.
    Toml {
        /// Its path.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The environment that was named is not in the file.
    Environment {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A setting's value is not taken.
    Value {
        /// The setting.
        setting: &'static str,
        /// Where it was said.
        place: String,
        /// What is wrong, with the remedy.
        reason: String,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::File { path, reason } => {
                write!(f, "settings {} cannot be read: {reason}", path.display())
            }
            SettingsError::Toml { path, reason } => {
                write!(f, "settings {} are not understood: {reason}", path.display())
            }
            SettingsError::Environment { name, known } => write!(
                f,
                "there is no environment {name} in the settings; there are: {known}; choose one \
                 with --env, or add [env.{name}]"
            ),
            SettingsError::Value { setting, place, reason } => {
                write!(f, "setting {setting} ({place}): {reason}")
            }
        }
    }
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// Whether it is that no online store can be had.
    pub fn is_of_store(&self) -> bool {
        matches!(self, SettingsError::Value { setting: "store", .. })
    }
}

impl Settings {
    /// The settings of this process: file, variables (by name) and flags, each over the one before.
    ///
    /// # Errors
    /// [`SettingsError`], for the first thing that is wrong.
    pub fn load(
        flags: &Flags,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        Settings::checked(&Raw::gather(flags, variable)?, places::store)
    }

    /// The same as if the online store were an empty one that forgets, whatever is said of it. For
    /// one who examines settings that name no store; nothing is served by them.
    ///
    /// # Errors
    /// [`SettingsError`], for the first other thing that is wrong.
    pub fn without_store(
        flags: &Flags,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        Settings::checked(&Raw::gather(flags, variable)?, |_| Ok(Place::Memory))
    }

    fn checked(
        raw: &Raw,
        store: impl FnOnce(&Raw) -> Result<Place, SettingsError>,
    ) -> Result<Settings, SettingsError> {
        let definitions = raw.need(
            "definitions",
            |layer| layer.definitions.as_ref(),
            || {
                "give --definitions PATH, or write definitions = \"PATH\" in trueup.toml \
             (`trueup init` makes both)"
                    .to_string()
            },
        )?;
        let store = store(raw)?;
        let sources = places::sources(raw)?;
        let listen = address("listen", raw.find(|layer| layer.listen.as_ref()))?;
        let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let ingest_listen =
            address("ingest_listen", raw.find(|layer| layer.ingest_listen.as_ref()))?;
        let grpc_listen = grpc_listen(raw)?;
        let max_staleness = match raw.find(|layer| layer.max_staleness.as_ref()) {
            None => DEFAULT_MAX_STALENESS,
            Some((place, said)) => duration(said)
                .map_err(|reason| value("max_staleness", place.to_string(), reason))?,
        };
        let token = raw.token()?;
        let insecure = raw.find(|layer| layer.insecure.as_ref()).is_some_and(|(_, said)| *said);
        for (setting, listen) in [
            ("listen", Some(listen)),
            ("ingest_listen", ingest_listen),
            ("grpc_listen", grpc_listen),
        ] {
            let Some(open) = listen.filter(|listen| !listen.ip().is_loopback()) else { continue };
            if token.is_none() && !insecure {
                let reason = format!(
                    "{open} can be reached from other machines; set TRUEUP_TOKEN or token_file, or \
                     say insecure = true if everybody there may read and write"
                );
                return Err(value(setting, "no token".into(), reason));
            }
        }
        let record_to_log = raw.find(|layer| layer.record_to_log.as_ref());
        let definitions = raw.base(&definitions.0).join(definitions.1);
        Ok(Settings {
            environment: raw.environment.clone(),
            definitions,
            store,
            sources,
            avro: avro::avro(raw)?,
            bad: bad_records(raw)?,
            database: database::database(raw, max_staleness)?,
            views: views::views(raw)?,
            record_to_log: record_to_log.is_none_or(|(_, said)| *said),
            models: models::models(raw)?,
            listen,
            ingest_listen,
            grpc_listen,
            max_staleness,
            token,
            insecure,
        })
    }
}

/// What becomes of records that cannot be used.
fn bad_records(raw: &Raw) -> Result<BadRecords, SettingsError> {
    let accept_bad = raw.find(|layer| layer.accept_bad.as_ref()).is_some_and(|(_, said)| *said);
    let max_percent = match raw.find(|layer| layer.max_bad_percent.as_ref()) {
        _ if accept_bad => None,
        None => Some(DEFAULT_MAX_BAD_PERCENT),
        Some((_, percent @ 1..=100)) => Some(*percent),
        Some((place, percent)) => {
            let reason = format!("{percent} is not taken; write 1 to 100");
            return Err(value("max_bad_percent", place.to_string(), reason));
        }
    };
    Ok(BadRecords { max_percent, also_to: places::dead_letters(raw)? })
}

/// The address of the gRPC mirror, in programs that have it.
fn grpc_listen(raw: &Raw) -> Result<Option<SocketAddr>, SettingsError> {
    let said = raw.find(|layer| layer.grpc_listen.as_ref());
    match &said {
        Some((place, _)) if !cfg!(feature = "grpc") => {
            let reason = "this program was built without gRPC; build it with the feature `grpc`: \
                          cargo build --release --features grpc";
            Err(value("grpc_listen", place.to_string(), reason.into()))
        }
        _ => address("grpc_listen", said),
    }
}

/// An address that was said, if one was.
fn address(
    setting: &'static str,
    said: Option<(Origin, &String)>,
) -> Result<Option<SocketAddr>, SettingsError> {
    let parse = |(place, said): (Origin, &String)| {
        said.parse().map_err(|_| {
            let reason = format!("{said:?} is no address; write it as 127.0.0.1:8080");
            value(setting, place.to_string(), reason)
        })
    };
    said.map(parse).transpose()
}

fn value(setting: &'static str, place: String, reason: String) -> SettingsError {
    SettingsError::Value { setting, place, reason }
}

#[cfg(test)]
mod facts;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
