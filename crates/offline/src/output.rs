//! Training sets as files. A file appears under its name whole or not at all: it is written beside
//! it and renamed, so that a run that is killed leaves no half.

use crate::csv::CsvWriter;
use crate::error::OfflineError;
use crate::manifest::{Manifest, UnknownCells};
use crate::parallel;
use crate::progress::{Meter, Phase};
use crate::set::{Batch, TrainingSet};
use crate::source::MANIFEST_ENDING;
use crate::stats::Stats;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Rows of a Parquet row group: as many as its own tools take, for columns of some megabytes.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Bytes of a column's dictionary in Parquet: enough for categories and small counts; columns with
/// more values are written plain, and what telling them apart would cost is saved.
const DICTIONARY_BYTES: usize = 64 << 10;

/// The file formats of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet, zstd.
    Parquet,
    /// The Arrow IPC file format.
    Arrow,
    /// CSV with a header row, which the decoding table reads back.
    Csv,
}

impl Format {
    /// The format that a path's ending names: .parquet, .arrow, .feather or .csv.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Format::Parquet),
            "arrow" | "feather" => Some(Format::Arrow),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the training set was made of.
    pub manifest: Manifest,
    /// The manifest's file: the path with `.manifest.json` behind it.
    pub manifest_path: PathBuf,
}

/// Writes a training set to `path`, and its manifest beside it.
///
/// # Errors
/// [`OfflineError::File`] if either cannot be written, [`OfflineError::Expression`] if the select
/// list cannot be evaluated. What stood under the names before stays then.
pub fn write(path: &Path, format: Format, set: &TrainingSet<'_>) -> Result<Written, OfflineError> {
    let manifest_path = with_ending(path, MANIFEST_ENDING);
    let (data, text) = (Draft::of(path), Draft::of(&manifest_path));
    let manifest = rows(&data.draft, format, set).map_err(|error| data.named(error))?;
    let json = format!("{:#}\n", manifest.json());
    let failed = |e| OfflineError::file(&manifest_path, e);
    let mut file = File::create(&text.draft).map_err(failed)?;
    file.write_all(json.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    // A manifest never stands beside rows that it does not speak of.
    match std::fs::remove_file(&manifest_path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(OfflineError::file(&manifest_path, e));
        }
        _ => {}
    }
    data.publish()?;
    text.publish()?;
    Ok(Written { manifest, manifest_path })
}

/// A file that is being written beside the name that it is for; what is not published goes.
struct Draft {
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    fn of(path: &Path) -> Draft {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A folder of histories leaves names that begin with a point alone; the number keeps two
        // runs apart.
        let draft = path.with_file_name(format!(".{name}.{}.draft", std::process::id()));
        Draft { draft, path: path.to_path_buf() }
    }

    /// The error as one of the file that is wanted, not of the draft.
    fn named(&self, error: OfflineError) -> OfflineError {
        match error {
            OfflineError::File { path, reason } if Path::new(&path) == self.draft => {
                OfflineError::file(&self.path, reason)
            }
            other => other,
        }
    }

