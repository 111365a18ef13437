//! What is written, before it is checked: layers of the same settings, the later ones over the
//! earlier.

use super::avro::AvroSaid;
use super::database::TableSaid;
use super::models::ModelsSaid;
use super::views::ViewSaid;
use super::{DEFAULT_ENVIRONMENT, FILE_NAME, SettingsError, value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, ValueDeserializer};
use trueup_sql::suggest;

/// The settings of one layer; none must be there. The comments are what `docs/settings.md` says of
/// each key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// A file of SQL, or a folder of them: the streams and views.
    pub definitions: Option<String>,
    /// Where the state is kept: `embedded:PATH`, `redis://`, `rediss://` (TLS), `unix:PATH`,
    /// `redis-sentinel://`, `rediss-sentinel://`, `redis-cluster://`, `rediss-cluster://`, or
    /// `memory:`, which forgets.
    pub store: Option<String>,
    /// What every key in Redis begins with. One store is one installation: another project's
    /// processes need another one.
    pub store_prefix: Option<String>,
    /// A file whose first line is the password of Redis, where the URL has none.
    pub store_password_file: Option<String>,
    /// Certificates (PEM) that vouch for Redis, instead of the system's.
    pub store_ca_file: Option<String>,
    /// The directory of logs, dead letters and records in hand, where the state is in Redis; one
    /// process has it for itself. With `embedded:PATH` they are in PATH.
    pub data: Option<String>,
    /// Where events come from, beside HTTP push: `kafka://HOST:PORT,…/TOPIC?group=NAME`,
    /// `nats://HOST:PORT,…/SUBJECT?stream=NAME&partitions=N`,
    /// `redis-stream://HOST:PORT/STREAM?partitions=N`, or, for `trueup ingest`, `file:PATH`
    /// (`.parquet`, `.csv`, `.jsonl`). One URL where there is one stream; else `STREAM=URL`, a list
    /// of these, or a table of URLs by stream.
    pub source: Option<Said>,
    /// The schemas of streams whose logs hold Avro, by the streams' names.
    pub avro: Option<BTreeMap<String, AvroSaid>>,
    /// A file whose first line is the password, or the token, of the servers of NATS or Redis
    /// Streams, where the URL has none.
    pub source_password_file: Option<String>,
    /// Where dead letters go beside the local log: `kafka://HOST:PORT/TOPIC`,
    /// `redis-stream://HOST:PORT/STREAM` or `file:PATH`.
    pub dead_letters: Option<String>,
    /// The share of a stream's last 1,000 records that cannot be used, in percent, at which the
    /// stream stops.
    pub max_bad_percent: Option<u8>,
    /// Never stop over bad records: file them all and go on.
    pub accept_bad: Option<bool>,
    /// librdkafka's properties, such as `"security.protocol" = "SASL_SSL"`, for all sources and
    /// dead letters in Kafka. A name that ends in `_file` gives the property before it the first
    /// line of that file.
    pub kafka: Option<BTreeMap<String, String>>,
    /// The database that is asked for what the store does not vouch for:
    /// `postgres://USER@HOST:PORT/NAME`, `mysql://USER@HOST:PORT/NAME` or `sqlite:PATH`. How
    /// connections are encrypted is said there too, by `sslmode` and `sslrootcert` of libpq, or
    /// `ssl-mode` and `ssl-ca` of MySQL; a server that is not on this machine has to prove its
    /// name unless they say otherwise.
    pub database: Option<String>,
    /// A file whose first line is the password of the database, where the URL has none.
    pub database_password_file: Option<String>,
    /// Queries at one time, of this process; more wait, but not past their deadline.
    pub database_connections: Option<usize>,
    /// Queries begun in a second, by this process.
    pub database_per_second: Option<u32>,
    /// How long a query may take, whoever waits for it.
    pub database_timeout: Option<String>,
    /// Events of the largest answer; frames that need more are `UNKNOWN`.
    pub database_max_rows: Option<usize>,
    /// Failures in a row at which the database is left alone.
    pub database_max_failures: Option<u32>,
    /// For how long at first; each try in vain doubles it, up to a minute.
    pub database_pause: Option<String>,
    /// The share of hits that are compared with the database behind the answer's back.
    pub verify_sample: Option<f64>,
    /// Whether what the database answered is written into the store, where windows are exact.
    pub write_back: Option<bool>,
    /// Streams' tables in the database, by the streams' names, where they or their columns have
    /// other names.
    pub database_tables: Option<BTreeMap<String, TableSaid>>,
    /// What views return for values of each status.
    pub views: Option<BTreeMap<String, ViewSaid>>,
    /// Whether what is recorded goes into the stream's log too; `false` is for callers that publish
    /// each event themselves.
    pub record_to_log: Option<bool>,
    /// The models that score rows.
    pub models: Option<ModelsSaid>,
    /// Where the server listens, and where commands that talk to it look for it. Any address but a
    /// loopback one needs a token or `insecure`.
    pub listen: Option<String>,
    /// The same for a process that only applies events (`trueup ingest`): health, metrics, status
    /// and dead letters. There `--listen` sets it.
    pub ingest_listen: Option<String>,
    /// Where the gRPC mirror listens (docs/grpc.md); needs a build with the feature `grpc`.
    pub grpc_listen: Option<String>,
    /// How far the pipeline may be behind before values are `STALE`.
    pub max_staleness: Option<String>,
    /// A file whose first line is the bearer token that callers must have: 16 visible characters of
    /// ASCII or more.
    pub token_file: Option<String>,
    /// Listen on any address without a token: everybody there may read and write.
    pub insecure: Option<bool>,
}

