//! Where a stream is and how to reach it, as a URL. It may hold a password, so what is shown of it
//! never does.
//!
//! ```text
//! redis-stream://USER:PASSWORD@HOST:PORT/STREAM?partitions=N&group=NAME&db=NUMBER
//! ```

use crate::ingest::source::url::{self, Parts};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use std::fmt;

/// How the URL begins.
const SCHEME: &str = "redis-stream://";

/// How a URL looks, for messages.
const FORM: &str = "write redis-stream://HOST:PORT/STREAM?partitions=N";

/// Longest name of a stream or a group, in bytes: parts of keys that are sent with every call.
const MAX_NAME_BYTES: usize = 200;

/// The group where the URL names none.
const DEFAULT_GROUP: &str = "trueup";

/// A log of one or more streams, and the server that has them.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisStreamSettings {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
    db: i64,
    stream: String,
    group: String,
    partitions: u32,
}

impl RedisStreamSettings {
    /// Reads a URL.
    ///
    /// `partitions` is how many streams there are, 1 if it does not say: `STREAM` alone, or
    /// `STREAM.0`, `STREAM.1` and so on. `group` names the readers that share the streams out,
    /// `trueup` if it does not say: installations that both read one stream need names of their
    /// own.
    ///
    /// # Errors
    /// What is wrong and the remedy, in words that hold no secret.
    pub fn parse(said: &str) -> Result<RedisStreamSettings, String> {
        let none = format!("no Redis stream; {FORM}");
        let parts = Parts::of(said, SCHEME, &none)?;
        let (host, port) = url::address(parts.servers, FORM)?;
        let mut settings = RedisStreamSettings {
            host,
            port,
            user: parts.user,
            password: parts.password,
            db: 0,
            stream: name("stream", parts.name)?,
            group: DEFAULT_GROUP.to_owned(),
            partitions: 1,
        };
        settings.take(parts.query)?;
        Ok(settings)
    }

    /// With a password, unless the URL has one.
    pub fn or_password(mut self, password: Option<&str>) -> RedisStreamSettings {
        self.password = self.password.or_else(|| password.map(str::to_owned));
        self
    }

    /// For readers beside those of the group, who share the streams out among themselves.
    #[must_use]
    pub fn in_lane(mut self, lane: Option<&str>) -> RedisStreamSettings {
        self.group = url::in_lane(self.group, lane);
        self
    }

    fn take(&mut self, query: &str) -> Result<(), String> {
        const TAKES: &str = "a Redis stream, which takes partitions=N, group=NAME and db=NUMBER";
        url::parameters(query, TAKES, |key, said| {
            match key {
                "partitions" => self.partitions = url::partitions(said)?,
                "group" => self.group = name("group", said)?,
                "db" => {
                    let number = said.parse::<u16>();
                    let wrong = |_| format!("{said:?} is no number of a database; write db=0");
                    self.db = number.map_err(wrong)?.into();
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// The keys of the streams, by partition.
    pub(super) fn streams(&self) -> Vec<String> {
        url::numbered(&self.stream, self.partitions)
    }

    /// The key of what is written down about the log. No name has a slash, so no other log's keys
    /// are these, nor are keys of the store, whose prefix ends otherwise.
    pub(super) fn record_key(&self) -> String {
        format!("trueup-log/{}", self.stream)
    }

    /// The key of those that read it.
    pub(super) fn readers_key(&self) -> String {
        format!("trueup-log/{}/{}", self.stream, self.group)
    }

    /// The keys that say who reads each partition.
    pub(super) fn lease_keys(&self) -> Vec<String> {
        let readers = self.readers_key();
        (0..self.partitions).map(|nth| format!("{readers}/{nth}")).collect()
    }

    /// A client, which connects later.
    pub(super) fn client(&self) -> redis::RedisResult<Client> {
        let mut login = RedisConnectionInfo::default().set_db(self.db);
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let address = ConnectionAddr::Tcp(self.host.clone(), self.port);
        Client::open(address.into_connection_info()?.set_redis_settings(login))
    }
}

/// The URL without user and password.
impl fmt::Display for RedisStreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisStreamSettings { host, port, stream, group, partitions, .. } = self;
        let brackets = host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "{SCHEME}{open}{host}{close}:{port}/{stream}?partitions={partitions}")?;
        if group == DEFAULT_GROUP { Ok(()) } else { write!(f, "&group={group}") }
    }
}

/// The URL without user and password.
impl fmt::Debug for RedisStreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStreamSettings").field(&self.to_string()).finish()
    }
}

