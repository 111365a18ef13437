//! Files of rows: one, or a folder of them in the order of their names; decoded by the one table.

use crate::dead::Place;
use crate::error::OfflineError;
use crate::progress::{Meter, Phase, Watch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trueup_sql::decode::{DecodeError, Decoded, Decoder};

/// Rows of a Parquet file read at a time: large enough for columns to pay, a few megabytes.
const BATCH_ROWS: usize = 65_536;

/// The same for those who want them in pieces: some hundred kilobytes.
const PIECE_ROWS: usize = 8_192;

/// What is read, by the ending of the name.
pub const ENDINGS: &str = ".parquet, .csv, .json, .jsonl or .ndjson";

/// Behind the name of a training set, the name of its manifest.
pub const MANIFEST_ENDING: &str = ".manifest.json";

#[derive(Clone, Copy, Debug)]
enum Format {
    Parquet,
    Csv,
    JsonLines,
}

/// Rows of a file, decoded.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The file's name.
    pub source: Arc<str>,
    /// The rows, good and bad.
    pub decoded: Decoded,
    /// Numbers of rows are those of lines.
    pub(crate) lines: bool,
    /// To add to the numbers of rows.
    pub(crate) before: u64,
}

impl Rows {
    /// Where the row stands that the decoder calls number `index`.
    pub fn place(&self, index: usize) -> Place {
        place(self.lines, self.before, index)
    }

    /// The number in its file of the row that the decoder calls number `index`: from 0, ascending;
    /// in a text file that of its line, so not every number is one of a row.
    pub fn number(&self, index: usize) -> u64 {
        self.before + index as u64
    }
}

/// A file of events, for those who read a history a piece at a time and may have to go on from the
/// middle of it.
#[derive(Clone, Debug)]
pub struct EventFile {
    path: PathBuf,
    /// What its rows say that they come from.
    name: Arc<str>,
    format: Format,
    bytes: u64,
}

