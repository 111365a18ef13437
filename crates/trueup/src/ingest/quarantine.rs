//! A record that brings down whoever reads it: set aside as a dead letter, so that one record never
//! stops a stream. It watches over working records out, not over the store. Of a busy stream the
//! next batch is in hand while the one before is written; once a process has ended with records in
//! hand, none is while the store is written to, so that what ends there blames no record.
//!
//! ```text
//! batch ─▶ written down ─▶ worked out ─▶ struck out
//!               │              ├─ panics: halved, until the record is found: a dead letter
//!               │              └─ ends the process (abort, stack, memory): what is written stays
//!               └─ next start ─▶ these records one by one, each written down before; the one at
//!                                which the process ended 3 times is a dead letter, not decoded
//! ```
//!
//! What is written down stands in the data directory, a file for each worker of each stream:
//!
//! ```text
//! trueup-in-hand-1 SOURCE
//! hand PARTITION FIRST LAST        is being worked out; nothing between batches
//! suspect PARTITION FIRST LAST     was in hand when the process ended, and was not passed since
//! deaths PARTITION OFFSET COUNT    the process ended so often with this record alone in hand
//! end                              what follows is left of a longer text
//! ```
//!
//! It is to outlive the process, not the machine, so it is written without a sync: a few
//! microseconds a batch. Nothing depends on it but which records are tried alone.

use super::apply::Applying;
use super::progress::Counts;
use super::push;
use super::source::SourceRecord;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use trueup_sql::decode::DecodeError;
use xxhash_rust::xxh3::xxh3_64;

/// How often the process may end with one record alone in hand before that record is set aside:
/// once may be an operator's kill, and so may twice.
const MAX_DEATHS: u32 = 3;

/// Positions with deaths that are remembered: each costs a line of every write. The lowest go
/// first, and would have to kill again.
const MAX_REMEMBERED: usize = 64;

/// Bytes of the file that are read: far above what those lines take for hundreds of partitions.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The first word of the file.
const HEAD: &str = "trueup-in-hand-1";

/// How the reason of a record begins that was set aside without being decoded.
pub(crate) const QUARANTINED: &str = "quarantined: ";

/// Partitions, each with a first and a last offset.
type Spans = BTreeMap<u32, (u64, u64)>;

/// Watches over the records of one stream.
#[derive(Debug)]
pub(super) struct Quarantine {
    stream: String,
    /// None where there is no directory, or it does not take the file.
    file: Option<File>,
    memory: Memory,
    /// The text that was written last, kept for its room.
    text: String,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    /// The log that the offsets are of.
    source: u32,
    hand: Spans,
    suspects: Spans,
    deaths: BTreeMap<(u32, u64), u32>,
}

impl Quarantine {
    /// What the worker of this lane wrote down in a directory when it last ran. Without one, or
    /// without the right to write there, panics are caught, and what ends the process is forgotten
    /// with it.
    pub(super) fn open(dir: Option<&Path>, stream: &str, lane: u64) -> Quarantine {
        let stream = stream.to_owned();
        let (memory, text) = (Memory::default(), String::new());
        let mut quarantine = Quarantine { stream, file: None, memory, text };
        let Some(dir) = dir else { return quarantine };
        match open(&path(dir, &quarantine.stream, lane)) {
            Ok((file, text)) => {
                quarantine.memory = Memory::parse(&text).unwrap_or_default();
                quarantine.file = Some(file);
                quarantine.begin();
            }
            Err(error) => quarantine.forget(&error),
        }
        quarantine
    }

    /// Works records of the log with this number out by `apply`; those that cannot be worked out
    /// without harm become dead letters.
    pub(super) fn work(
        &mut self,
        source: u32,
        records: &[SourceRecord],
        counts: &Counts,
        apply: impl Fn(&[SourceRecord]) -> Result<Applying, DecodeError>,
    ) -> Result<Applying, DecodeError> {
        if self.memory.source != source {
            // Offsets of another log mean other records.
            self.memory = Memory { source, ..Memory::default() };
        }
        let worked = self.each(records, counts, apply);
        self.memory.hand.clear();
        self.save();
        worked
    }

