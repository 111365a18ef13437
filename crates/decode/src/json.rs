//! JSON rows: one object an event, its fields matched to columns by exact name.
//!
//! Values are taken as their text, so a number's digits reach the rules untouched, and what a
//! nested value holds is skipped without recursion.

use super::cell::Cell;
use super::fault::{BadValue, DecodeError, Fault};
use super::input::{CHUNK_BYTES, Input, without_mark};
use super::rows::Sink;
use super::{Decoded, Decoder, MAX_ROW_BYTES, MAX_UNKNOWN_NAME_BYTES, MAX_UNKNOWN_NAMES};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;

/// Bytes of a typical event, to size the columns before the rows are read.
const GUESSED_ROW_BYTES: usize = 128;

impl Decoder {
    /// Decodes rows, each of them one JSON object.
    ///
    /// # Errors
    /// None that an input causes; see [`DecodeError::Batch`].
    pub fn json_rows<R: AsRef<[u8]>>(&self, rows: &[R]) -> Result<Decoded, DecodeError> {
        let mut sink = Sink::new(self, rows.len());
        let mut fields = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            json_row(self, &mut sink, &mut fields, index, row.as_ref());
        }
        sink.finish()
    }

    /// Decodes JSON lines: one object a line, blank lines skipped. [`Decoded::kept`] and
    /// [`BadEvent::index`](super::BadEvent::index) count lines from 0, blank ones too.
    ///
    /// # Errors
    /// None that an input causes; see [`DecodeError::Batch`].
    pub fn json_lines(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let mut sink = Sink::new(self, bytes.len() / GUESSED_ROW_BYTES);
        json_lines(self, &mut sink, without_mark(bytes), 0);
        sink.finish()
    }

    /// Decodes JSON lines as they are read, in batches of a few megabytes.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn json_reader<R: Read>(&self, reader: R) -> Result<JsonReader<R>, DecodeError> {
        let input = Input::open(reader)?;
        Ok(JsonReader { decoder: self.clone(), input, line: 0, skipping: false })
    }
}

/// Batches of JSON lines; made by [`Decoder::json_reader`].
pub struct JsonReader<R> {
    decoder: Decoder,
    input: Input<R>,
    line: usize,
    /// Inside a line that was too long and is already counted as bad.
    skipping: bool,
}

impl<R: Read> JsonReader<R> {
    fn batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        self.input.fill()?;
        if self.input.bytes().is_empty() {
            return Ok(None);
        }
        let mut sink = Sink::new(&self.decoder, self.input.bytes().len() / GUESSED_ROW_BYTES);
        if self.skipping {
            let bytes = self.input.bytes();
            let rest = bytes.iter().position(|byte| *byte == b'\n');
            self.skipping = rest.is_none();
            self.line += usize::from(rest.is_some());
            let count = rest.map_or(bytes.len(), |end| end + 1);
            self.input.consume(count);
        } else {
            let bytes = self.input.bytes();
            let last = bytes.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
            let whole = if self.input.ended() { Some(bytes.len()) } else { last };
            let end = whole.unwrap_or(bytes.len());
            self.skipping = whole.is_none();
            let lines = json_lines(&self.decoder, &mut sink, &bytes[..end], self.line);
            self.line += if self.skipping { 0 } else { lines };
            self.input.consume(end);
        }
        sink.finish().map(Some)
    }
}

impl<R: Read> Iterator for JsonReader<R> {
    type Item = Result<Decoded, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

impl<R> fmt::Debug for JsonReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonReader").field("line", &self.line).finish_non_exhaustive()
    }
}

// A chunk without a line end is one line longer than the longest row.
const _: () = assert!(CHUNK_BYTES > MAX_ROW_BYTES);

/// Decodes the lines of `bytes`, the first of which is number `first`; says how many they are.
fn json_lines<'a>(decoder: &Decoder, sink: &mut Sink<'_>, bytes: &'a [u8], first: usize) -> usize {
    let mut fields: Vec<Field<'a>> = Vec::new();
    let mut lines = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            json_row(decoder, sink, &mut fields, first + lines, line.trim_ascii_end());
        }
        lines += 1;
    }
    lines
}