impl EventFile {
    /// The file at `path`, or those of the folder there in the order of their names, as
    /// [`History::read`](crate::History::read) takes them.
    ///
    /// # Errors
    /// [`OfflineError::File`] if one cannot be looked at, or its ending does not say what it is.
    pub fn all(path: &Path) -> Result<Vec<EventFile>, OfflineError> {
        let file = |(path, format): (PathBuf, Format)| {
            let about = std::fs::metadata(&path).map_err(|e| OfflineError::file(&path, e))?;
            let name = path.display().to_string().into();
            Ok(EventFile { path, name, format, bytes: about.len() })
        };
        files_of(path)?.into_iter().map(file).collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, whose rows say that they come from something else: that of which it is a copy.
    #[must_use]
    pub fn called(self, name: &str) -> EventFile {
        EventFile { name: name.into(), ..self }
    }

    /// What its rows say that they come from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the rows whose [`Rows::number`] is `from` or above, and hands them on some thousands
    /// at a time; rows before may be among the first that come. `watch` is told how many bytes of
    /// the file were read.
    ///
    /// # Errors
    /// [`OfflineError::File`], or what `each` said.
    pub fn read<E: From<OfflineError>>(
        &self,
        decoder: &Decoder,
        from: u64,
        watch: Watch<'_>,
        each: &mut dyn FnMut(Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        let meter = Meter::new(watch, Phase::Read, self.bytes);
        let part = Part { from, batch_rows: PIECE_ROWS };
        let file = File::open(&self.path).map_err(|e| OfflineError::file(&self.path, e))?;
        let (path, name) = (&*self.path, Arc::clone(&self.name));
        read_file((path, name, self.format, file, self.bytes), decoder, &meter, part, each)
    }
}

/// Which rows of a file to read, and how many at a time where the format leaves that open.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    batch_rows: usize,
}

/// Where the row stands that a decoder calls number `index`.
pub(crate) fn place(lines: bool, before: u64, index: usize) -> Place {
    match lines {
        true => Place::Line(before + index as u64 + 1),
        false => Place::Row(before + index as u64),
    }
}

/// Reads a file, or those of a folder, handing on a few megabytes of rows at a time.
pub(crate) fn read(
    path: &Path,
    decoder: &Decoder,
    watch: Watch<'_>,
    mut each: impl FnMut(Rows) -> Result<(), OfflineError>,
) -> Result<(), OfflineError> {
    let mut files = Vec::new();
    for (path, format) in files_of(path)? {
        let file = File::open(&path).map_err(|e| OfflineError::file(&path, e))?;
        let bytes = file.metadata().map_err(|e| OfflineError::file(&path, e))?.len();
        files.push((path, format, file, bytes));
    }
    let meter = Meter::new(watch, Phase::Read, files.iter().map(|(.., bytes)| bytes).sum());
    let part = Part { from: 0, batch_rows: BATCH_ROWS };
    for (path, format, file, bytes) in files {
        let name = path.display().to_string().into();
        read_file((&path, name, format, file, bytes), decoder, &meter, part, &mut each)?;
    }
    Ok(())
}

fn read_file<E: From<OfflineError>>(
    (path, source, format, file, bytes): (&Path, Arc<str>, Format, File, u64),
    decoder: &Decoder,
    meter: &Meter<'_>,
    part: Part,
    each: &mut dyn FnMut(Rows) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |e: DecodeError| OfflineError::file(path, e);
    let text = Counted { file: &file, meter };
    let mut lines = |decoded: Result<Decoded, DecodeError>| {
        let (decoded, source) = (decoded.map_err(failed)?, source.clone());
        each(Rows { source, decoded, lines: true, before: 0 })
    };
    match format {
        Format::Csv => decoder.csv_reader(text).map_err(failed)?.try_for_each(&mut lines),
        Format::JsonLines => decoder.json_reader(text).map_err(failed)?.try_for_each(&mut lines),
        Format::Parquet => parquet((path, source, file, bytes), decoder, meter, part, each),
    }
}

fn parquet<E: From<OfflineError>>(
    (path, source, file, bytes): (&Path, Arc<str>, File, u64),
    decoder: &Decoder,
    meter: &Meter<'_>,
    part: Part,
    each: &mut dyn FnMut(Rows) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |e: parquet::errors::ParquetError| OfflineError::file(path, e);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let stream = decoder.stream();
    let fields = builder.schema().fields().iter().enumerate();
    let declared = fields.filter(|(_, field)| stream.column(field.name()).is_some());
    let declared: Vec<usize> = declared.map(|(root, _)| root).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), declared);
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mut before = part.from.min(rows);
    let builder = builder.with_projection(mask).with_batch_size(part.batch_rows);
    let builder = builder.with_offset(usize::try_from(before).unwrap_or(usize::MAX));
    // Of the file's bytes the part that its rows are of all.
    let share = |n: u64| (u128::from(bytes) * u128::from(n) / u128::from(rows.max(1))) as u64;
    let mut told = share(before);
    meter.add(told);
    for batch in builder.build().map_err(failed)? {
        let batch = batch.map_err(|e| OfflineError::file(path, e))?;
        let decoded = decoder.arrow(&batch).map_err(|e| OfflineError::file(path, e))?;
        each(Rows { source: source.clone(), decoded, lines: false, before })?;
        before += batch.num_rows() as u64;
        let now = share(before.min(rows));
        meter.add(now - told);
        told = now;
    }
    meter.add(bytes - told);
    Ok(())
}

/// The files at `path` with their formats, in the order of their names.
fn files_of(path: &Path) -> Result<Vec<(PathBuf, Format)>, OfflineError> {
    let failed = |e: std::io::Error| OfflineError::file(path, e);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![(path.to_path_buf(), format_of(path)?)]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What begins so is a tool's own: markers, checksums, files that are still being written.
        let hidden = name.starts_with(['.', '_']);
        if !hidden && !name.ends_with(MANIFEST_ENDING) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    if paths.is_empty() {
        let reason = format!("the folder is empty; put files that end in {ENDINGS} there");
        return Err(OfflineError::file(path, reason));
    }
    paths.into_iter().map(|path| format_of(&path).map(|format| (path, format))).collect()
}

fn format_of(path: &Path) -> Result<Format, OfflineError> {
    if path.is_dir() {
        return Err(OfflineError::file(path, "is a folder in a folder; name it by itself"));
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => Ok(Format::Parquet),
        Some("csv") => Ok(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => Ok(Format::JsonLines),
        _ => {
            let reason = format!(
                "its ending does not say what it is; rename it to end in {ENDINGS}, or move it away"
            );
            Err(OfflineError::file(path, reason))
        }
    }
}

/// A file that tells how much of it has been read.
struct Counted<'a> {
    file: &'a File,
    meter: &'a Meter<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.meter.add(n as u64);
        Ok(n)
    }
}
