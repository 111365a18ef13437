//! Why an event, or a whole file, is not taken: the words that dead letters and callers read.

use std::fmt;

/// Characters of a bad value that a reason shows; enough to recognise it, too few to flood a log.
const SHOWN_CHARS: usize = 40;

/// What is wrong with an event, as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are not a row: broken JSON, broken CSV, a field given twice.
    Syntax,
    /// A value of a type that the column does not take.
    Type,
    /// A number or a date outside what the type holds.
    Range,
    /// A number with digits that the column's type cannot keep.
    Precision,
    /// A time that is no instant, is finer than a microsecond or lacks its unit.
    Time,
    /// NaN or an infinity.
    NotFinite,
    /// NULL or nothing in a NOT NULL column.
    Null,
    /// Text that is not UTF-8 or holds U+0000.
    Text,
    /// A value or a row above its bound in bytes.
    Size,
}

impl Fault {
    /// The label, lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Syntax => "bad_syntax",
            Fault::Type => "bad_type",
            Fault::Range => "out_of_range",
            Fault::Precision => "too_precise",
            Fault::Time => "bad_time",
            Fault::NotFinite => "not_finite",
            Fault::Null => "null",
            Fault::Text => "bad_text",
            Fault::Size => "too_large",
        }
    }
}

/// A value that a column does not take: what is wrong, and what to send instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong, in one word.
    pub fault: Fault,
    /// The sentence, with the remedy.
    pub reason: String,
}

impl BadValue {
    pub(crate) fn new(fault: Fault, reason: impl Into<String>) -> BadValue {
        BadValue { fault, reason: reason.into() }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for BadValue {}

/// An event that is not taken; the stream goes on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Which row of the input: its index, or for lines of text the line it starts on, counted from
    /// 0.
    pub index: usize,
    /// The first column, in the order of the declaration, whose value is bad; `None` when the row
    /// as a whole is.
    pub column: Option<String>,
    /// What is wrong, in one word.
    pub fault: Fault,
    /// The sentence, with the remedy.
    pub reason: String,
    /// The row as it came, for the dead letter, cut after [`MAX_BAD_ROW_BYTES`]; empty when the
    /// input has columns and not rows.
    ///
    /// [`MAX_BAD_ROW_BYTES`]: super::MAX_BAD_ROW_BYTES
    pub row: Vec<u8>,
}

impl BadEvent {
    /// What is wrong with which column, in words that hold nothing of the row: for logs, and for
    /// those who did not send it. The reason shows the value.
    pub fn label(&self) -> String {
        match &self.column {
            Some(column) => format!("column {column}: {}", self.fault.name()),
            None => self.fault.name().to_owned(),
        }
    }
}

impl fmt::Display for BadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "row {}, column {column}: {}", self.index, self.reason),
            None => write!(f, "row {}: {}", self.index, self.reason),
        }
    }
}

/// An input that cannot be decoded at all, because its columns or its framing are wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input lacks a column that is declared NOT NULL.
    MissingColumn {
        /// The column.
        column: String,
    },
    /// Two columns of the input have one name.
    RepeatedColumn {
        /// The name.
        column: String,
    },
    /// A column's Arrow type is one that its SQL type never takes.
    ColumnType {
        /// The column.
        column: String,
        /// The Arrow type found.
        found: String,
        /// The SQL type declared.
        declared: String,
    },
    /// The text cannot be cut into rows any further.
    Framing {
        /// The line where the trouble starts, counted from 1.
        line: usize,
        /// What is wrong, with the remedy.
        reason: &'static str,
    },
    /// The input could not be read.
    Read(std::io::Error),
    /// The columns do not make a batch; a fault of this crate.
    Batch(arrow::error::ArrowError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::MissingColumn { column } => write!(
                f,
                "the input has no column {column}, which is declared NOT NULL; add it, or check \
                 the letter case of its name"
            ),
            DecodeError::RepeatedColumn { column } => {
                write!(f, "the input has two columns called {column}; rename or drop one")
            }
            DecodeError::ColumnType { column, found, declared } => write!(
                f,
                "column {column} has Arrow type {found}, which {declared} does not take; convert \
                 it, or declare another type (docs/decoding.md has the table)"
            ),
            DecodeError::Framing { line, reason } => write!(f, "line {line}: {reason}"),
            DecodeError::Read(error) => write!(f, "cannot read the input: {error}"),
            DecodeError::Batch(error) => write!(f, "decoded columns do not fit together: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DecodeError::Read(error) => Some(error),
            DecodeError::Batch(error) => Some(error),
            _ => None,
        }
    }
}

/// `text` in quotes, cut to what a reason shows.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

/// NULL where the declaration says NOT NULL.
pub(crate) fn null() -> BadValue {
    BadValue::new(Fault::Null, "NULL or missing, and the column is NOT NULL; send a value")
}
