//! Avro records: one datum an event, by the schema that its writer had, its fields matched to
//! columns by exact name.
//!
//! ```text
//! record ─▶ 00 id:4 datum          Confluent's wire format, where settings name ids
//!        ─▶ C3 01 fingerprint:8 datum           single-object encoding
//!        ─▶ datum                               bare: by the first schema named, without ids
//!             └─▶ fields, in the schema's order ─▶ Cell ─▶ rule of the column's type
//! ```
//!
//! No reader's schema is resolved against the writer's: a field without a column is passed over, a
//! column without a field is NULL, and aliases and defaults are not looked at. A record that is
//! not, to its last byte, one datum of its schema is bad. Container files are not read here.

mod canonical;
mod datum;
mod schema;

use self::datum::{Datum, Found};
use self::schema::{Member, Node};
use super::cell::Cell;
use super::fault::{BadValue, DecodeError, Fault};
use super::rows::Sink;
use super::{Decoded, Decoder, MAX_ROW_BYTES, MAX_UNKNOWN_NAME_BYTES, MAX_UNKNOWN_NAMES};
use std::collections::BTreeMap;
use std::fmt;

/// The first bytes of a record in single-object encoding.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];

/// The first byte of a record in Confluent's wire format; the schema's id follows, big-endian.
const CONFLUENT: u8 = 0;

/// A schema that cannot be used: its file, and what is wrong, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSchema {
    /// The file's name.
    pub file: String,
    /// The sentence.
    pub reason: String,
}

impl fmt::Display for BadSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {}: {}", self.file, self.reason)
    }
}

impl std::error::Error for BadSchema {}

/// A writer's schema: a record's fields, in the order in which they are written.
#[derive(Debug)]
pub struct AvroSchema {
    file: String,
    nodes: Vec<Node>,
    fields: Vec<Member>,
    fingerprint: u64,
}

impl AvroSchema {
    /// Reads a schema, as an `.avsc` file holds it; `file` is for messages.
    ///
    /// # Errors
    /// It is no schema of a record.
    pub fn parse(file: &str, text: &str) -> Result<AvroSchema, BadSchema> {
        let bad = |reason: String| BadSchema { file: file.to_owned(), reason };
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| bad(format!("it is not JSON: {error}")))?;
        let (nodes, fields) = schema::parse(&json).map_err(bad)?;
        let fingerprint = canonical::fingerprint(&json);
        Ok(AvroSchema { file: file.to_owned(), nodes, fields, fingerprint })
    }
}

/// The schemas of a stream's records, and how a record says which one it has.
#[derive(Debug)]
pub struct AvroSchemas {
    /// The setting that names them, for messages.
    setting: String,
    schemas: Vec<AvroSchema>,
    /// By Confluent's ids, the place in `schemas`. Where there are any, no record is bare.
    ids: BTreeMap<u32, usize>,
    /// By fingerprint; none where two schemas have it and differ, in what it leaves out.
    fingerprints: BTreeMap<u64, Option<usize>>,
}

impl AvroSchemas {
    /// `named` are known by their fingerprints, and the first of them is that of bare records;
    /// those of `ids` are known by both. One of the two must hold something, else every record is
    /// bad.
    pub fn new(
        setting: impl Into<String>,
        named: Vec<AvroSchema>,
        ids: Vec<(u32, AvroSchema)>,
    ) -> AvroSchemas {
        let first = named.len();
        let places = ids.iter().enumerate().map(|(nth, (id, _))| (*id, first + nth)).collect();
        let mut schemas = named;
        schemas.extend(ids.into_iter().map(|(_, schema)| schema));
        let mut fingerprints: BTreeMap<u64, Option<usize>> = BTreeMap::new();
        for (place, schema) in schemas.iter().enumerate() {
            let known = fingerprints.entry(schema.fingerprint).or_insert(Some(place));
            let is_same = |other: usize| {
                (&schemas[other].nodes, &schemas[other].fields) == (&schema.nodes, &schema.fields)
            };
            *known = known.filter(|&other| is_same(other));
        }
        AvroSchemas { setting: setting.into(), schemas, ids: places, fingerprints }
    }

