//! Which subjects of which stream, on which servers, as a URL. It may hold a password, so what is
//! shown of it never does.
//!
//! ```text
//! nats://USER:PASSWORD@HOST:PORT,HOST:PORT/SUBJECT?stream=NAME&partitions=N&group=NAME
//! ```

use crate::ingest::source::url::{self, Parts};
use async_nats::{ConnectOptions, ServerAddr};
use std::fmt;
use std::time::Duration;

/// How the URL begins.
const SCHEME: &str = "nats://";

/// How a URL looks, for messages.
const FORM: &str = "write nats://HOST:PORT,HOST:PORT/SUBJECT?stream=NAME&partitions=N";

/// Longest subject and longest name of a stream or a group, in bytes: parts of subjects that are
/// sent with every call.
const MAX_NAME_BYTES: usize = 200;

/// The group where the URL names none.
const DEFAULT_GROUP: &str = "trueup";

/// How long connecting to one server may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Pause before the first attempt to connect again, doubled up to [`MAX_PAUSE`]: a server that
/// restarts is back within a second, where the library's bound is 4 s.
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between attempts to connect again.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A log of one or more subjects of a stream, and the servers that have it.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsSettings {
    servers: Vec<(String, u16)>,
    user: Option<String>,
    password: Option<String>,
    subject: String,
    stream: String,
    group: String,
    partitions: u32,
}

impl NatsSettings {
    /// Reads a URL.
    ///
    /// `stream` names the stream, which must be there and take the subjects. `partitions` is how
    /// many subjects there are, 1 if it does not say: `SUBJECT` alone, or `SUBJECT.0`, `SUBJECT.1`
    /// and so on. `group` names the readers that share them out, `trueup` if it does not say:
    /// installations that both read one stream need names of their own.
    ///
    /// # Errors
    /// What is wrong and the remedy, in words that hold no secret.
    pub fn parse(said: &str) -> Result<NatsSettings, String> {
        let none = format!("no NATS URL; {FORM}");
        let Parts { user, password, servers, name, query } = Parts::of(said, SCHEME, &none)?;
        let servers = servers.split(',').map(|server| url::address(server, FORM));
        let mut settings = NatsSettings {
            servers: servers.collect::<Result<_, _>>()?,
            user,
            password,
            subject: subject_of(name)?,
            stream: String::new(),
            group: DEFAULT_GROUP.to_owned(),
            partitions: 1,
        };
        settings.take(query)?;
        if settings.stream.is_empty() {
            return Err(format!("no stream: say which one has the subject; {FORM}"));
        }
        Ok(settings)
    }

    /// With a password, unless the URL has one; without a user it is a token.
    pub fn or_password(mut self, password: Option<&str>) -> NatsSettings {
        self.password = self.password.or_else(|| password.map(str::to_owned));
        self
    }

    /// For readers beside those of the group, who share the subjects out among themselves.
    #[must_use]
    pub fn in_lane(mut self, lane: Option<&str>) -> NatsSettings {
        self.group = url::in_lane(self.group, lane);
        self
    }

    fn take(&mut self, query: &str) -> Result<(), String> {
        const TAKES: &str = "a NATS URL, which takes stream=NAME, partitions=N and group=NAME";
        url::parameters(query, TAKES, |key, said| {
            match key {
                "stream" => self.stream = name("stream", said)?,
                "partitions" => self.partitions = url::partitions(said)?,
                "group" => self.group = name("group", said)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// The stream's name.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// The subjects, by partition.
    pub(super) fn subjects(&self) -> Vec<String> {
        url::numbered(&self.subject, self.partitions)
    }

    /// The key of what is written down about the log. No name and no subject has a slash.
    pub(super) fn log_key(&self) -> String {
        format!("log/{}/{}", self.stream, self.subject)
    }

    /// The key that says who reads which partition.
    pub(super) fn readers_key(&self) -> String {
        format!("readers/{}/{}/{}", self.stream, self.subject, self.group)
    }

    /// How to connect, and where to.
    pub(super) fn options(&self) -> Result<(ConnectOptions, Vec<ServerAddr>), String> {
        let pause = |attempts: usize| {
            let doubled = u32::try_from(attempts).unwrap_or(u32::MAX).min(16);
            (MIN_PAUSE * (1 << doubled)).min(MAX_PAUSE)
        };
        let options = ConnectOptions::new()
            .name("trueup")
            .connection_timeout(CONNECT)
            .reconnect_delay_callback(pause);
        let options = match (self.user.clone(), self.password.clone()) {
            (None, None) => options,
            (Some(user), password) => options.user_and_password(user, password.unwrap_or_default()),
            (None, Some(token)) => options.token(token),
        };
        let parse = |server: &(String, u16)| {
            let server = format!("{SCHEME}{}", shown(server));
            server.parse().map_err(|error| format!("{server}: {error}"))
        };
        Ok((options, self.servers.iter().map(parse).collect::<Result<_, _>>()?))
    }
}

/// The URL without user and password.
impl fmt::Display for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NatsSettings { servers, subject, stream, group, partitions, .. } = self;
        let servers: Vec<String> = servers.iter().map(shown).collect();
        let servers = servers.join(",");
        write!(f, "{SCHEME}{servers}/{subject}?stream={stream}&partitions={partitions}")?;
        if group == DEFAULT_GROUP { Ok(()) } else { write!(f, "&group={group}") }
    }
}

/// The URL without user and password.
impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NatsSettings").field(&self.to_string()).finish()
    }
}

