//! What the errors of NATS mean for a caller: whether to try again, and the remedy.

use super::NatsSettings;
use crate::ingest::source::SourceError;
use std::fmt;

/// What mends itself when servers come back.
const WAIT: &str = "It mends itself when the servers answer again; check them if it lasts";

/// What a person does about a record that the log does not have.
pub(super) const GAP: &str = "Backfill from history, or declare a new beginning";

/// What is done about a log that changed under its reader.
pub(super) const AGAIN: &str = "Reading begins again where the store says";

/// What a person does about a stream that is not there.
const MAKE: &str = "Make the stream, with the subject in it, or name another one with stream=NAME";

/// What a person does about an event that is too large.
const SMALLER: &str = "Send smaller events, or let servers and stream take larger ones";

/// Errors with a remedy of their own, by words of the server or of its client; whether they may
/// mend themselves all the same.
const KNOWN: &[(&str, bool, &str)] = &[
    ("stream not found", false, MAKE),
    ("no stream found for given subject", false, MAKE),
    (
        "expected stream does not match",
        false,
        "Another stream takes this subject: name it with stream=NAME",
    ),
    ("authorization violation", false, "Check user and password, or the token, of this source"),
    ("not enabled", false, "Enable JetStream on the servers, and for this account"),
    // In a cluster nobody answers while its servers choose a leader.
    ("resource does not exist", true, "Enable JetStream on the servers if it lasts"),
    ("maximum consumers limit", false, "Let the stream have a consumer more for each partition"),
    ("max payload size exceeded", false, SMALLER),
    ("message size exceeds maximum", false, SMALLER),
];

/// The error of a call, with what the call was to do.
pub(super) fn failed(settings: &NatsSettings, what: &str, error: &dyn fmt::Display) -> SourceError {
    let said = error.to_string();
    let known = KNOWN.iter().find(|(words, ..)| said.contains(words));
    let (retry, remedy) = known.map_or((true, WAIT), |&(_, retry, remedy)| (retry, remedy));
    refused(settings, format!("{what}: {said}"), retry, remedy)
}

/// An error of our own.
pub(super) fn refused(
    settings: &NatsSettings,
    detail: String,
    retry: bool,
    remedy: &'static str,
) -> SourceError {
    SourceError { source: settings.to_string(), detail, retry, remedy }
}
