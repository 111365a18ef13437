//! Training sets as files, each with a manifest that says what it was made of.

use crate::error::OfflineError;
use crate::train::Trained;
use arrow::array::{Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::{Path, PathBuf};
use trueup_sql::View;

/// The file formats of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet, zstd.
    Parquet,
    /// The Arrow IPC file format.
    Arrow,
    /// CSV with a header row; NULL is an empty field.
    Csv,
}

impl Format {
    /// The format that a path's ending names.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Format::Parquet),
            "arrow" | "feather" => Some(Format::Arrow),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// What a training set was made of.
#[derive(Clone, Debug)]
pub struct Manifest(serde_json::Value);

impl Manifest {
    /// The manifest of a training set over the histories named by `sources`.
    pub fn new(view: &View, trained: &Trained, sources: &[String]) -> Manifest {
        let rows: usize = trained.batches.iter().map(RecordBatch::num_rows).sum();
        let nulls = |column: usize| -> usize {
            trained.batches.iter().map(|batch| batch.column(column).null_count()).sum()
        };
        let columns = trained.schema.fields().iter().enumerate().map(|(at, field)| {
            serde_json::json!({
                "name": field.name(), "type": field.data_type().to_string(), "nulls": nulls(at),
            })
        });
        Manifest(serde_json::json!({
            "view": view.name,
            "digest": view.digest.to_string(),
            "sql": view.sql,
            "sources": sources,
            "rows": rows,
            "repeated_ids": trained.repeats,
            "dead_letters": trained.dead_letters,
            "unknown_cells": trained.unknown,
            "columns": columns.collect::<Vec<_>>(),
        }))
    }

    /// The manifest as a JSON object.
    pub fn json(&self) -> &serde_json::Value {
        &self.0
    }
}

/// Writes a training set to `path`, and its manifest beside it with `.manifest.json` behind the name, which is returned.
///
/// # Errors
/// [`OfflineError::File`] if either cannot be written.
pub fn write(
    path: &Path,
    format: Format,
    trained: &Trained,
    manifest: &Manifest,
) -> Result<PathBuf, OfflineError> {
    let failed = |path: &Path, reason: String| OfflineError::File {
        path: path.display().to_string(),
        reason,
    };
    let file = File::create(path).map_err(|e| failed(path, e.to_string()))?;
    let written = match format {
        Format::Parquet => parquet(file, trained),
        Format::Arrow => arrow(file, trained),
        Format::Csv => csv(file, trained),
    };
    written.map_err(|reason| failed(path, reason))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".manifest.json");
    let beside = PathBuf::from(beside);
    let text = format!("{:#}\n", manifest.json());
    std::fs::write(&beside, text).map_err(|e| failed(&beside, e.to_string()))?;
    Ok(beside)
}

fn parquet(file: File, trained: &Trained) -> Result<(), String> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(file, trained.schema.clone(), Some(properties))
        .map_err(|e| e.to_string())?;
    for batch in &trained.batches {
        writer.write(batch).map_err(|e| e.to_string())?;
    }
    writer.close().map(|_| ()).map_err(|e| e.to_string())
}

fn arrow(file: File, trained: &Trained) -> Result<(), String> {
    let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &trained.schema)
        .map_err(|e| e.to_string())?;
    for batch in &trained.batches {
        writer.write(batch).map_err(|e| e.to_string())?;
    }
    writer.finish().map_err(|e| e.to_string())
}

fn csv(file: File, trained: &Trained) -> Result<(), String> {
    let mut writer = arrow::csv::Writer::new(file);
    for batch in &trained.batches {
        writer.write(batch).map_err(|e| e.to_string())?;
    }
    Ok(())
}
