//! A file's rows as they are sent, and where each stands in the file. JSON lines go as they
//! stand, so that the server sees and counts what a stream has no column for; other formats become
//! JSON by the stream's columns, and their header tells what is left behind.

use super::sender::{Pushing, Rejected};
use crate::ingest::{FileError, FileKind, Loaded, load};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::IgnoredAny;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use trueup_offline::{Place, at_place};
use trueup_sql::decode::{BadEvent, Decoder, MAX_ROW_BYTES, csv_names};

/// Rows that are handed over at a time.
const BATCH_ROWS: usize = 8_192;

/// Bytes of JSON lines that are handed over at a time: what a call takes.
const BATCH_BYTES: usize = super::sender::CALL_BYTES;

/// Names without a column that are kept, to be shown.
const MAX_NAMES: usize = 20;

/// Characters of a refused row that are shown: enough to recognise it.
const SHOWN_CHARS: usize = 120;

/// Rows that are handed over together.
#[derive(Default)]
pub(super) struct Batch {
    /// What is sent: JSON, or what is none and becomes a dead letter of the server.
    pub(super) rows: Vec<Vec<u8>>,
    /// Where each of these comes from.
    pub(super) origins: Vec<Origin>,
    /// Bad rows of which there is no text to send.
    pub(super) unsent: Vec<Origin>,
}

/// Where a row stands in the file.
pub(super) struct Origin {
    place: Place,
    /// What is wrong with it, where it is known before it is sent.
    bad: Option<BadEvent>,
}

impl Origin {
    /// For a person: the place, the reason, and the row's beginning. What reading the file told
    /// goes first: the server sees a bad row of CSV, and knows nothing of its columns.
    pub(super) fn refused(&self, file: &str, letter: Option<&Rejected>, row: &[u8]) -> String {
        let bad = self.bad.as_ref().map(|bad| (bad.column.as_deref(), bad.reason.as_str()));
        let letter = letter.map(|letter| (letter.column.as_deref(), letter.reason.as_str()));
        let (column, reason) = bad.or(letter).unwrap_or_default();
        let told = at_place(file, self.place, column, reason);
        // What a terminal would obey is shown as it is escaped.
        let shown = |char: char| match char.is_control() {
            true => char.escape_default().to_string(),
            false => char.to_string(),
        };
        let row = String::from_utf8_lossy(row);
        let row: String = row.chars().take(SHOWN_CHARS).map(shown).collect();
        if row.is_empty() { told } else { format!("{told}\n  {row}") }
    }
}

/// Reads a file's rows and hands them over in batches; returns names of fields that the stream has
/// no column for.
pub(super) fn read(
    path: &Path,
    decoder: &Decoder,
    mut each: impl FnMut(Batch) -> Result<(), Pushing>,
) -> Result<BTreeSet<String>, Pushing> {
    if FileKind::of(path) == Some(FileKind::JsonLines) {
        let file = File::open(path).map_err(|error| failed(path, &error))?;
        return lines(BufReader::new(file), path, decoder, each);
    }
    let names = header(path).unwrap_or_default();
    load(path, decoder, |loaded: Loaded| each(batch(loaded)))?;
    let unknown = decoder.unknown(names.iter().map(String::as_str));
    Ok(unknown.into_iter().take(MAX_NAMES).map(str::to_string).collect())
}

fn batch(loaded: Loaded) -> Batch {
    let Loaded { kind, rows, kept, bad } = loaded;
    let place = |number| kind.place(number);
    let good = |number| Origin { place: place(number), bad: None };
    let mut batch = Batch { rows, origins: kept.into_iter().map(good).collect(), unsent: vec![] };
    for mut bad in bad {
        let row: Vec<u8> = std::mem::take(&mut bad.row).into_iter().map(unbroken).collect();
        let origin = Origin { place: place(bad.index), bad: Some(bad) };
        if row.is_empty() {
            batch.unsent.push(origin);
            continue;
        }
        // Bad rows go to the server too: dead letters are kept there.
        batch.rows.push(row);
        batch.origins.push(origin);
    }
    batch
}

/// A byte of a row that is to stand in one line.
fn unbroken(byte: u8) -> u8 {
    if byte == b'\n' { b' ' } else { byte }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Pushing {
    FileError::Read { path: path.to_path_buf(), reason: error.to_string() }.into()
}

fn lines(
    mut file: impl BufRead,
    path: &Path,
    decoder: &Decoder,
    mut each: impl FnMut(Batch) -> Result<(), Pushing>,
) -> Result<BTreeSet<String>, Pushing> {
    let (mut batch, mut bytes, mut unknown) = (Batch::default(), 0, BTreeSet::new());
    for number in 0.. {
        let line = line(&mut file).map_err(|error| failed(path, &error))?;
        if line.is_none() || batch.rows.len() == BATCH_ROWS || bytes >= BATCH_BYTES {
            bytes = 0;
            each(std::mem::take(&mut batch))?;
        }
        let Some(line) = line else { break };
        let mark: &[u8] = if number == 0 { b"\xEF\xBB\xBF" } else { b"" };
        let row = line.strip_prefix(mark).unwrap_or(&line).trim_ascii();
        if row.is_empty() {
            continue;
        }
        // What is no object is refused by the server.
        if let Ok(fields) = serde_json::from_slice::<HashMap<String, IgnoredAny>>(row) {
            let names = decoder.unknown(fields.keys().map(String::as_str));
            let room = MAX_NAMES.saturating_sub(unknown.len());
            unknown.extend(names.into_iter().take(room).map(str::to_string));
        }
        bytes += row.len();
        batch.rows.push(row.to_vec());
        batch.origins.push(Origin { place: FileKind::JsonLines.place(number), bad: None });
    }
    Ok(unknown)
}

/// The next line, of one that is too long for a row its beginning, which the server refuses; `None`
/// at the end.
fn line(file: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = MAX_ROW_BYTES as u64 + 1;
    if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let mut rest = Vec::new();
    while line.last() != Some(&b'\n') && line.len() as u64 == most {
        rest.clear();
        if file.by_ref().take(most).read_until(b'\n', &mut rest)? == 0 || rest.ends_with(b"\n") {
            break;
        }
    }
    Ok(Some(line))
}

/// The names of a file's columns; `None` if it does not begin as its ending says, which reading it
/// explains.
fn header(path: &Path) -> Option<Vec<String>> {
    let file = File::open(path).ok()?;
    match FileKind::of(path)? {
        FileKind::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).ok()?;
            Some(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
        }
        FileKind::Csv => {
            let mut start = Vec::new();
            file.take(MAX_ROW_BYTES as u64).read_to_end(&mut start).ok()?;
            csv_names(&start)
        }
        FileKind::JsonLines => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_longer_than_a_row_is_cut_and_the_next_one_is_whole() {
        let long = "x".repeat(3 * MAX_ROW_BYTES);
        let text = format!("{long}\nnext\nlast");
        let mut file = BufReader::new(text.as_bytes());
        let mut next = || line(&mut file).unwrap();
        assert_eq!(next().map(|line| line.len()), Some(MAX_ROW_BYTES + 1));
        assert_eq!(next(), Some(b"next\n".to_vec()));
        assert_eq!(next(), Some(b"last".to_vec()));
        assert_eq!(next(), None);
    }
}
