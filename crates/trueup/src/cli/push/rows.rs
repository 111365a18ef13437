//! A file's rows as they are sent. JSON lines go as they stand, so that the server sees and counts
//! what a stream has no column for; other formats become JSON by the stream's columns, and their
//! header tells what is left behind.

use super::sender::Pushing;
use crate::ingest::{FileError, FileKind, Loaded, load};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::IgnoredAny;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use trueup_sql::decode::{Decoder, MAX_ROW_BYTES, csv_names};

/// Rows that are handed over at a time.
const BATCH_ROWS: usize = 8_192;

/// Bytes of JSON lines that are handed over at a time: what a call takes.
const BATCH_BYTES: usize = super::sender::CALL_BYTES;

/// Names without a column that are kept, to be shown.
const MAX_NAMES: usize = 20;

/// Reads a file's rows and hands them over in batches; returns names of fields that the stream has
/// no column for.
pub(super) fn read(
    path: &Path,
    decoder: &Decoder,
    mut each: impl FnMut(Vec<Vec<u8>>) -> Result<(), Pushing>,
) -> Result<BTreeSet<String>, Pushing> {
    if FileKind::of(path) == Some(FileKind::JsonLines) {
        let file = File::open(path).map_err(|error| failed(path, &error))?;
        return lines(BufReader::new(file), path, decoder, each);
    }
    let names = header(path).unwrap_or_default();
    // Bad rows go to the server too: dead letters are kept there.
    load(path, decoder, |loaded: Loaded| -> Result<(), Pushing> {
        let bad = loaded.bad.into_iter().map(|bad| bad.row);
        let rows = loaded.rows.into_iter().chain(bad).filter(|row| !row.is_empty());
        each(rows.map(|row| row.into_iter().map(unbroken).collect()).collect())
    })?;
    let unknown = decoder.unknown(names.iter().map(String::as_str));
    Ok(unknown.into_iter().take(MAX_NAMES).map(str::to_string).collect())
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
    mut each: impl FnMut(Vec<Vec<u8>>) -> Result<(), Pushing>,
) -> Result<BTreeSet<String>, Pushing> {
    let (mut rows, mut bytes, mut unknown) = (Vec::new(), 0, BTreeSet::new());
    let mut first = true;
    loop {
        let line = line(&mut file).map_err(|error| failed(path, &error))?;
        if line.is_none() || rows.len() == BATCH_ROWS || bytes >= BATCH_BYTES {
            bytes = 0;
            each(std::mem::take(&mut rows))?;
        }
        let Some(line) = line else { return Ok(unknown) };
        let mark: &[u8] = if first { b"\xEF\xBB\xBF" } else { b"" };
        first = false;
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
        rows.push(row.to_vec());
    }
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
