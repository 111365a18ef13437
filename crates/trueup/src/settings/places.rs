//! The settings that say where things are: URLs and what belongs to them.

use super::raw::{Origin, Raw, Said};
use super::{SettingsError, value};
use crate::place::{KafkaPlace, LogPlace, Place, RedisPlace, SourcePlace, Sources, public};
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the environment that must say where its online store is.
const PRODUCTION: &str = "production";

/// The directory of state and logs where none is named.
const DEFAULT_DATA: &str = "data";

/// What a store may be, for messages.
const STORES: &str = "embedded:PATH, redis://HOST:PORT, rediss://, unix:PATH, redis-sentinel:// or \
                      redis-cluster://, or memory: for a trial";

/// Where state and logs are kept.
pub(super) fn store(raw: &Raw) -> Result<Place, SettingsError> {
    let production = raw.environment == PRODUCTION;
    let Some((origin, said)) = raw.find(|layer| layer.store.as_ref()) else {
        if production {
            let reason = "production does not start without an online store that is named; write \
                          store = \"redis://HOST:PORT\" or \"embedded:PATH\" under \
                          [env.production]";
            return Err(value("store", "not set".into(), reason.into()));
        }
        return Ok(Place::Embedded(DEFAULT_DATA.into()));
    };
    let wrong = |reason: String| value("store", origin.to_string(), reason);
    let base = raw.base(&origin);
    match said.split_once(':') {
        Some(("memory", "")) if production => Err(wrong(
            "production does not start with a store that forgets; name one that lasts, such as \
             redis://HOST:PORT or embedded:PATH"
                .into(),
        )),
        Some(("memory", "")) => Ok(Place::Memory),
        Some(("embedded", path)) if !path.is_empty() => Ok(Place::Embedded(base.join(path))),
        Some(("redis" | "rediss" | "unix" | "redis-sentinel" | "redis-cluster", _)) => {
            redis(raw, said).map(Place::Redis)
        }
        _ => Err(wrong(format!("{:?} is no store; write {STORES}", public(said)))),
    }
}

fn redis(raw: &Raw, url: &str) -> Result<RedisPlace, SettingsError> {
    let path =
        |found: Option<(Origin, &String)>| found.map(|(origin, said)| raw.base(&origin).join(said));
    let data = path(raw.find(|layer| layer.data.as_ref()));
    Ok(RedisPlace {
        url: url.to_string(),
        prefix: raw.find(|layer| layer.store_prefix.as_ref()).map(|(_, said)| said.clone()),
        password: raw.store_password()?,
        ca_file: path(raw.find(|layer| layer.store_ca_file.as_ref())),
        data: data.unwrap_or_else(|| DEFAULT_DATA.into()),
    })
}

/// Where events come from.
pub(super) fn sources(raw: &Raw) -> Result<Sources, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.source.as_ref()) else {
        return Ok(Sources::new());
    };
    let beside = Beside {
        base: raw.base(&origin),
        properties: raw.kafka()?,
        password: raw.source_password()?,
    };
    let wrong = |reason: String| value("source", origin.to_string(), reason);
    let split = |said: &String| match said.split_once('=') {
        Some((stream, url)) if !stream.contains(':') => {
            Ok((Some(stream.to_string()), source(url, &beside).map_err(wrong)?))
        }
        _ => Ok((None, source(said, &beside).map_err(wrong)?)),
    };
    match said {
        Said::One(said) => Ok(vec![split(said)?]),
        Said::Many(all) => all.iter().map(split).collect(),
        Said::ByStream(all) => {
            let one = |(stream, url): (&String, &String)| {
                Ok((Some(stream.clone()), source(url, &beside).map_err(wrong)?))
            };
            all.iter().map(one).collect()
        }
    }
}

/// Where dead letters go beside the local log.
pub(super) fn dead_letters(raw: &Raw) -> Result<Option<SourcePlace>, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.dead_letters.as_ref()) else {
        return Ok(None);
    };
    let beside = Beside {
        base: raw.base(&origin),
        properties: raw.kafka()?,
        password: raw.source_password()?,
    };
    // A topic that is written to has no group of readers, but its URL has to name one.
    let url = match said.starts_with("kafka:") && !said.contains('?') {
        true => format!("{said}?group=dead-letters"),
        false => said.clone(),
    };
    let place = source(&url, &beside).map_err(|_| {
        let reason = format!(
            "{:?} is no place for dead letters; write kafka://HOST:PORT/TOPIC, \
             redis-stream://HOST:PORT/STREAM or file:PATH",
            public(said)
        );
        value("dead_letters", origin.to_string(), reason)
    });
    place.map(Some)
}

/// What belongs to the URLs of sources.
struct Beside<'a> {
    /// The folder that paths start from.
    base: &'a Path,
    /// Kafka's.
    properties: BTreeMap<String, String>,
    /// That of Redis or NATS.
    password: Option<String>,
}

fn source(url: &str, beside: &Beside<'_>) -> Result<SourcePlace, String> {
    let Beside { base, properties, password } = beside;
    let written = url.to_owned();
    match url.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(SourcePlace::File(base.join(path))),
        Some(("kafka", _)) => {
            let properties = properties.clone();
            Ok(SourcePlace::Kafka(KafkaPlace { url: written, properties }))
        }
        Some(("redis-stream", _)) => {
            let password = password.clone();
            Ok(SourcePlace::RedisStream(LogPlace { url: written, password }))
        }
        Some(("nats", _)) => {
            let password = password.clone();
            Ok(SourcePlace::Nats(LogPlace { url: written, password }))
        }
        _ => Err(format!(
            "{:?} is no source; write kafka://HOST:PORT/TOPIC?group=NAME, \
             nats://HOST:PORT/SUBJECT?stream=NAME, redis-stream://HOST:PORT/STREAM, or file:PATH \
             for `trueup ingest`; HTTP push needs none",
            public(url)
        )),
    }
}
