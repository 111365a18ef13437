//! What the demo plays: the simulated transactions that are loaded everywhere, and those that come
//! after them, which are asked for.

use crate::cli::Failure;
use crate::simulate::{FileFormat, SimulateOptions, Simulation, Transaction, to_json, write};
use bytes::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use trueup_core::Micros;

/// The days over which the loaded transactions fall: twice the longest window, so that the windows
/// of all requests are full and there is history that they must leave out.
const DAYS: f64 = 60.0;

/// Days between the last simulated transaction and now. The stream would refuse events that lie
/// ahead, and a small simulation may end some days after the span that it was given.
const MARGIN_DAYS: f64 = 12.0;

/// Transactions for each user. By the simulation's square-root law the busiest of 20,000 users then
/// has some 14,000 of 2 million.
const EVENTS_PER_USER: u64 = 100;

/// Transactions for each merchant; the busiest has a tenth of them all.
const EVENTS_PER_MERCHANT: u64 = 400;

/// The most different transactions that are asked for; a longer run asks for them again.
const MAX_REQUESTS: u64 = 20_000;

/// One request for so many loaded transactions, if that is fewer.
const EVENTS_PER_REQUEST: u64 = 50;

const DAY_US: f64 = 86_400e6;

/// The transactions of one demo.
pub(super) struct Scene {
    /// Those that are loaded, in the order of their times.
    pub(super) history: Vec<Transaction>,
    /// Those that are asked for; all come after the loaded ones.
    pub(super) requests: Vec<Transaction>,
}

/// The bodies of requests by number; requests beyond the last row begin again with the first.
pub(super) struct Bodies(Vec<Bytes>);

impl Scene {
    /// Simulates `events` transactions to load, and some to ask for; all end before `now`.
    pub(super) fn simulate(events: u64, now: Micros) -> Result<Scene, Failure> {
        let requests = (events / EVENTS_PER_REQUEST).clamp(1, MAX_REQUESTS);
        let days = DAYS * (events + requests) as f64 / events as f64;
        let options = SimulateOptions {
            users: (events / EVENTS_PER_USER).max(1) as i64,
            merchants: (events / EVENTS_PER_MERCHANT).max(1) as i64,
            events: events + requests,
            // A whole day, so that runs of one day play the same transactions.
            start: Micros(day_before(now.back(((days + MARGIN_DAYS) * DAY_US) as i64))),
            days,
            ..SimulateOptions::default()
        };
        let mut history: Vec<Transaction> = Simulation::new(options)?.collect();
        let requests = history.split_off(events as usize);
        Ok(Scene { history, requests })
    }

    /// Writes history and requests as files, as a person would keep them for training.
    pub(super) fn write(&self, folder: &Path) -> Result<Files, Failure> {
        let files = Files {
            history: folder.join("history.parquet"),
            requests: folder.join("requests.parquet"),
        };
        for (path, rows) in [(&files.history, &self.history), (&files.requests, &self.requests)] {
            let file = File::create(path)
                .map_err(|error| format!("error: cannot make {}: {error}", path.display()))?;
            write(FileFormat::Parquet, rows.iter().cloned(), file)?;
        }
        Ok(files)
    }

    /// A request's body for each transaction to ask for: one row each.
    pub(super) fn bodies(&self) -> Bodies {
        let body = |transaction: &Transaction| {
            let mut body = b"{\"rows\":[".to_vec();
            to_json(transaction, &mut body);
            body.extend_from_slice(b"]}");
            Bytes::from(body)
        };
        Bodies(self.requests.iter().map(body).collect())
    }
}

/// Where the transactions are as files.
pub(super) struct Files {
    pub(super) history: PathBuf,
    pub(super) requests: PathBuf,
}

impl Bodies {
    /// How many different ones there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The row that the request with this number asks for.
    pub(super) fn row(&self, number: u64) -> usize {
        (number % self.0.len() as u64) as usize
    }

    /// The body of the request with this number.
    pub(super) fn body(&self, number: u64) -> Bytes {
        self.0[self.row(number)].clone()
    }
}

fn day_before(at: Micros) -> i64 {
    at.0 - at.0.rem_euclid(DAY_US as i64)
}