    /// Looks whether records of every schema can be events of this decoder's stream.
    ///
    /// # Errors
    /// A schema lacks a column that is NOT NULL, or has for a column what no column takes.
    pub fn fit(&self, decoder: &Decoder) -> Result<(), BadSchema> {
        let stream = &decoder.stream.name;
        for AvroSchema { file, nodes, fields, .. } in &self.schemas {
            let bad = |reason: String| BadSchema { file: file.clone(), reason };
            for (column, required) in decoder.stream.columns.iter().zip(&decoder.required) {
                let field = fields.iter().find(|field| field.name == column.name);
                let (name, ty) = (&column.name, column.ty);
                if field.is_none() && *required {
                    return Err(bad(format!(
                        "it has no field {name}, which stream {stream} declares NOT NULL; check \
                         the letter case of its name, or take the file out of [{}]",
                        self.setting
                    )));
                }
                if let Some(what) = field.and_then(|field| schema::refused(nodes, field.node)) {
                    return Err(bad(format!(
                        "field {name} is {what}, which column {name} {ty} of stream {stream} does \
                         not take; take the column out of the declaration, or change the schema"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Which schema a record has, and its datum.
    fn frame<'a>(&self, record: &'a [u8]) -> Result<(usize, &'a [u8]), BadValue> {
        let setting = &self.setting;
        let bad = |reason: String| Err(BadValue::new(Fault::Syntax, reason));
        match record {
            [one, two, rest @ ..] if [*one, *two] == SINGLE_OBJECT => {
                let Some((mark, datum)) = rest.split_first_chunk() else {
                    return bad("the record ends inside the fingerprint of its schema".into());
                };
                let mark = u64::from_le_bytes(*mark);
                match self.fingerprints.get(&mark) {
                    Some(Some(place)) => Ok((*place, datum)),
                    Some(None) => bad(format!(
                        "two schemas of [{setting}] have its fingerprint {mark:016x} and differ \
                         in their logical types; keep one of them there"
                    )),
                    None => bad(format!(
                        "its schema has the fingerprint {mark:016x}, which none of [{setting}] \
                         has; add that schema's file to `schema`"
                    )),
                }
            }
            _ if self.ids.is_empty() && !self.schemas.is_empty() => Ok((0, record)),
            [CONFLUENT, rest @ ..] => {
                let Some((id, datum)) = rest.split_first_chunk() else {
                    return bad("the record ends inside the id of its schema".into());
                };
                let id = u32::from_be_bytes(*id);
                match self.ids.get(&id) {
                    Some(place) => Ok((*place, datum)),
                    None => bad(format!(
                        "its schema has the id {id}, which [{setting}] does not name; save that \
                         schema in a file and add it to `ids`, as \"{id}\" = \"FILE\""
                    )),
                }
            }
            _ => bad(format!(
                "it begins neither as Confluent's wire format, with a byte 0 and the id of its \
                 schema, nor as single-object encoding; leave `ids` out of [{setting}] if records \
                 are bare"
            )),
        }
    }

    /// What else a record may be that does not decode as a bare one.
    fn hint(&self, record: &[u8]) -> String {
        match record {
            [CONFLUENT, rest @ ..] if self.ids.is_empty() => match rest.first_chunk() {
                Some(id) => format!(
                    "; if that is Confluent's wire format, its schema has the id {}: name it in \
                     `ids` of [{}]",
                    u32::from_be_bytes(*id),
                    self.setting
                ),
                None => String::new(),
            },
            _ => String::new(),
        }
    }
}

/// What a schema's fields are to a decoder.
struct Bound {
    /// For each field, its column.
    columns: Vec<Option<usize>>,
    /// How many have none.
    unknown: u64,
}

impl Decoder {
    /// Decodes rows, each of them one Avro record.
    ///
    /// # Errors
    /// None that an input causes; see [`DecodeError::Batch`].
    pub fn avro_rows<R: AsRef<[u8]>>(
        &self,
        avro: &AvroSchemas,
        rows: &[R],
    ) -> Result<Decoded, DecodeError> {
        let mut sink = Sink::new(self, rows.len());
        let mut bound: Vec<Option<Bound>> = avro.schemas.iter().map(|_| None).collect();
        for (index, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            let framed = within(row).and_then(|()| avro.frame(row));
            let (place, datum) = match framed {
                Ok(framed) => framed,
                Err(why) => {
                    sink.reject(index, None, why, row);
                    continue;
                }
            };
            let schema = &avro.schemas[place];
            let bound = bound[place].get_or_insert_with(|| self.bind(schema, &mut sink));
            sink.unknown_fields += bound.unknown;
            match self.datum(schema, bound, datum) {
                Ok(found) => self.take(&mut sink, index, &found, row),
                Err(why) => {
                    let reason =
                        format!("not one Avro datum of {}: {why}{}", schema.file, avro.hint(row));
                    sink.reject(index, None, BadValue::new(Fault::Syntax, reason), row);
                }
            }
        }
        sink.finish()
    }

    fn bind(&self, schema: &AvroSchema, sink: &mut Sink<'_>) -> Bound {
        let names = schema.fields.iter().map(|field| field.name.as_str());
        let columns: Vec<Option<usize>> =
            names.clone().map(|name| self.names.get(name).copied()).collect();
        let mut unknown = 0;
        for (name, _) in names.zip(&columns).filter(|(_, column)| column.is_none()) {
            unknown += 1;
            if name.len() <= MAX_UNKNOWN_NAME_BYTES && sink.unknown_names.len() < MAX_UNKNOWN_NAMES
            {
                sink.unknown_names.insert(name.to_owned());
            }
        }
        Bound { columns, unknown }
    }

    /// What stands in a datum for each column.
    fn datum<'a>(
        &self,
        schema: &'a AvroSchema,
        bound: &Bound,
        bytes: &'a [u8],
    ) -> Result<Vec<Found<'a>>, String> {
        let mut found = vec![Found::Cell(Cell::Null); self.stream.columns.len()];
        let mut datum = Datum::new(&schema.nodes, bytes);
        for (field, column) in schema.fields.iter().zip(&bound.columns) {
            let value = datum.value(field.node);
            let value = value.map_err(|why| format!("field {}: {why}", field.name))?;
            if let Some(column) = column {
                found[*column] = value;
            }
        }
        match datum.rest() {
            0 => Ok(found),
            rest => Err(format!("{rest} bytes follow its last field")),
        }
    }

    fn take(&self, sink: &mut Sink<'_>, index: usize, found: &[Found<'_>], row: &[u8]) {
        let mut cells = Vec::with_capacity(found.len());
        for (found, column) in found.iter().zip(&self.stream.columns) {
            match found {
                Found::Cell(cell) => cells.push(*cell),
                Found::Text(text) => cells.push(Cell::Text(text)),
                Found::Refused(fault, what) => {
                    let remedy = match fault {
                        Fault::Text => "write UTF-8",
                        Fault::Range => "write one of 1 to 38 digits",
                        _ => "write one value, or declare no such column",
                    };
                    let reason = format!("{} does not take {what}; {remedy}", column.ty);
                    let why = BadValue::new(*fault, reason);
                    return sink.reject(index, Some(&column.name), why, row);
                }
            }
        }
        sink.row(index, &cells, row);
    }
}

fn within(row: &[u8]) -> Result<(), BadValue> {
    if row.len() <= MAX_ROW_BYTES {
        return Ok(());
    }
    let reason = format!("the record has over {MAX_ROW_BYTES} bytes, the most that are taken");
    Err(BadValue::new(Fault::Size, reason))
}