    fn each(
        &mut self,
        records: &[SourceRecord],
        counts: &Counts,
        apply: impl Fn(&[SourceRecord]) -> Result<Applying, DecodeError>,
    ) -> Result<Applying, DecodeError> {
        let alone = |record: &SourceRecord| self.memory.is_alone(record);
        let runs = records.chunk_by(|one, next| !alone(one) && !alone(next));
        let mut whole = Applying::default();
        for run in runs.collect::<Vec<_>>() {
            match run {
                [record] if self.memory.deaths(record) >= MAX_DEATHS => {
                    whole.letters.push(self.set_aside(record));
                    Counts::add(&counts.quarantined, 1);
                }
                run => {
                    self.memory.take(run);
                    self.save();
                    whole.join(caught(&self.stream, run, counts, &apply)?);
                    self.memory.pass(run);
                }
            }
        }
        Ok(whole)
    }

    /// Whether records come one by one, or one has brought the process down before.
    pub(super) fn is_wary(&self) -> bool {
        !self.memory.suspects.is_empty() || !self.memory.deaths.is_empty()
    }

    fn set_aside(&self, record: &SourceRecord) -> trueup_store::DeadLetter {
        let SourceRecord { partition, offset, .. } = record;
        let (stream, deaths) = (&self.stream, self.memory.deaths(record));
        tracing::error!(
            stream,
            partition,
            offset,
            deaths,
            "a record that ends the process is set aside"
        );
        let reason = format!(
            "{QUARANTINED}the process ended {deaths} times while it worked this record out, so it \
             is passed over without being decoded; report what it holds"
        );
        push::letter(reason, record)
    }

    /// Draws from what the last process left in hand.
    fn begin(&mut self) {
        let hand = self.memory.hand.clone();
        if hand.is_empty() {
            return;
        }
        self.memory.suspect();
        let stream = &self.stream;
        tracing::warn!(stream, ?hand, "the process ended with these in hand; they come one by one");
        self.save();
    }

    fn save(&mut self) {
        let Some(file) = &self.file else { return };
        self.text.clear();
        self.memory.print(&mut self.text);
        if let Err(error) = file.write_all_at(self.text.as_bytes(), 0) {
            self.forget(&error);
        }
    }

    fn forget(&mut self, error: &io::Error) {
        self.file = None;
        let stream = &self.stream;
        tracing::warn!(stream, %error, "records that end the process will not be remembered");
    }
}

/// Where a worker's file is; names of streams may hold anything but a slash, and be long.
fn path(dir: &Path, stream: &str, lane: u64) -> PathBuf {
    dir.join(format!("in-hand-{:016x}-{lane}", xxh3_64(stream.as_bytes())))
}

