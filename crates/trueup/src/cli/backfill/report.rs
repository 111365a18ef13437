//! What a backfill says at its end.

use crate::cli::common::Output;
use crate::ingest::Counts;
use crate::ingest::backfill::Plan;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use trueup_sql::decode::print::Timestamp;

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// What was done, in this run of the command.
pub(super) struct Report<'a> {
    pub(super) stream: &'a str,
    pub(super) history: &'a str,
    /// Rows of a copy's origin that are not in it, because the log brings them.
    pub(super) left_out: Option<u64>,
    pub(super) plan: &'a Plan,
    pub(super) counts: &'a Counts,
    pub(super) seconds: f64,
    /// Keys of all groups in the store.
    pub(super) keys: u64,
}

impl Report<'_> {
    pub(super) fn print(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => format!("{:#}\n", self.json()),
        }
    }

    /// So many a second.
    fn rate(&self, n: u64) -> f64 {
        n as f64 / self.seconds.max(1e-9)
    }

    fn text(&self) -> String {
        let counts = self.counts;
        let (rows, records) = (of(&counts.rows), of(&counts.records));
        let mut text = format!(
            "{}: {rows} rows of {} in {:.1} s, {:.0} a second\n",
            self.stream,
            self.history,
            self.seconds,
            self.rate(rows),
        );
        text += &format!(
            "  {records} records appended, {:.0} a second; {} compactions; {} keys in the store\n",
            self.rate(records),
            of(&counts.compactions),
            self.keys
        );
        text += &format!(
            "  {} dead letters, {} late, {} conflicts of ids, {} times a key cut at its bound\n",
            of(&counts.dead_letters),
            of(&counts.late),
            of(&counts.id_conflicts),
            of(&counts.keys_cut),
        );
        if let Some(left_out) = self.left_out {
            text += &format!("  {left_out} rows left out, which the log brings\n");
        }
        if let Some(peak) = peak_memory() {
            text += &format!("  {} MiB of memory at the most\n", peak / MIB);
        }
        let since = match self.plan.since_us {
            i64::MIN => "for ever".to_owned(),
            since_us => Timestamp(since_us).to_string(),
        };
        let places: Vec<String> = self
            .plan
            .up_to
            .iter()
            .map(|(partition, offset)| format!("{partition}:{offset}"))
            .collect();
        let places = places.join(",");
        text + &format!("  complete since {since}; the log takes over at {places}\n")
    }

    fn json(&self) -> Value {
        let counts = self.counts;
        let places = self
            .plan
            .up_to
            .iter()
            .map(|(partition, offset)| (partition.to_string(), Value::from(*offset)));
        let since = match self.plan.since_us {
            i64::MIN => Value::Null,
            since_us => Value::from(Timestamp(since_us).to_string()),
        };
        json!({
            "stream": self.stream,
            "history": self.history,
            "left_out": self.left_out,
            "rows": of(&counts.rows),
            "seconds": self.seconds,
            "rows_per_second": self.rate(of(&counts.rows)),
            "records": of(&counts.records),
            "records_per_second": self.rate(of(&counts.records)),
            "compactions": of(&counts.compactions),
            "keys": self.keys,
            "dead_letters": of(&counts.dead_letters),
            "late": of(&counts.late),
            "id_conflicts": of(&counts.id_conflicts),
            "keys_cut": of(&counts.keys_cut),
            "peak_memory_bytes": peak_memory(),
            "complete_since": since,
            "log_takes_over_at": places.collect::<Map<_, _>>(),
        })
    }
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The most memory that this process has had at a time, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
