//! The connection of a reader: one, opened when it is needed and dropped when it fails.

use super::RedisStreamSettings;
use super::error::failed;
use crate::ingest::source::SourceError;
use redis::{Client, Cmd, Connection, FromRedisValue, Pipeline, RedisError, RedisResult, cmd};
use std::time::Duration;

/// How long connecting or an answer may take; longer than a server that is well stops for, and
/// short enough that a lease is renewed in time after one failure.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// What runs in the server, each at one moment for all streams of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Where the streams begin and end.
    Look,
    /// Which partitions are read here.
    Lease,
    /// They are not any more.
    Leave,
    /// Entries.
    Read,
}

/// By their place in [`Script`].
const SCRIPTS: [&str; 4] = [
    include_str!("lua/look.lua"),
    include_str!("lua/lease.lua"),
    include_str!("lua/leave.lua"),
    include_str!("lua/read.lua"),
];

/// A server, and the connection to it.
pub(super) struct Link {
    pub(super) settings: RedisStreamSettings,
    client: Client,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    /// What the server calls the scripts.
    hashes: [String; SCRIPTS.len()],
}

impl Link {
    /// Connects later.
    pub(super) fn new(settings: RedisStreamSettings) -> Result<Link, SourceError> {
        let client = settings.client().map_err(|error| failed(&settings, "no client", &error))?;
        Ok(Link { settings, client, open: None })
    }

    /// Whether a connection is open, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Runs a script.
    pub(super) fn run<T: FromRedisValue>(
        &mut self,
        what: &str,
        script: Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, SourceError> {
        let ran = self.with(ANSWER, |open| {
            let mut call = cmd("EVALSHA");
            call.arg(&open.hashes[script as usize]).arg(keys.len()).arg(keys).arg(arguments);
            call.query(&mut open.connection)
        });
        ran.map_err(|error| failed(&self.settings, what, &error))
    }

    /// Sends a command that may wait for so long before it answers.
    pub(super) fn wait(
        &mut self,
        what: &str,
        call: &Cmd,
        wait: Duration,
    ) -> Result<(), SourceError> {
        let waited = self.with(ANSWER + wait, |open| call.exec(&mut open.connection));
        waited.map_err(|error| failed(&self.settings, what, &error))
    }

    /// Sends commands together.
    pub(super) fn all<T: FromRedisValue>(
        &mut self,
        what: &str,
        calls: &Pipeline,
    ) -> Result<T, SourceError> {
        let answered = self.with(ANSWER, |open| calls.query(&mut open.connection));
        answered.map_err(|error| failed(&self.settings, what, &error))
    }

    /// Asks, and asks once more of a server that has forgotten our scripts: it has done nothing.
    fn with<T>(
        &mut self,
        patience: Duration,
        mut ask: impl FnMut(&mut Open) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let answer = self.once(patience, &mut ask);
        match answer {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.open = None;
                self.once(patience, &mut ask)
            }
            answer => answer,
        }
    }

    fn once<T>(
        &mut self,
        patience: Duration,
        ask: &mut impl FnMut(&mut Open) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        open.connection.set_read_timeout(Some(patience))?;
        let answer = ask(&mut open);
        // After anything but an answer of the server, the next answer might be that of this call.
        if answer.as_ref().map_or_else(is_answer, |_| true) {
            self.open = Some(open);
        }
        answer
    }

    fn connect(&self) -> RedisResult<Open> {
        let mut connection = self.client.get_connection_with_timeout(ANSWER)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        let mut load = redis::pipe();
        for script in SCRIPTS {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let hashes: Vec<String> = load.query(&mut connection)?;
        let odd = |_| RedisError::from((redis::ErrorKind::Client, "a script has no hash"));
        Ok(Open { connection, hashes: hashes.try_into().map_err(odd)? })
    }
}

/// Whether the server itself said it, so that the connection is in step.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}
