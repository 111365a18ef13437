//! Events that a history leaves out, as the pipeline would dead-letter them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How many dead letters are kept whole; the rest are counted. Enough to see a pattern, few enough
/// to read.
pub const KEPT_DEAD_LETTERS: usize = 10;

/// The fault of an event whose time is further ahead of when it became known than its stream
/// allows.
pub const FUTURE: &str = "future";

/// The fault of an event for which a filter or an argument of a group has no value. Such an event
/// is in no window of that group, and counts once for each group that the view reads and it is not
/// in.
pub const NO_VALUE: &str = "no_value";

/// Where something stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A row of a file with typed columns, or of a batch; from 0.
    Row(u64),
    /// The line of a text file that a row starts on; from 1, a header counted.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Row(row) => write!(f, "row {row}"),
            Place::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// What is wrong at a place of a file, with the column where it is one: for people.
pub fn at_place(source: &str, place: Place, column: Option<&str>, what: &str) -> String {
    let column = column.map(|name| format!(", column {name}")).unwrap_or_default();
    format!("{source}, {place}{column}: {what}")
}

/// One event that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The file, or what the caller named the input.
    pub source: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// The column whose value is bad, where it is one.
    pub column: Option<String>,
    /// What is wrong, in one word, as metrics count it.
    pub fault: &'static str,
    /// What is wrong, in a sentence.
    pub reason: String,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&at_place(&self.source, self.place, self.column.as_deref(), &self.reason))
    }
}

/// All events that were left out: counted by fault, the first [`KEPT_DEAD_LETTERS`] kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    counts: BTreeMap<&'static str, u64>,
    first: Vec<DeadLetter>,
}

impl DeadLetters {
    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many there are by fault, faults in alphabetical order.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The first of them.
    pub fn first(&self) -> &[DeadLetter] {
        &self.first
    }

    pub(crate) fn push(&mut self, letter: DeadLetter) {
        *self.counts.entry(letter.fault).or_insert(0) += 1;
        if self.first.len() < KEPT_DEAD_LETTERS {
            self.first.push(letter);
        }
    }

    /// Takes in those of another stream, behind its own.
    pub(crate) fn append(&mut self, other: &DeadLetters) {
        for (fault, count) in &other.counts {
            *self.counts.entry(fault).or_insert(0) += count;
        }
        let room = KEPT_DEAD_LETTERS - self.first.len();
        self.first.extend(other.first.iter().take(room).cloned());
    }
}
