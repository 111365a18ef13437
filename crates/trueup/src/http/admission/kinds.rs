//! The kinds of requests, and the reasons for which one is refused.

use super::{MAX_BODIES_BYTES, MAX_QUEUE, MAX_WAITED};
use axum::http::Method;

/// A kind of request. Each has places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Kind {
    /// For features or scores.
    Answer,
    /// Events.
    Push,
    /// All else.
    Other,
    /// Whether the process is there, and how it is.
    Probe,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Answer, Kind::Push, Kind::Other, Kind::Probe];

    /// Requests of the kind that are under way at one time.
    pub(super) fn places(self) -> usize {
        match self {
            // Most of them wait for a slow store or the database; turns bound the work.
            Kind::Answer => 512,
            // They wait for the log, up to a minute for what was pushed to be applied.
            Kind::Push => 256,
            // Pages of logs, some megabytes each.
            Kind::Other => 64,
            // A scraper and a few supervisors, however slow the store is that they ask about.
            Kind::Probe => 16,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Answer => "answers",
            Kind::Push => "pushes",
            Kind::Other => "others",
            Kind::Probe => "probes",
        }
    }

    /// The kind of a request that takes its place before its handler runs; `None` if the handler
    /// takes it, when it has the body.
    pub(in crate::http) fn at_the_door(method: &Method, path: &str) -> Option<Kind> {
        let has_body = *method == Method::POST;
        match path {
            "/livez" | "/readyz" | "/health" | "/metrics" => Some(Kind::Probe),
            "/get-online-features" if has_body => None,
            _ if has_body && path.starts_with("/v1/features/") => None,
            _ if has_body && path.starts_with("/v1/score/") => None,
            _ if has_body && path.starts_with("/v1/events/") => None,
            _ => Some(Kind::Other),
        }
    }
}

/// Why a request was refused, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// All places of its kind are taken.
    Places(Kind),
    /// It would wait longer than [`MAX_QUEUE`].
    Queue,
    /// It has waited longer than [`MAX_WAITED`].
    Late,
    /// Other bodies take all of [`MAX_BODIES_BYTES`].
    Bodies,
}

impl Why {
    pub(super) const ALL: [Why; 7] = [
        Why::Places(Kind::Answer),
        Why::Places(Kind::Push),
        Why::Places(Kind::Other),
        Why::Places(Kind::Probe),
        Why::Queue,
        Why::Late,
        Why::Bodies,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Why::Places(kind) => kind.name(),
            Why::Queue => "queue",
            Why::Late => "late",
            Why::Bodies => "bodies",
        }
    }

    pub(super) fn number(self) -> usize {
        Why::ALL.iter().position(|why| *why == self).unwrap_or_default()
    }

    pub(super) fn detail(self) -> String {
        match self {
            Why::Places(kind) => {
                let (most, name) = (kind.places(), kind.name());
                format!("{most} {name} are under way, the most that are taken")
            }
            Why::Queue => format!("it would wait for over {} ms", MAX_QUEUE.as_millis()),
            Why::Late => format!("it has waited for over {} ms", MAX_WAITED.as_millis()),
            Why::Bodies => {
                format!("bodies of {} MiB are here, the most there may be", MAX_BODIES_BYTES >> 20)
            }
        }
    }
}