fn shown((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Letters of names: those that streams, buckets' keys and subjects all take.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_".contains(c)
}

fn subject_of(said: &str) -> Result<String, String> {
    if said.is_empty() {
        return Err(format!("no subject; {FORM}"));
    }
    let is_token = |token: &str| !token.is_empty() && token.chars().all(is_letter);
    if said.len() <= MAX_NAME_BYTES && said.split('.').all(is_token) {
        return Ok(said.to_owned());
    }
    Err(format!(
        "{said:?} is no subject to read: give up to {MAX_NAME_BYTES} letters, digits, - and _, \
         with dots between, and no wildcard"
    ))
}

fn name(what: &str, said: &str) -> Result<String, String> {
    if !said.is_empty() && said.len() <= MAX_NAME_BYTES && said.chars().all(is_letter) {
        return Ok(said.to_owned());
    }
    Err(format!(
        "{said:?} is no name of a {what}: give 1 to {MAX_NAME_BYTES} letters, digits, - and _"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_servers_a_subject_and_its_stream() {
        let url = "nats://a.example:4222/pay?stream=PAY&partitions=1";
        let settings = NatsSettings::parse(url).unwrap();
        assert_eq!((settings.subjects(), settings.to_string()), (vec!["pay".into()], url.into()));
        let url = "nats://[::1]:7,b:8/pay.v1?stream=PAY&partitions=3&group=b";
        let settings = NatsSettings::parse(url).unwrap();
        assert_eq!(settings.subjects(), ["pay.v1.0", "pay.v1.1", "pay.v1.2"]);
        assert_eq!(settings.to_string(), url);
        assert_eq!(settings.readers_key(), "readers/PAY/pay.v1/b");
        assert_eq!(settings.options().unwrap().1.len(), 2);
        let lane = settings.in_lane(Some("1f0c2d3e"));
        assert_eq!(lane.readers_key(), "readers/PAY/pay.v1/b.1f0c2d3e");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named_with_the_remedy() {
        for (url, says) in [
            ("kafka://a:1/s", "no NATS URL; write nats://"),
            ("nats://a/s?stream=S", "\"a\" is no HOST:PORT"),
            ("nats://a:1,b/s?stream=S", "\"b\" is no HOST:PORT"),
            ("nats://a:1?stream=S", "no subject; write"),
            ("nats://a:1/s", "no stream: say which one"),
            ("nats://a:1/s.>?stream=S", "\"s.>\" is no subject"),
            ("nats://a:1/s..t?stream=S", "\"s..t\" is no subject"),
            ("nats://a:1/s?stream=S.T", "\"S.T\" is no name of a stream"),
            ("nats://a:1/s?stream=S&partitions=0", "write 1 to 256"),
            ("nats://a:1/s?stream=S&group=a b", "\"a b\" is no name of a group"),
            ("nats://a:1/s?stream=S&stream=T", "stream is given twice"),
            ("nats://a:1/s?stream=S&from=0", "\"from\" is no parameter"),
            ("nats://a%2:b@a:1/s?stream=S", "write % as %25"),
        ] {
            let error = NatsSettings::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_taken_from_the_url_or_beside_it_and_never_shown() {
        let url = "nats://me:hunter%40two@a:1/s?stream=S";
        let settings = NatsSettings::parse(url).unwrap().or_password(Some("other"));
        assert_eq!(settings.user.as_deref(), Some("me"));
        assert_eq!(settings.password.as_deref(), Some("hunter@two"));
        let said = format!("{settings} {settings:?}");
        assert!(!said.contains("hunter") && !said.contains("me:"), "{said}");
        let settings = NatsSettings::parse("nats://a:1/s?stream=S").unwrap();
        assert_eq!(settings.or_password(Some("other")).password.as_deref(), Some("other"));
    }
}