/// One source for the only stream, or one for each stream by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// `URL`, or `STREAM=URL`.
    One(String),
    /// Several of these.
    Many(Vec<String>),
    /// URLs by stream.
    ByStream(BTreeMap<String, String>),
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The settings file.
    pub settings: Option<PathBuf>,
    /// The environment.
    pub environment: Option<String>,
    /// Settings given as flags.
    pub layer: Layer,
}

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Variable,
    Environment(PathBuf, String),
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("on the command line"),
            Origin::Variable => f.write_str("in a TRUEUP_ variable"),
            Origin::Environment(path, name) => write!(f, "{}, [env.{name}]", path.display()),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// All layers, the strongest first.
pub(super) struct Raw {
    pub(super) environment: String,
    layers: Vec<(Origin, Layer)>,
    token: Option<String>,
    /// The password of Redis, from a variable.
    store_password: Option<String>,
    /// The same for the source.
    source_password: Option<String>,
    /// And for the database.
    database_password: Option<String>,
}

impl Raw {
    pub(super) fn gather(
        flags: &Flags,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Raw, SettingsError> {
        let named = flags.settings.clone().or_else(|| variable("TRUEUP_SETTINGS").map(Into::into));
        let path = named.clone().unwrap_or_else(|| FILE_NAME.into());
        let environment = flags.environment.clone().or_else(|| variable("TRUEUP_ENV"));
        let (all, environments) = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text)?,
            Err(_) if named.is_none() && !path.exists() => Default::default(),
            Err(error) => {
                return Err(SettingsError::File { path, reason: error.to_string() });
            }
        };
        let name = environment.clone().unwrap_or_else(|| DEFAULT_ENVIRONMENT.into());
        let own = environments.get(&name).cloned();
        if own.is_none() && environment.is_some() && !environments.is_empty() {
            let known = environments.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(SettingsError::Environment { name, known });
        }
        let said = variables(&variable)?;
        let layers = vec![
            (Origin::Flag, flags.layer.clone()),
            (Origin::Variable, said),
            (Origin::Environment(path.clone(), name.clone()), own.unwrap_or_default()),
            (Origin::File(path), all),
        ];
        let token = variable("TRUEUP_TOKEN");
        let store_password = variable("TRUEUP_STORE_PASSWORD");
        let source_password = variable("TRUEUP_SOURCE_PASSWORD");
        let database_password = variable("TRUEUP_DATABASE_PASSWORD");
        Ok(Raw {
            environment: name,
            layers,
            token,
            store_password,
            source_password,
            database_password,
        })
    }

    /// The strongest layer's word for a setting, and where it was said.
    pub(super) fn find<'a, T>(
        &'a self,
        setting: impl Fn(&'a Layer) -> Option<&'a T>,
    ) -> Option<(Origin, &'a T)> {
        self.layers.iter().find_map(|(origin, layer)| Some((origin.clone(), setting(layer)?)))
    }

    pub(super) fn need<'a, T>(
        &'a self,
        name: &'static str,
        setting: impl Fn(&'a Layer) -> Option<&'a T>,
        remedy: impl FnOnce() -> String,
    ) -> Result<(Origin, &'a T), SettingsError> {
        self.find(setting).ok_or_else(|| value(name, "not set".into(), remedy()))
    }

    /// The folder that relative paths of a layer start from: the file's, or where the command runs.
    pub(super) fn base<'o>(&self, origin: &'o Origin) -> &'o Path {
        match origin {
            Origin::Flag | Origin::Variable => Path::new(""),
            Origin::Environment(path, _) | Origin::File(path) => {
                path.parent().unwrap_or(Path::new(""))
            }
        }
    }

    /// The password of the store in Redis.
    pub(super) fn store_password(&self) -> Result<Option<String>, SettingsError> {
        let file = self.find(|layer| layer.store_password_file.as_ref());
        self.password("store_password_file", self.store_password.as_ref(), file)
    }

    /// The password, or the token, of the source's servers.
    pub(super) fn source_password(&self) -> Result<Option<String>, SettingsError> {
        let file = self.find(|layer| layer.source_password_file.as_ref());
        self.password("source_password_file", self.source_password.as_ref(), file)
    }

    /// The password of the database.
    pub(super) fn database_password(&self) -> Result<Option<String>, SettingsError> {
        let file = self.find(|layer| layer.database_password_file.as_ref());
        self.password("database_password_file", self.database_password.as_ref(), file)
    }

    /// A variable goes before a file.
    fn password(
        &self,
        setting: &'static str,
        variable: Option<&String>,
        file: Option<(Origin, &String)>,
    ) -> Result<Option<String>, SettingsError> {
        match (variable, file) {
            (Some(password), _) => Ok(Some(password.clone())),
            (None, Some((origin, file))) => {
                first_line(setting, &self.base(&origin).join(file)).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// librdkafka's properties, those from files read.
    pub(super) fn kafka(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        let Some((origin, said)) = self.find(|layer| layer.kafka.as_ref()) else {
            return Ok(BTreeMap::new());
        };
        let property = |(name, said): (&String, &String)| match name.strip_suffix("_file") {
            None => Ok((name.clone(), said.clone())),
            Some(name) => {
                let path = self.base(&origin).join(said);
                Ok((name.to_string(), first_line("kafka", &path)?))
            }
        };
        said.iter().map(property).collect()
    }

    pub(super) fn token(&self) -> Result<Option<String>, SettingsError> {
        let wrong = |place: String, reason: &str| Err(value("token", place, reason.into()));
        let visible = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
        let (place, token) = match (&self.token, self.find(|layer| layer.token_file.as_ref())) {
            (Some(token), _) => ("TRUEUP_TOKEN".to_string(), token.clone()),
            (None, Some((origin, file))) => {
                let path = self.base(&origin).join(file);
                (path.display().to_string(), first_line("token_file", &path)?)
            }
            (None, None) => return Ok(None),
        };
        match token.as_str() {
            "" => wrong(place, "the token is empty; write one of 16 characters or more"),
            token if token.len() < 16 => wrong(place, "the token is short; write 16 or more"),
            token if !visible(token) => wrong(place, "use visible ASCII characters only"),
            token => Ok(Some(token.to_string())),
        }
    }
}

/// `NAME=VALUE,NAME=VALUE`. A value may be a secret with a comma in it, so none is shown.
fn properties(said: &str) -> Result<BTreeMap<String, String>, SettingsError> {
    let property = |(number, pair): (usize, &str)| {
        let (name, said) = pair.split_once('=').ok_or_else(|| {
            let reason = format!(
                "its part {} has no =; write NAME=VALUE,NAME=VALUE, and a value with a comma in \
                 [kafka] of the file",
                number + 1
            );
            value("kafka", "TRUEUP_KAFKA".into(), reason)
        })?;
        Ok((name.trim().to_string(), said.trim().to_string()))
    };
    let pairs = said.split(',').enumerate();
    pairs.filter(|(_, pair)| !pair.trim().is_empty()).map(property).collect()
}

/// The first line of a file that holds a secret.
fn first_line(setting: &'static str, path: &Path) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| value(setting, path.display().to_string(), error.to_string()))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}

type Environments = BTreeMap<String, Layer>;

fn parse(path: &Path, text: &str) -> Result<(Layer, Environments), SettingsError> {
    let wrong = |reason: String| SettingsError::Toml { path: path.to_path_buf(), reason };
    // Without the line itself, as the error would print it: a URL in it may have a password.
    let place = |error: toml::de::Error| match error.span() {
        None => wrong(error.message().to_owned()),
        Some(span) => {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
            wrong(format!("line {line}, column {column}: {}", in_our_words(error.message())))
        }
    };
    // Apart, and not by a struct with all other keys in a map, which would forget their lines.
    let mut table = DeTable::parse(text).map_err(place)?;
    let environments = table.get_mut().remove("env").map(ValueDeserializer::from);
    let environments = environments.map(Environments::deserialize).transpose().map_err(place)?;
    let all = Layer::deserialize(toml::Deserializer::from(table)).map_err(place)?;
    Ok((all, environments.unwrap_or_default()))
}

/// A message of serde's; one of a key that is not known without the list of all that are, if one of
/// them is near.
pub(super) fn in_our_words(message: &str) -> String {
    // "unknown field `NAME`, expected one of `A`, `B`": every other part is a name.
    let mut parts = message.split('`');
    match (parts.next(), parts.next()) {
        (Some("unknown field "), Some(name)) => {
            let known = parts.skip(1).step_by(2);
            format!("there is no setting {name} here; {}", suggest(name, "setting", known))
        }
        _ => message.to_owned(),
    }
}

fn variables(variable: impl Fn(&str) -> Option<String>) -> Result<Layer, SettingsError> {
    let switch = |setting: &'static str, name: &str| match variable(name).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(other) => {
            let reason = format!("{other:?} is not taken; write true or false");
            Err(value(setting, name.into(), reason))
        }
    };
    let percent = |said: String| {
        said.parse().map_err(|_| {
            let reason = format!("{said:?} is not taken; write 1 to 100");
            value("max_bad_percent", "TRUEUP_MAX_BAD_PERCENT".into(), reason)
        })
    };
    Ok(Layer {
        definitions: variable("TRUEUP_DEFINITIONS"),
        store: variable("TRUEUP_STORE"),
        store_prefix: variable("TRUEUP_STORE_PREFIX"),
        store_password_file: variable("TRUEUP_STORE_PASSWORD_FILE"),
        store_ca_file: variable("TRUEUP_STORE_CA_FILE"),
        data: variable("TRUEUP_DATA"),
        source: variable("TRUEUP_SOURCE").map(Said::One),
        // Names of schemas belong in the file.
        avro: None,
        source_password_file: variable("TRUEUP_SOURCE_PASSWORD_FILE"),
        dead_letters: variable("TRUEUP_DEAD_LETTERS"),
        max_bad_percent: variable("TRUEUP_MAX_BAD_PERCENT").map(percent).transpose()?,
        accept_bad: switch("accept_bad", "TRUEUP_ACCEPT_BAD")?,
        kafka: variable("TRUEUP_KAFKA").map(|said| properties(&said)).transpose()?,
        database: variable("TRUEUP_DATABASE"),
        database_password_file: variable("TRUEUP_DATABASE_PASSWORD_FILE"),
        database_connections: number(&variable, "database_connections")?,
        database_per_second: number(&variable, "database_per_second")?,
        database_timeout: variable("TRUEUP_DATABASE_TIMEOUT"),
        database_max_rows: number(&variable, "database_max_rows")?,
        database_max_failures: number(&variable, "database_max_failures")?,
        database_pause: variable("TRUEUP_DATABASE_PAUSE"),
        verify_sample: number(&variable, "verify_sample")?,
        write_back: switch("write_back", "TRUEUP_WRITE_BACK")?,
        // Names of tables belong in the file.
        database_tables: None,
        views: None,
        record_to_log: switch("record_to_log", "TRUEUP_RECORD_TO_LOG")?,
        models: None,
        listen: variable("TRUEUP_LISTEN"),
        ingest_listen: variable("TRUEUP_INGEST_LISTEN"),
        grpc_listen: variable("TRUEUP_GRPC_LISTEN"),
        max_staleness: variable("TRUEUP_MAX_STALENESS"),
        token_file: variable("TRUEUP_TOKEN_FILE"),
        insecure: switch("insecure", "TRUEUP_INSECURE")?,
    })
}

/// A number in the variable of a setting.
fn number<T: std::str::FromStr>(
    variable: &impl Fn(&str) -> Option<String>,
    setting: &'static str,
) -> Result<Option<T>, SettingsError> {
    let name = format!("TRUEUP_{}", setting.to_uppercase());
    let parse = |said: String| {
        said.parse().map_err(|_| {
            let reason = format!("{said:?} is no such number");
            value(setting, name.clone(), reason)
        })
    };
    variable(&name).map(parse).transpose()
}