fn name(what: &str, said: &str) -> Result<String, String> {
    if said.is_empty() {
        return Err(format!("no {what}; {FORM}"));
    }
    let letters = |c: char| c.is_ascii_graphic() && !"/%#?{}".contains(c);
    if said.len() <= MAX_NAME_BYTES && said.chars().all(letters) {
        return Ok(said.to_owned());
    }
    Err(format!(
        "{said:?} is no name of a {what}: give 1 to {MAX_NAME_BYTES} printable characters without \
         spaces, /, %, #, ?, {{ and }}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_server_streams_and_a_group() {
        let settings = RedisStreamSettings::parse("redis-stream://r.example:6379/pay").unwrap();
        assert_eq!(settings.streams(), ["pay"]);
        assert_eq!(settings.to_string(), "redis-stream://r.example:6379/pay?partitions=1");
        let url = "redis-stream://[::1]:7/pay:v1?partitions=3&group=b";
        let settings = RedisStreamSettings::parse(url).unwrap();
        assert_eq!(settings.streams(), ["pay:v1.0", "pay:v1.1", "pay:v1.2"]);
        assert_eq!(settings.to_string(), url);
        assert_eq!(settings.lease_keys()[2], "trueup-log/pay:v1/b/2");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named_with_the_remedy() {
        for (url, says) in [
            ("redis://a:1/s", "no Redis stream; write redis-stream://"),
            ("redis-stream://a/s", "\"a\" is no HOST:PORT"),
            ("redis-stream://a:0/s", "\"a:0\" is no HOST:PORT"),
            ("redis-stream://[a]:1/s", "\"[a]:1\" is no HOST:PORT"),
            ("redis-stream://a:1", "no stream; write"),
            ("redis-stream://a:1/s/t", "\"s/t\" is no name of a stream"),
            ("redis-stream://a:1/s{t}", "\"s{t}\" is no name of a stream"),
            ("redis-stream://a:1/s?partitions=0", "write 1 to 256"),
            ("redis-stream://a:1/s?partitions=257", "write 1 to 256"),
            ("redis-stream://a:1/s?group=a b", "\"a b\" is no name of a group"),
            ("redis-stream://a:1/s?db=x", "\"x\" is no number of a database"),
            ("redis-stream://a:1/s?db=1&db=2", "db is given twice"),
            ("redis-stream://a:1/s?from=0", "\"from\" is no parameter"),
            ("redis-stream://a%2:b@a:1/s", "write % as %25"),
        ] {
            let error = RedisStreamSettings::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_taken_from_the_url_or_beside_it_and_never_shown() {
        let url = "redis-stream://me:hunter%40two@a:1/s";
        let settings = RedisStreamSettings::parse(url).unwrap().or_password(Some("other"));
        assert_eq!(settings.user.as_deref(), Some("me"));
        assert_eq!(settings.password.as_deref(), Some("hunter@two"));
        let said = format!("{settings} {settings:?}");
        assert!(!said.contains("hunter") && !said.contains("me"), "{said}");
        let settings = RedisStreamSettings::parse("redis-stream://a:1/s").unwrap();
        assert_eq!(settings.or_password(Some("other")).password.as_deref(), Some("other"));
    }
}