fn open(path: &Path) -> io::Result<(File, String)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut bytes = Vec::new();
    (&file).take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok((file, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Works records out; those that panic become dead letters.
fn caught(
    stream: &str,
    records: &[SourceRecord],
    counts: &Counts,
    apply: &impl Fn(&[SourceRecord]) -> Result<Applying, DecodeError>,
) -> Result<Applying, DecodeError> {
    // What a panic leaves half done is in the batch that is thrown away with it.
    match (catch_unwind(AssertUnwindSafe(|| apply(records))), records) {
        (Ok(applied), _) => applied,
        (Err(panic), [record]) => {
            let SourceRecord { partition, offset, .. } = record;
            tracing::error!(stream, partition, offset, "a record that panics is a dead letter");
            Counts::add(&counts.panicked, 1);
            let reason = format!("panicked: {}", said(&*panic));
            let letters = vec![push::letter(reason, record)];
            Ok(Applying { letters, ..Applying::default() })
        }
        (Err(_), records) => {
            let (first, second) = records.split_at(records.len() / 2);
            let mut whole = caught(stream, first, counts, apply)?;
            whole.join(caught(stream, second, counts, apply)?);
            Ok(whole)
        }
    }
}

/// A panic's message.
pub(super) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl Memory {
    fn deaths(&self, record: &SourceRecord) -> u32 {
        self.deaths.get(&(record.partition, record.offset)).copied().unwrap_or(0)
    }

    /// Whether a record is to be worked out alone.
    fn is_alone(&self, record: &SourceRecord) -> bool {
        let span = self.suspects.get(&record.partition);
        span.is_some_and(|&(first, last)| (first..=last).contains(&record.offset))
            || self.deaths(record) > 0
    }

    /// These are in hand now, and nothing else.
    fn take(&mut self, records: &[SourceRecord]) {
        self.hand.clear();
        for record in records {
            let span = self.hand.entry(record.partition).or_insert((record.offset, record.offset));
            span.1 = record.offset;
        }
    }

    /// These did no harm.
    fn pass(&mut self, records: &[SourceRecord]) {
        if self.suspects.is_empty() && self.deaths.is_empty() {
            return;
        }
        for record in records {
            self.deaths.remove(&(record.partition, record.offset));
            if let Some((first, last)) = self.suspects.get_mut(&record.partition) {
                *first = record.offset.saturating_add(1).max(*first);
                if first > last {
                    self.suspects.remove(&record.partition);
                }
            }
        }
    }

    /// The process ended with what is in hand.
    fn suspect(&mut self) {
        let hand = std::mem::take(&mut self.hand);
        if let [(&partition, &(first, last))] = hand.iter().collect::<Vec<_>>()[..]
            && first == last
        {
            *self.deaths.entry((partition, first)).or_default() += 1;
        }
        while self.deaths.len() > MAX_REMEMBERED {
            self.deaths.pop_first();
        }
        for (partition, (first, last)) in hand {
            let span = self.suspects.entry(partition).or_insert((first, last));
            *span = (span.0.min(first), span.1.max(last));
        }
    }

    fn print(&self, text: &mut String) {
        // Writing to memory does not fail, here and below.
        let _ = writeln!(text, "{HEAD} {}", self.source);
        for (word, spans) in [("hand", &self.hand), ("suspect", &self.suspects)] {
            for (partition, (first, last)) in spans {
                let _ = writeln!(text, "{word} {partition} {first} {last}");
            }
        }
        for ((partition, offset), count) in &self.deaths {
            let _ = writeln!(text, "deaths {partition} {offset} {count}");
        }
        text.push_str("end\n");
    }

    /// None for a text that is not whole.
    fn parse(text: &str) -> Option<Memory> {
        let mut lines = text.lines();
        let source = lines.next()?.strip_prefix(HEAD)?.trim().parse().ok()?;
        let mut memory = Memory { source, ..Memory::default() };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [word, partition, one, other] = words[..] else {
                return (line == "end").then_some(memory);
            };
            let (partition, one) = (partition.parse().ok()?, one.parse().ok()?);
            match word {
                "hand" => drop(memory.hand.insert(partition, (one, other.parse().ok()?))),
                "suspect" => drop(memory.suspects.insert(partition, (one, other.parse().ok()?))),
                "deaths" => drop(memory.deaths.insert((partition, one), other.parse().ok()?)),
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn record(partition: u32, offset: u64) -> SourceRecord {
        SourceRecord { partition, offset, time_us: 0, payload: b"{}".to_vec() }
    }

    fn records(offsets: std::ops::Range<u64>) -> Vec<SourceRecord> {
        offsets.map(|offset| record(0, offset)).collect()
    }

    /// A process that ends when it works this offset out: what it tried, and what it buried.
    fn run(dir: &Path, offsets: std::ops::Range<u64>, fatal: u64) -> (Vec<usize>, Vec<u64>, bool) {
        let mut quarantine = Quarantine::open(Some(dir), "s", 1);
        let tried = RefCell::new(Vec::new());
        let apply = |records: &[SourceRecord]| {
            tried.borrow_mut().push(records.len());
            if records.iter().any(|record| record.offset == fatal) {
                // The file is as the end of the process would leave it.
                std::fs::copy(path(dir, "s", 1), dir.join("left")).unwrap();
            }
            Ok(Applying::default())
        };
        let worked = quarantine.work(7, &records(offsets), &Counts::default(), apply).unwrap();
        drop(quarantine);
        let died = dir.join("left").exists();
        if died {
            std::fs::rename(dir.join("left"), path(dir, "s", 1)).unwrap();
        }
        let buried = worked.letters.iter().filter_map(|letter| Some(letter.position?.1)).collect();
        (tried.into_inner(), buried, died)
    }

    #[test]
    fn after_three_ends_at_one_record_it_is_buried_and_the_others_are_worked_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), 0..5, 2), (vec![5], vec![], true));
        assert_eq!(run(dir.path(), 0..5, 2), (vec![1; 5], vec![], true));
        for _ in 0..2 {
            assert_eq!(run(dir.path(), 0..5, 2), (vec![2, 1, 1, 1], vec![], true));
        }
        let (_, buried, died) = run(dir.path(), 0..5, 2);
        assert_eq!((buried, died), (vec![2], false));
        // Read again before the checkpoint has passed it.
        assert_eq!(run(dir.path(), 0..5, 2), (vec![2, 2], vec![2], false));
        assert_eq!(run(dir.path(), 5..9, 2), (vec![4], vec![], false));
    }

    #[test]
    fn a_record_that_passes_is_not_blamed_for_earlier_kills() {
        let dir = tempfile::tempdir().unwrap();
        for fatal in [0, 0, 1, 9, 1, 1, 9, 0, 1, 9, 0, 0, 9] {
            let (_, buried, died) = run(dir.path(), 0..2, fatal);
            assert_eq!((buried, died), (vec![], fatal != 9));
        }
        assert!(run(dir.path(), 0..2, 9).1.is_empty());
        assert_eq!(run(dir.path(), 0..2, 9).0, [2], "both together, since nothing is suspected");
    }

    #[test]
    fn offsets_of_a_log_that_was_made_anew_are_other_records() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..4 {
            run(dir.path(), 2..3, 2);
        }
        let mut quarantine = Quarantine::open(Some(dir.path()), "s", 1);
        let apply = |_: &[SourceRecord]| Ok(Applying::default());
        let worked = quarantine.work(8, &records(2..3), &Counts::default(), apply).unwrap();
        assert!(worked.letters.is_empty());
    }

    #[test]
    fn what_is_written_down_is_read_again_and_a_torn_text_is_nothing() {
        let mut memory = Memory { source: 9, ..Memory::default() };
        memory.take(&[record(0, 3), record(0, 5), record(7, 1)]);
        memory.suspect();
        memory.take(&[record(0, 4)]);
        memory.suspect();
        memory.take(&[record(1, u64::MAX)]);
        let mut text = String::new();
        memory.print(&mut text);
        assert_eq!(Memory::parse(&format!("{text}suspect 1")), Some(memory));
        for cut in 0..text.len() - 1 {
            assert_eq!(Memory::parse(&text[..cut]), None, "{}", &text[..cut]);
        }
    }

    /// Ingest does this for every batch, perhaps of one event.
    #[test]
    fn writing_down_costs_microseconds() {
        const BATCHES: u32 = 10_000;
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(Some(dir.path()), "s", 1);
        let batch = records(1_000_000..1_000_001);
        let began = std::time::Instant::now();
        for _ in 0..BATCHES {
            let apply = |_: &[SourceRecord]| Ok(Applying::default());
            quarantine.work(7, &batch, &Counts::default(), apply).unwrap();
        }
        let each = began.elapsed() / BATCHES;
        println!("{each:?} a batch");
        assert!(each < std::time::Duration::from_millis(1), "{each:?} a batch");
    }
}
