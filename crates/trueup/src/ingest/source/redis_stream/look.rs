//! Where the streams of a log begin and end, and whether it is the log that it was.
//!
//! An ID says nothing of how many entries were before it, so that nothing is missing is seen in two
//! ways: here, by what was seen at the look before; and in every read, by the last entry that was
//! read still being there.
//!
//! - From 7.0 on a server counts what was ever added. As long as no more has been deleted than at
//!   the look before, a stream is whole from where it was whole then. If more has, it is whole from
//!   the first entry that is left on.
//! - 6.2 does not count. There a stream is whole from its beginning if it was looked at before its
//!   first entry came, and as long as the first entry that was seen then is there; a stream that
//!   had entries before counts from the first that is left. Entries that were added and trimmed
//!   between two looks at an empty stream are not missed: let readers run before producers do.
//! - A stream that ends before it did, or has other entries where none was deleted, was deleted and
//!   made anew. Then so is the log: it gets another number, and checkpoints in the old one are a
//!   gap. The same after a flush, which takes the number too.

use super::RedisStreamSettings;
use super::error::{AGAIN, refused};
use super::id::Id;
use super::link::{Link, Script};
use crate::ingest::source::{SourceError, log_number};
use std::hash::{BuildHasher, Hasher, RandomState};

/// What a call was to do, for errors.
const WHAT: &str = "where its streams begin and end could not be asked for";

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The number of this log among the sources of positions.
    pub(super) number: u32,
    /// By partition.
    pub(super) edges: Vec<Edges>,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edges {
    /// The first offset from which on nothing is missing.
    pub(super) first: u64,
    /// One past the last offset.
    pub(super) end: u64,
    /// The first entry that is left.
    pub(super) left: Option<Id>,
}

/// Looks at all streams at one moment.
pub(super) fn look(link: &mut Link) -> Result<Look, SourceError> {
    type Told = (String, String, String);
    let mut keys = vec![link.settings.record_key()];
    keys.extend(link.settings.streams());
    let number = log_number(random() as u32).to_string();
    let told: redis::Value = link.run(WHAT, Script::Look, &keys, &[number])?;
    let odd = |detail: String| refused(&link.settings, format!("{WHAT}: {detail}"), false, AGAIN);
    let strange = || odd("the server's answer is not understood".into());
    let redis::Value::Array(told) = told else { return Err(strange()) };
    let mut told = told.into_iter();
    let number: String =
        told.next().and_then(|number| redis::from_redis_value(number).ok()).ok_or_else(strange)?;
    let number = number.parse().map_err(|_| strange())?;
    let edge = |told: redis::Value| {
        let (first, last, left): Told = redis::from_redis_value(told).map_err(|_| strange())?;
        edges(&link.settings, &first, &last, &left)
    };
    let edges = told.map(edge).collect::<Result<Vec<_>, _>>()?;
    if edges.len() + 1 != keys.len() {
        return Err(strange());
    }
    Ok(Look { number, edges })
}

/// From here on the log counts as another one: entries that were read are not in it, though none
/// was deleted.
pub(super) fn disown(link: &mut Link) -> Result<(), SourceError> {
    let mut forget = redis::pipe();
    forget.del(link.settings.record_key());
    link.all::<(u64,)>("what is written down about it could not be forgotten", &forget).map(drop)
}

fn edges(
    settings: &RedisStreamSettings,
    first: &str,
    last: &str,
    left: &str,
) -> Result<Edges, SourceError> {
    let id = |text: &str| Id::parse(text).map_err(|reason| unfit(settings, reason));
    let last = id(last)?;
    Ok(Edges {
        first: id(first)?.0,
        // No entry has the ID 0-0.
        end: if last.0 == 0 { 0 } else { last.0 + 1 },
        left: (!left.is_empty()).then(|| id(left)).transpose()?,
    })
}

/// The error for an ID that is no offset.
pub(super) fn unfit(settings: &RedisStreamSettings, reason: String) -> SourceError {
    const REMEDY: &str =
        "Let the server give IDs (XADD with *), in a stream that has no such entry";
    refused(settings, reason, false, REMEDY)
}

/// A number that differs from one call to the next, on any machine.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
