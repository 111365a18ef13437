//! What Redis' errors mean for a caller: whether to try again, and the remedy.

use super::RedisStreamSettings;
use crate::ingest::source::SourceError;
use redis::{ErrorKind, RedisError};

/// What mends itself when the server comes back.
const WAIT: &str = "It mends itself when the server answers again; check it if it lasts";

/// What a person does about a record that the log does not have.
pub(super) const GAP: &str = "Backfill from history, or declare a new beginning";

/// What is done about a log that changed under its reader.
pub(super) const AGAIN: &str = "Reading begins again where the store says";

/// Errors that nobody but a person mends, by a word of the server, and the remedy. A script's error
/// has the word in its text only, before 7.0.
const LASTING: &[(&str, &str)] = &[
    ("WRONGTYPE", "The key of this name is no stream: name another one, or delete the key"),
    ("WRONGPASS", "Check user and password of this source"),
    ("NOAUTH", "Give this source a password"),
    ("NOPERM", "Allow this user to run scripts and to read and write these keys"),
    ("MOVED", "All streams of a log are on one server: name one that is no part of a cluster"),
    ("CROSSSLOT", "All streams of a log are on one server: name one that is no part of a cluster"),
    ("DB index", "Name a database that the server has, as db=NUMBER"),
    ("unknown command", "Use Redis 6.2 or newer, and do not rename or forbid its commands"),
];

/// The error of a call, with what the call was to do.
pub(super) fn failed(
    settings: &RedisStreamSettings,
    what: &str,
    error: &RedisError,
) -> SourceError {
    let (retry, remedy) = advice(error);
    refused(settings, format!("{what}: {error}"), retry, remedy)
}

/// An error of our own.
pub(super) fn refused(
    settings: &RedisStreamSettings,
    detail: String,
    retry: bool,
    remedy: &'static str,
) -> SourceError {
    SourceError { source: settings.to_string(), detail, retry, remedy }
}

fn advice(error: &RedisError) -> (bool, &'static str) {
    let said = error.to_string();
    let lasting = LASTING.iter().find(|(word, _)| said.contains(word));
    match (lasting, error.kind()) {
        (Some((_, remedy)), _) => (false, remedy),
        (None, ErrorKind::AuthenticationFailed) => {
            (false, "Check user and password of this source")
        }
        _ => (true, WAIT),
    }
}
