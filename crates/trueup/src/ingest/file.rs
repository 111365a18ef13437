//! Files as sources: Parquet, CSV and JSON lines, decoded and handed over in batches of JSON rows,
//! as a push brings them.

use crate::json;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use trueup_offline::Place;
use trueup_sql::decode::{BadEvent, DecodeError, Decoded, Decoder};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8_192;

/// The file formats that events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Parquet.
    Parquet,
    /// CSV with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl FileKind {
    /// The kind that a path's ending names.
    pub fn of(path: &Path) -> Option<FileKind> {
        match path.extension()?.to_str()? {
            "parquet" => Some(FileKind::Parquet),
            "csv" => Some(FileKind::Csv),
            "jsonl" | "ndjson" | "json" => Some(FileKind::JsonLines),
            _ => None,
        }
    }

    /// Where a row of such a file stands, by its number: a row, or a line of text.
    pub fn place(self, number: usize) -> Place {
        match self {
            FileKind::Parquet => Place::Row(number as u64),
            FileKind::Csv | FileKind::JsonLines => Place::Line(number as u64 + 1),
        }
    }
}

/// Why a file could not be read to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// It could not be opened or read.
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system or the format said.
        reason: String,
    },
    /// Its name does not say what it is.
    Ending {
        /// Its path.
        path: PathBuf,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Read { path, reason } => write!(f, "{}: {reason}", path.display()),
            FileError::Ending { path } => write!(
                f,
                "{} must end in .parquet, .csv, .jsonl or .ndjson, so that its format is known",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FileError {}

/// Some rows of a file.
#[derive(Debug)]
pub struct Loaded {
    /// The file's format, which says what the numbers of rows count ([`FileKind::place`]).
    pub kind: FileKind,
    /// The good ones, each one JSON object that decodes to the same values.
    pub rows: Vec<Vec<u8>>,
    /// The number of each of these in the file.
    pub kept: Vec<usize>,
    /// The bad ones, with their numbers in the file.
    pub bad: Vec<BadEvent>,
}

/// Reads a file's events in order and hands them over in batches; `each` says whether to go on.
///
/// # Errors
/// [`FileError`] with the path and the reason, or what `each` returned.
pub fn load<E: From<FileError>>(
    path: &Path,
    decoder: &Decoder,
    mut each: impl FnMut(Loaded) -> Result<(), E>,
) -> Result<(), E> {
    let read = |reason: String| FileError::Read { path: path.to_path_buf(), reason };
    let kind = FileKind::of(path).ok_or_else(|| FileError::Ending { path: path.to_path_buf() })?;
    let file = File::open(path).map_err(|error| read(error.to_string()))?;
    let mut hand = |decoded: Result<Decoded, DecodeError>, before: usize| -> Result<usize, E> {
        let decoded = decoded.map_err(|error| read(error.to_string()))?;
        let rows = decoded.kept.len() + decoded.bad.len();
        each(loaded(kind, decoded, before))?;
        Ok(rows)
    };
    match kind {
        FileKind::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file);
            let builder = builder.map_err(|error| read(error.to_string()))?;
            let batches = builder.with_batch_size(BATCH_ROWS).build();
            let mut before = 0;
            for batch in batches.map_err(|error| read(error.to_string()))? {
                let batch = batch.map_err(|error| read(error.to_string()))?;
                before += hand(decoder.arrow(&batch), before)?;
            }
        }
        FileKind::Csv => {
            let batches = decoder.csv_reader(file).map_err(|error| read(error.to_string()))?;
            batches.into_iter().try_for_each(|decoded| hand(decoded, 0).map(drop))?;
        }
        FileKind::JsonLines => {
            let batches = decoder.json_reader(file).map_err(|error| read(error.to_string()))?;
            batches.into_iter().try_for_each(|decoded| hand(decoded, 0).map(drop))?;
        }
    }
    Ok(())
}

fn loaded(kind: FileKind, decoded: Decoded, before: usize) -> Loaded {
    let row = |row: usize| {
        let mut bytes = Vec::with_capacity(160);
        json::object(&mut bytes, &decoded.batch, row);
        bytes
    };
    let rows = (0..decoded.batch.num_rows()).map(row).collect();
    let Decoded { mut kept, mut bad, .. } = decoded;
    kept.iter_mut().for_each(|number| *number += before);
    bad.iter_mut().for_each(|bad| bad.index += before);
    Loaded { kind, rows, kept, bad }
}
