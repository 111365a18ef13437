//! The settings of streams whose logs hold Avro: their schemas, out of local files.

use super::raw::{Origin, Raw};
use super::{SettingsError, value};
use crate::place::AvroStreams;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use trueup_sql::decode::{AvroSchema, AvroSchemas};

/// Bytes of the longest schema: wide events with documentation take a hundredth of it.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// A stream's schemas as they are written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvroSaid {
    /// A file with the schema of bare records, or a list of files: the first is that of bare
    /// records, all are known by their fingerprints.
    pub schema: Option<FilesSaid>,
    /// Files by the ids of Confluent's wire format, as `{ "7" = "old.avsc" }`.
    #[serde(default)]
    pub ids: BTreeMap<String, String>,
}

/// One file or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum FilesSaid {
    /// Its path.
    One(String),
    /// Their paths.
    Many(Vec<String>),
}

pub(super) fn avro(raw: &Raw) -> Result<AvroStreams, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.avro.as_ref()) else {
        return Ok(AvroStreams::new());
    };
    let base = raw.base(&origin);
    said.iter().map(|(stream, said)| one(stream, said, base, &origin)).collect()
}

fn one(
    stream: &str,
    said: &AvroSaid,
    base: &Path,
    origin: &Origin,
) -> Result<(String, Arc<AvroSchemas>), SettingsError> {
    let wrong = |reason: String| value("avro", format!("{origin}, [avro.{stream}]"), reason);
    let schema = |file: &String| {
        let text = read(&base.join(file)).map_err(|why| wrong(format!("schema {file}: {why}")))?;
        AvroSchema::parse(file, &text).map_err(|error| wrong(error.to_string()))
    };
    let files = match &said.schema {
        None => &[],
        Some(FilesSaid::One(file)) => std::slice::from_ref(file),
        Some(FilesSaid::Many(files)) => files.as_slice(),
    };
    let named = files.iter().map(schema).collect::<Result<Vec<_>, _>>()?;
    let by_id = |(id, file): (&String, &String)| {
        let number = id.parse().map_err(|_| {
            wrong(format!("ids: {id:?} is no id of a schema; write a number, as \"7\" = \"FILE\""))
        })?;
        Ok((number, schema(file)?))
    };
    let ids = said.ids.iter().map(by_id).collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() && ids.is_empty() {
        let reason = "it names no schema; write schema = \"FILE.avsc\", or, for Confluent's wire \
                      format, ids = { \"7\" = \"FILE.avsc\" }";
        return Err(wrong(reason.into()));
    }
    Ok((stream.to_owned(), Arc::new(AvroSchemas::new(format!("avro.{stream}"), named, ids))))
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MAX_SCHEMA_BYTES + 1).read_to_string(&mut text);
    match read.map_err(|error| error.to_string())? as u64 {
        0..=MAX_SCHEMA_BYTES => Ok(text),
        _ => Err(format!("it has more than {MAX_SCHEMA_BYTES} bytes, the most of a schema")),
    }
}
