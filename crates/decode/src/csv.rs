//! CSV as RFC 4180 has it: a header that names the columns, commas, quotes doubled inside quotes.
//!
//! The cutter is our own because NULL hangs on a thing that common readers do not tell: an empty
//! field without quotes is NULL, one in quotes is empty text. It is strict: a quote inside a bare
//! field, text behind a closing quote or a wrong number of fields make a bad row, and a quote that
//! never closes ends the input, since no row behind it can be trusted.

use super::cell::Cell;
use super::fault::{BadValue, DecodeError, Fault};
use super::input::{Input, without_mark};
use super::rows::Sink;
use super::{Decoded, Decoder, MAX_ROW_BYTES};
use std::borrow::Cow;
use std::fmt;
use std::io::Read;

/// Bytes of a typical row, to size the columns before the rows are read.
const GUESSED_ROW_BYTES: usize = 80;

const OPEN_QUOTE: &str = "a quoted field does not end; close its quote, or double the quotes \
                          inside it";
const LONG_ROW: &str = "the row is longer than 1 MiB; check where its line ends";

impl Decoder {
    /// Decodes CSV whose first line names the columns. Blank lines are skipped; [`Decoded::kept`]
    /// and [`BadEvent::index`](super::BadEvent::index) are the line on which a row starts, counted
    /// from 0 with the header.
    ///
    /// # Errors
    /// There is no header, it lacks a NOT NULL column or names one twice, or a quote stays open.
    pub fn csv(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let bytes = without_mark(bytes);
        let mut table = Table::default();
        let mut sink = Sink::new(self, bytes.len() / GUESSED_ROW_BYTES);
        let end = table.open(self, bytes, true)?;
        let rows = table.rows(self, &mut sink, &bytes[end..], true);
        rows.stuck.map_or_else(|| sink.finish(), Err)
    }

    /// Decodes CSV as it is read, in batches of a few megabytes.
    ///
    /// # Errors
    /// The input cannot be read, or its header is one that [`Decoder::csv`] refuses.
    pub fn csv_reader<R: Read>(&self, reader: R) -> Result<CsvReader<R>, DecodeError> {
        let mut input = Input::open(reader)?;
        let mut table = Table::default();
        let end = table.open(self, input.bytes(), input.ended())?;
        input.consume(end);
        Ok(CsvReader { decoder: self.clone(), input, table, stuck: None })
    }
}

/// The names in the header of CSV, which `bytes` begin with; `None` if there is none, or one
/// that is not text.
pub fn csv_names(bytes: &[u8]) -> Option<Vec<String>> {
    let bytes = without_mark(bytes);
    let mut fields = Vec::new();
    let end = cut(bytes, true, &mut fields).filter(|cut| !cut.open && cut.broken.is_none())?.end;
    let header = std::str::from_utf8(&bytes[..end]).ok()?;
    Some(fields.iter().map(|field| field.text(header).into_owned()).collect())
}

/// Batches of CSV rows; made by [`Decoder::csv_reader`]. After an error it ends.
pub struct CsvReader<R> {
    decoder: Decoder,
    input: Input<R>,
    table: Table,
    stuck: Option<DecodeError>,
}

impl<R: Read> CsvReader<R> {
    fn batch(&mut self) -> Result<Option<Decoded>, DecodeError> {
        if let Some(error) = self.stuck.take() {
            self.input.consume(usize::MAX);
            return Err(error);
        }
        self.input.fill()?;
        let bytes = self.input.bytes();
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut sink = Sink::new(&self.decoder, bytes.len() / GUESSED_ROW_BYTES);
        let rows = self.table.rows(&self.decoder, &mut sink, bytes, self.input.ended());
        self.stuck = rows.stuck;
        self.input.consume(rows.end);
        sink.finish().map(Some)
    }
}

impl<R: Read> Iterator for CsvReader<R> {
    type Item = Result<Decoded, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

impl<R> fmt::Debug for CsvReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvReader").field("line", &self.table.line).finish_non_exhaustive()
    }
}

/// What the header said, and how far the rows were read.
#[derive(Default)]
struct Table {
    /// For each field of a row, the column that takes it.
    takers: Vec<Option<usize>>,
    /// Lines passed.
    line: usize,
    fields: Vec<Span>,
}

/// How far [`Table::rows`] came.
struct Passed {
    /// Bytes that were cut into rows.
    end: usize,
    /// Why the rest cannot be.
    stuck: Option<DecodeError>,
}

impl Table {
    /// Reads the header; returns where the rows start.
    fn open(&mut self, decoder: &Decoder, bytes: &[u8], ended: bool) -> Result<usize, DecodeError> {
        let framing = |reason| DecodeError::Framing { line: 1, reason };
        let cut = if bytes.is_empty() { None } else { cut(bytes, ended, &mut self.fields) };
        let cut = cut.ok_or(framing("the first line must name the columns"))?;
        if let Some(reason) = if cut.open { Some(OPEN_QUOTE) } else { cut.broken } {
            return Err(framing(reason));
        }
        let header = std::str::from_utf8(&bytes[..cut.end])
            .map_err(|_| framing("the header is not UTF-8; save the file as UTF-8"))?;
        for span in &self.fields {
            let name = span.text(header);
            let taker = decoder.names.get(name.as_ref()).copied();
            if taker.is_some() && self.takers.contains(&taker) {
                return Err(DecodeError::RepeatedColumn { column: name.into_owned() });
            }
            self.takers.push(taker);
        }
        let columns = decoder.stream.columns.iter().enumerate();
        for (index, column) in columns {
            if decoder.required[index] && !self.takers.contains(&Some(index)) {
                return Err(DecodeError::MissingColumn { column: column.name.clone() });
            }
        }
        self.line = cut.lines;
        Ok(cut.end)
    }

