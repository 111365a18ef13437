//! Where state, logs and events are: what settings' URLs say, before anything is opened.

use crate::ingest::DEFAULT_MAX_BAD_PERCENT;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trueup_sql::decode::AvroSchemas;

/// Where the state is kept, and with it the logs of events that are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory; nothing survives the process.
    Memory,
    /// In a directory that one process has for itself.
    Embedded(PathBuf),
    /// The state in Redis, shared with other processes.
    Redis(RedisPlace),
}

impl Place {
    /// The directory that this process has for itself, if it has one.
    pub fn data(&self) -> Option<&Path> {
        match self {
            Place::Memory => None,
            Place::Embedded(dir) => Some(dir),
            Place::Redis(redis) => Some(&redis.data),
        }
    }
}

/// A Redis store.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPlace {
    /// `redis://`, `rediss://`, `unix:`, `redis-sentinel://` or `redis-cluster://`.
    pub url: String,
    /// What every key begins with, where it is not `trueup`.
    pub prefix: Option<String>,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// Certificates that vouch for the server, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The directory of the logs that are not kept elsewhere, and of dead letters: one process has
    /// it for itself.
    pub data: PathBuf,
}

impl RedisPlace {
    fn public_url(&self) -> String {
        public(&self.url)
    }
}

/// A URL without user and password, also where it was written without the slashes of one.
pub(crate) fn public(url: &str) -> String {
    let slashes = url.find("://").map(|at| at + "://".len());
    let scheme = slashes.or_else(|| url.find(':').map(|at| at + 1)).unwrap_or(0);
    let (scheme, rest) = url.split_at(scheme);
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    format!("{scheme}{server}")
}

/// A part of a URL without its percent-encoding; `None` where that is none, or gives no UTF-8.
pub(crate) fn unescaped(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Without secrets.
impl fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPlace")
            .field("url", &self.public_url())
            .field("prefix", &self.prefix)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .field("data", &self.data)
            .finish()
    }
}

/// Without secrets.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory => f.write_str("memory:"),
            Place::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Place::Redis(redis) => f.write_str(&redis.public_url()),
        }
    }
}

/// Where events come from, each with the stream's name, or without where there is but one stream. A
/// stream that is not named has the log that HTTP push writes.
pub type Sources = Vec<(Option<String>, SourcePlace)>;

/// The schemas of streams whose logs hold Avro, by the streams' names. Other records are JSON.
pub type AvroStreams = BTreeMap<String, Arc<AvroSchemas>>;

/// Where a stream's events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// A file, which is taken into the stream's log once: Parquet, CSV or JSON lines.
    File(PathBuf),
    /// A topic of Kafka.
    Kafka(KafkaPlace),
    /// Streams of Redis.
    RedisStream(LogPlace),
    /// Subjects of a stream of NATS JetStream.
    Nats(LogPlace),
}

/// The same, where whoever declares one stream need not name it, whatever else is still kept.
pub(crate) fn named(sources: &Sources, own: &[String]) -> Sources {
    let mut said = sources.clone();
    if let [only] = own {
        said.iter_mut().for_each(|(stream, _)| *stream = stream.take().or(Some(only.clone())));
    }
    said
}

/// Which stream each source is of, by number.
///
/// # Errors
/// For a source of no stream, or of which nobody can tell; with the remedy.
pub fn by_stream(sources: &Sources, streams: &[&str]) -> Result<Vec<(usize, SourcePlace)>, String> {
    let names = || streams.join(", ");
    let find = |(stream, place): &(Option<String>, SourcePlace)| match (stream, streams) {
        (None, [_]) => Ok((0, place.clone())),
        (None, _) => Err(format!(
            "source {place}: say which stream, as STREAM={place}; there are: {}",
            names()
        )),
        (Some(stream), _) => match streams.iter().position(|name| name == stream) {
            Some(number) => Ok((number, place.clone())),
            None => Err(format!("source {place}: no stream {stream}; there are: {}", names())),
        },
    };
    let found = sources.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    for (at, (number, place)) in found.iter().enumerate() {
        let is_log = |place: &SourcePlace| !matches!(place, SourcePlace::File(_));
        let other = found[..at].iter().find(|(other, log)| other == number && is_log(log));
        if let Some((_, other)) = other.filter(|_| is_log(place)) {
            return Err(format!(
                "stream {} has two sources, {other} and {place}; give it one",
                streams[*number]
            ));
        }
    }
    Ok(found)
}

/// What becomes of records that cannot be used, beside dead letters in the local log.
#[derive(Clone, Debug)]
pub struct BadRecords {
    /// The share of them, in percent, at which a stream stops; none for any share.
    pub max_percent: Option<u8>,
    /// Where their letters go besides.
    pub also_to: Option<SourcePlace>,
}

impl Default for BadRecords {
    fn default() -> BadRecords {
        BadRecords { max_percent: Some(DEFAULT_MAX_BAD_PERCENT), also_to: None }
    }
}

/// A Kafka topic.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaPlace {
    /// `kafka://HOST:PORT,.../TOPIC?group=NAME`.
    pub url: String,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, String>,
}

impl KafkaPlace {
    /// The URL without user and password, which it should not have.
    pub fn public_url(&self) -> String {
        public(&self.url)
    }
}

/// Without the properties' values, some of which are secrets.
impl fmt::Debug for KafkaPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        let url = self.public_url();
        f.debug_struct("KafkaPlace").field("url", &url).field("properties", &names).finish()
    }
}

/// A log whose servers want one secret at most.
#[derive(Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// `redis-stream://HOST:PORT/STREAM?partitions=N` or
    /// `nats://HOST:PORT,.../SUBJECT?stream=NAME&partitions=N`.
    pub url: String,
    /// The password, where the URL has none.
    pub password: Option<String>,
}

impl LogPlace {
    /// The URL without user and password.
    pub fn public_url(&self) -> String {
        public(&self.url)
    }
}

/// Without secrets.
impl fmt::Debug for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogPlace")
            .field("url", &self.public_url())
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourcePlace::File(path) => write!(f, "file:{}", path.display()),
            SourcePlace::Kafka(kafka) => f.write_str(&kafka.public_url()),
            SourcePlace::RedisStream(log) | SourcePlace::Nats(log) => {
                f.write_str(&log.public_url())
            }
        }
    }
}