fn json_row<'a>(
    decoder: &Decoder,
    sink: &mut Sink<'_>,
    fields: &mut Vec<Field<'a>>,
    index: usize,
    row: &'a [u8],
) {
    if row.len() > MAX_ROW_BYTES {
        let reason = format!("the row has over {MAX_ROW_BYTES} bytes, the most that are taken");
        return sink.reject(index, None, BadValue::new(Fault::Size, reason), row);
    }
    fields.clear();
    fields.resize(decoder.stream.columns.len(), Field::Missing);
    let mut json = serde_json::Deserializer::from_slice(row);
    let (unknown, names) = (&mut sink.unknown_fields, &mut sink.unknown_names);
    let visit = Object { decoder, fields, unknown, names };
    if let Err(error) = visit.deserialize(&mut json).and_then(|()| json.end()) {
        return sink.reject(index, None, BadValue::new(Fault::Syntax, no_object(&error)), row);
    }
    let nested = fields.iter().position(|field| matches!(field, Field::Nested));
    if let Some(position) = nested {
        let column = &decoder.stream.columns[position];
        let reason = format!("{} does not take an object or an array; send one value", column.ty);
        let why = BadValue::new(Fault::Type, reason);
        return sink.reject(index, Some(&column.name), why, row);
    }
    let cells: Vec<Cell<'_>> = fields.iter().map(Field::cell).collect();
    sink.row(index, &cells, row);
}

/// What is wrong with a row that is no object. Where it stands in its input is the caller's to say,
/// so that a place within the row is told as one.
fn no_object(error: &serde_json::Error) -> String {
    let (line, byte) = (error.line(), error.column());
    let said = error.to_string();
    let what = said.strip_suffix(&format!(" at line {line} column {byte}"));
    let place = match (what, line) {
        (None, _) => String::new(),
        (Some(_), 1) => format!(" at byte {byte} of the row"),
        (Some(_), _) => format!(" at line {line}, byte {byte} of the row"),
    };
    let what = what.unwrap_or(&said);
    format!("not one JSON object: {what}{place}; send one object, with each column once")
}

/// A field of a row, for one column.
#[derive(Clone, Debug)]
enum Field<'a> {
    Missing,
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Nested,
}

impl<'a> Field<'a> {
    fn of(value: &'a RawValue) -> Result<Field<'a>, serde_json::Error> {
        let text = value.get();
        Ok(match text.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                Field::Text(Cow::Borrowed(&text[1..text.len() - 1]))
            }
            [b'"', ..] => Field::Text(Cow::Owned(serde_json::from_str(text)?)),
            [b'n', ..] => Field::Null,
            [b't', ..] => Field::Bool(true),
            [b'f', ..] => Field::Bool(false),
            [b'{' | b'[', ..] => Field::Nested,
            _ => Field::Number(text),
        })
    }

    fn cell(&self) -> Cell<'_> {
        match self {
            Field::Missing | Field::Null | Field::Nested => Cell::Null,
            Field::Bool(value) => Cell::Bool(*value),
            Field::Number(text) => Cell::Number(text),
            Field::Text(text) => Cell::Text(text),
        }
    }
}

/// Reads one object into `fields`.
struct Object<'r, 'a> {
    decoder: &'r Decoder,
    fields: &'r mut [Field<'a>],
    unknown: &'r mut u64,
    names: &'r mut BTreeSet<String>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of column names and values")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut guess = 0;
        let (decoder, names) = (self.decoder, self.names);
        while let Some(found) = map.next_key_seed(Name { decoder, guess, names: &mut *names })? {
            let value: &'a RawValue = map.next_value()?;
            let Some(position) = found else {
                *self.unknown += 1;
                continue;
            };
            let slot = &mut self.fields[position];
            if !matches!(slot, Field::Missing) {
                let name = &self.decoder.stream.columns[position].name;
                return Err(M::Error::custom(format_args!("field {name} is given twice")));
            }
            *slot = Field::of(value).map_err(M::Error::custom)?;
            guess = position + 1;
        }
        Ok(())
    }
}

/// Reads a field's name as the index of its column. Producers keep one order of fields, so the
/// column after the last one is tried first.
struct Name<'r> {
    decoder: &'r Decoder,
    guess: usize,
    /// Told the names that are no columns.
    names: &'r mut BTreeSet<String>,
}

impl<'a> DeserializeSeed<'a> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let guessed = self.decoder.stream.columns.get(self.guess);
        if guessed.is_some_and(|column| column.name == name) {
            return Ok(Some(self.guess));
        }
        let found = self.decoder.names.get(name).copied();
        if found.is_none()
            && name.len() <= MAX_UNKNOWN_NAME_BYTES
            && self.names.len() < MAX_UNKNOWN_NAMES
            && !self.names.contains(name)
        {
            self.names.insert(name.to_owned());
        }
        Ok(found)
    }
}