    fn publish(self) -> Result<(), OfflineError> {
        std::fs::rename(&self.draft, &self.path).map_err(|e| OfflineError::file(&self.path, e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Published or never made: then there is nothing to remove, and nobody to tell.
        let _ = std::fs::remove_file(&self.draft);
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    PathBuf::from(beside)
}

/// Writes all rows to a new file, and says what they are.
fn rows(path: &Path, format: Format, set: &TrainingSet<'_>) -> Result<Manifest, OfflineError> {
    let failed = |reason: String| OfflineError::file(path, reason);
    let file = File::create(path).map_err(|e| failed(e.to_string()))?;
    let schema = set.schema();
    let stats = schema.fields().iter().map(|field| Mutex::new(Stats::new(field.data_type())));
    let stats: Vec<Mutex<Stats>> = stats.collect();
    let mut unknown = UnknownCells::default();
    let mut sink = Sink::open(format, file, schema).map_err(failed)?;
    let meter = Meter::new(set.watch, Phase::Write, set.counts().rows);
    for batch in set.batches() {
        let Batch { columns, unknown: cells } = batch?;
        sink.write(&columns, &stats, set.threads).map_err(failed)?;
        meter.add(columns.num_rows() as u64);
        unknown.add(&Batch { columns, unknown: cells });
    }
    sink.finish().and_then(|file| file.sync_all().map_err(|e| e.to_string())).map_err(failed)?;
    let stats: Vec<Stats> =
        stats.into_iter().map(|s| s.into_inner().unwrap_or_else(|e| e.into_inner())).collect();
    Ok(Manifest::of(set, &stats, &unknown))
}

/// A file of some format under way.
enum Sink {
    Parquet(Box<ParquetSink>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Csv(CsvWriter<BufWriter<File>>),
}

impl Sink {
    fn open(format: Format, file: File, schema: &SchemaRef) -> Result<Sink, String> {
        match format {
            Format::Parquet => {
                let sink = ParquetSink::open(file, schema).map_err(|e| e.to_string())?;
                Ok(Sink::Parquet(Box::new(sink)))
            }
            Format::Arrow => {
                let writer = FileWriter::try_new(BufWriter::new(file), schema);
                writer.map(|writer| Sink::Arrow(Box::new(writer))).map_err(|e| e.to_string())
            }
            Format::Csv => {
                let writer = CsvWriter::new(BufWriter::new(file), schema);
                writer.map(Sink::Csv).map_err(|e| e.to_string())
            }
        }
    }

    fn write(
        &mut self,
        batch: &RecordBatch,
        stats: &[Mutex<Stats>],
        threads: NonZeroUsize,
    ) -> Result<(), String> {
        match self {
            Sink::Parquet(sink) => {
                return sink.write(batch, stats, threads).map_err(|e| e.to_string());
            }
            Sink::Arrow(writer) => writer.write(batch).map_err(|e| e.to_string())?,
            Sink::Csv(writer) => writer.write(batch).map_err(|e| e.to_string())?,
        }
        for (column, stats) in batch.columns().iter().zip(stats) {
            stats.lock().unwrap_or_else(|e| e.into_inner()).add(column);
        }
        Ok(())
    }

    fn finish(self) -> Result<File, String> {
        match self {
            Sink::Parquet(sink) => sink.finish().map_err(|e| e.to_string()),
            Sink::Arrow(mut writer) => {
                writer.finish().map_err(|e| e.to_string())?;
                let buffer = writer.into_inner().map_err(|e| e.to_string())?;
                buffer.into_inner().map_err(|e| e.to_string())
            }
            Sink::Csv(writer) => writer.finish().into_inner().map_err(|e| e.to_string()),
        }
    }
}

/// Parquet, columns encoded by several threads; the bytes do not depend on how many.
struct ParquetSink {
    file: SerializedFileWriter<File>,
    groups: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// The writers of the row group under way, one a column: no output has more than one leaf.
    columns: Vec<Mutex<ArrowColumnWriter>>,
    rows: usize,
    flushed: usize,
}

impl ParquetSink {
    fn open(file: File, schema: &SchemaRef) -> Result<ParquetSink, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_created_by(concat!("trueup ", env!("CARGO_PKG_VERSION")).to_string())
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
        let (file, groups) = writer.into_serialized_writer()?;
        let (schema, columns) = (schema.clone(), Vec::new());
        Ok(ParquetSink { file, groups, schema, columns, rows: 0, flushed: 0 })
    }

    fn write(
        &mut self,
        batch: &RecordBatch,
        stats: &[Mutex<Stats>],
        threads: NonZeroUsize,
    ) -> Result<(), ParquetError> {
        if self.rows + batch.num_rows() > ROW_GROUP_ROWS {
            self.flush()?;
        }
        if self.columns.is_empty() {
            let columns = self.groups.create_column_writers(self.flushed)?;
            self.columns = columns.into_iter().map(Mutex::new).collect();
        }
        self.rows += batch.num_rows();
        let numbers: Vec<usize> = (0..self.columns.len()).collect();
        let encoded = parallel::map(threads, &numbers, |&at| {
            let array = batch.column(at);
            stats[at].lock().unwrap_or_else(|e| e.into_inner()).add(array);
            let mut column = self.columns[at].lock().unwrap_or_else(|e| e.into_inner());
            let mut leaves = compute_leaves(self.schema.field(at), array)?.into_iter();
            leaves.try_for_each(|leaf| column.write(&leaf))
        });
        encoded.into_iter().collect()
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in std::mem::take(&mut self.columns) {
            let column = column.into_inner().unwrap_or_else(|e| e.into_inner());
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        (self.rows, self.flushed) = (0, self.flushed + 1);
        Ok(())
    }

    fn finish(mut self) -> Result<File, ParquetError> {
        self.flush()?;
        self.file.into_inner()
    }
}
