//! What a worker reads: the log of its stream, or a history on the way to one.

use super::backfill::{self, History, Next, Plan, Read};
use super::source::{Bounds, Polled, Source, SourceError, SourceRecord};
use std::time::Duration;

/// A log, or a history with what is to become of it.
#[derive(Debug)]
pub(super) enum Feed {
    Log(Box<dyn Source>),
    History(Box<History>, Plan),
}

/// What came.
pub(super) enum Came {
    /// All partitions that are read here from now on; nothing of them comes before a seek.
    Owned(Vec<u32>),
    /// Records of a log; none if none came in time.
    Records(Vec<SourceRecord>),
    /// Rows of a history; none if none came in time.
    Rows(Option<Read>),
    /// The history is at its end.
    End,
}

impl Feed {
    pub(super) fn seek(&mut self, places: &[(u32, u64)]) -> Result<(), SourceError> {
        match self {
            Feed::Log(log) => log.seek(places),
            Feed::History(history, _) => {
                places.iter().try_for_each(|(_, offset)| history.seek(*offset))
            }
        }
    }

    pub(super) fn poll(&mut self, bounds: &Bounds) -> Result<Came, SourceError> {
        match self {
            Feed::Log(log) => Ok(match log.poll(bounds)? {
                Polled::Owned(partitions) => Came::Owned(partitions),
                Polled::Records(records) => Came::Records(records),
            }),
            Feed::History(history, _) if !history.told => {
                history.told = true;
                Ok(Came::Owned(vec![backfill::PARTITION]))
            }
            Feed::History(history, _) => Ok(match history.poll(bounds)? {
                Next::Rows(rows) => Came::Rows(rows),
                Next::End => Came::End,
            }),
        }
    }

    /// One past the last offset of each of these partitions. A history's is not known before it has
    /// been read, and then nobody asks.
    pub(super) fn ends(&mut self, partitions: &[u32]) -> Result<Vec<u64>, SourceError> {
        match self {
            Feed::Log(log) => log.ends(partitions),
            Feed::History(..) => Ok(vec![u64::MAX; partitions.len()]),
        }
    }

    /// Waits before the next try of what failed, after which a seek must come.
    pub(super) fn rest(&mut self, pause: Duration) {
        match self {
            Feed::Log(log) => log.rest(pause),
            Feed::History(..) => std::thread::sleep(pause),
        }
    }

    /// Everything below these offsets is in the store.
    pub(super) fn applied(&mut self, places: &[(u32, u64)]) {
        if let Feed::Log(log) = self {
            log.applied(places);
        }
    }
}
