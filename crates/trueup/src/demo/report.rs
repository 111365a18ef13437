//! What the demo found, as a table for people and one object for programs.

use super::freshness::Freshness;
use super::measure::Measured;
use super::parity::Parity;
use serde_json::{Value, json};
use std::fmt;

/// The result of a demo.
#[derive(Clone, Debug)]
pub struct Report {
    /// Events that were loaded everywhere.
    pub events: u64,
    /// A database without an index.
    pub scan: Measured,
    /// A database with the right indexes.
    pub index: Measured,
    /// Trueup.
    pub store: Measured,
    /// How soon pushed events are seen.
    pub freshness: Freshness,
    /// Served rows against training rows, bit for bit.
    pub parity: Parity,
    /// The rows of scan and index against training rows; doubles within [`super::TOLERANCE`].
    pub baseline: Parity,
}

impl Report {
    /// Whether every row of every way is equal to its training row.
    pub fn holds(&self) -> bool {
        self.parity.holds() && self.baseline.holds()
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        json!({
            "scan": self.scan,
            "index": self.index,
            "store": self.store,
            "freshness_p99_ms": self.freshness.p99_ms,
            "parity": self.parity,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { scan, index, store, freshness, parity, baseline, .. } = self;
        writeln!(f, "One request asks for one row: 12 columns over {} events.", self.events)?;
        writeln!(f, "Latency is of an open loop at half of each way's own capacity.\n")?;
        writeln!(
            f,
            "{:6} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "way",
            "capacity/s",
            "rate/s",
            "done/s",
            "requests",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "errors"
        )?;
        for (name, way) in [("scan", scan), ("index", index), ("store", store)] {
            writeln!(
                f,
                "{name:6} {:>10.1} {:>9.1} {:>9.1} {:>9} {:>9.3} {:>9.3} {:>9.3} {:>7}",
                way.capacity,
                way.rate,
                way.achieved,
                way.count,
                way.p50_ms,
                way.p99_ms,
                way.p999_ms,
                way.errors
            )?;
        }
        writeln!(
            f,
            "\np99 of scan is {:.0} times that of store, p99 of index {:.1} times.",
            scan.p99_ms / store.p99_ms,
            index.p99_ms / store.p99_ms
        )?;
        writeln!(
            f,
            "freshness: pushed events are seen within {:.2} ms (p50), {:.2} ms (p99); {} events.",
            freshness.p50_ms, freshness.p99_ms, freshness.count
        )?;
        writeln!(
            f,
            "parity: {} of {} served rows equal their training rows, bit for bit.",
            parity.equal, parity.compared
        )?;
        write!(
            f,
            "baseline: {} of {} rows of scan and index equal them too (doubles to {:e}).",
            baseline.equal,
            baseline.compared,
            super::TOLERANCE
        )
    }
}