    /// Decodes the whole rows at the front of `bytes`.
    fn rows(
        &mut self,
        decoder: &Decoder,
        sink: &mut Sink<'_>,
        bytes: &[u8],
        ended: bool,
    ) -> Passed {
        let mut end = 0;
        while end < bytes.len() {
            let rest = &bytes[end..];
            let stuck = match cut(rest, ended, &mut self.fields) {
                Some(cut) if cut.open => Some(OPEN_QUOTE),
                Some(cut) => {
                    let row = &rest[..cut.end];
                    self.row(decoder, sink, row, cut.broken);
                    self.line += cut.lines;
                    end += cut.end;
                    continue;
                }
                None if rest.len() > MAX_ROW_BYTES => Some(LONG_ROW),
                None => None,
            };
            let line = self.line + 1;
            return Passed {
                end,
                stuck: stuck.map(|reason| DecodeError::Framing { line, reason }),
            };
        }
        Passed { end, stuck: None }
    }

    fn row(
        &self,
        decoder: &Decoder,
        sink: &mut Sink<'_>,
        row: &[u8],
        broken: Option<&'static str>,
    ) {
        if let [only] = &self.fields[..]
            && only.start == only.end
            && !only.quoted
        {
            return;
        }
        let reject = |sink: &mut Sink<'_>, fault, reason: String| {
            sink.reject(self.line, None, BadValue::new(fault, reason), row.trim_ascii_end());
        };
        if row.len() > MAX_ROW_BYTES {
            return reject(sink, Fault::Size, LONG_ROW.to_owned());
        }
        if let Some(reason) = broken {
            return reject(sink, Fault::Syntax, reason.to_owned());
        }
        let (found, wanted) = (self.fields.len(), self.takers.len());
        if found != wanted {
            let reason = format!("{found} fields, and the header names {wanted}; quote commas");
            return reject(sink, Fault::Syntax, reason);
        }
        let Ok(text) = std::str::from_utf8(row) else {
            return reject(sink, Fault::Text, "not UTF-8; save the file as UTF-8".to_owned());
        };
        let mut texts = vec![None; decoder.stream.columns.len()];
        for (span, taker) in self.fields.iter().zip(&self.takers) {
            match taker {
                Some(column) if span.quoted || span.start < span.end => {
                    texts[*column] = Some(span.text(text));
                }
                Some(_) => {}
                None => sink.unknown_fields += 1,
            }
        }
        let cells: Vec<Cell<'_>> =
            texts.iter().map(|text| text.as_deref().map_or(Cell::Null, Cell::Text)).collect();
        sink.row(self.line, &cells, row.trim_ascii_end());
    }
}

/// Where a field stands in its row, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
    /// Holds doubled quotes.
    doubled: bool,
}

impl Span {
    fn text<'a>(&self, row: &'a str) -> Cow<'a, str> {
        let text = &row[self.start..self.end];
        if self.doubled { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) }
    }
}

/// A row at the front of some bytes.
struct Cut {
    /// Bytes that it takes, with its line end.
    end: usize,
    /// Line ends that it holds, its own included.
    lines: usize,
    /// What is wrong with its quotes.
    broken: Option<&'static str>,
    /// Its last quote never closes.
    open: bool,
}

/// Cuts the first row off `bytes` into `fields`; `None` if it does not end here and more may come.
fn cut(bytes: &[u8], ended: bool, fields: &mut Vec<Span>) -> Option<Cut> {
    fields.clear();
    let mut row = Cut { end: 0, lines: 0, broken: None, open: false };
    let mut at = 0;
    loop {
        let start = at;
        let (mut quoted, mut doubled, mut inner) = (false, false, 0);
        if bytes.get(at) == Some(&b'"') {
            quoted = true;
            (inner, doubled) = match closing(bytes, at + 1) {
                Some(found) => found,
                None if !ended => return None,
                None => return Some(Cut { end: bytes.len(), open: true, ..row }),
            };
            row.lines += count_lines(&bytes[start..inner]);
            at = inner + 1;
        }
        let after = at;
        while at < bytes.len() && !matches!(bytes[at], b',' | b'\n') {
            if bytes[at] == b'"' && !quoted {
                row.broken = Some("a quote inside a bare field; quote the field and double it");
            }
            at += 1;
        }
        if at == bytes.len() && !ended {
            return None;
        }
        let comma = bytes.get(at) == Some(&b',');
        // The end of a line may be CR LF; a CR anywhere else is text.
        let cr = !comma && at > after && bytes[at - 1] == b'\r';
        let stop = at - usize::from(cr);
        if quoted && stop > after {
            row.broken = Some("text behind a closing quote; double the quotes inside the field");
        }
        fields.push(if quoted {
            Span { start: start + 1, end: inner, quoted, doubled }
        } else {
            Span { start, end: stop, quoted, doubled }
        });
        at += 1;
        if !comma {
            row.lines += 1;
            row.end = at.min(bytes.len());
            return Some(row);
        }
    }
}

/// The quote that closes a field whose text starts at `at`, and whether doubled ones precede it.
fn closing(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'"')?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some((at, doubled));
        }
        doubled = true;
        at += 2;
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}
