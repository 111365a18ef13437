//! Any bytes as rows of JSON, CSV or Avro: every row is kept or bad, and none is lost.
//!
//! The first byte chooses the way in and what bare numbers in times mean; the rest are the rows.
//! From 128 on they are an Avro schema, a byte that no text has, and a record in each framing;
//! where nothing stands before that byte, the schema is one with a field of every type.
use std::sync::{Arc, LazyLock};
use trueup_sql::decode::{AvroSchema, AvroSchemas, Decoded, Decoder};
use trueup_sql::{EpochUnit, SourceFile, Stream, compile};

/// A stream with a column of every type.
const DEFINITION: &str = "
    CREATE TABLE t (
        id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, s SMALLINT, i INTEGER, d DECIMAL(12,2),
        wide DECIMAL(38,10), x DOUBLE, v VARCHAR, b BOOLEAN, day DATE, n VARCHAR NOT NULL
    ) WITH (event_time = 'at');
    CREATE VIEW w AS SELECT id FROM t";

/// A schema with a field of every Avro type, some of them for columns, and one that holds itself.
const AVRO: &str = r#"{"type": "record", "name": "t", "fields": [
    {"name": "id", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "s", "type": ["null", "int"]},
    {"name": "d", "type": ["null", {"type": "bytes", "logicalType": "decimal",
                                    "precision": 12, "scale": 2}]},
    {"name": "wide", "type": {"type": "fixed", "name": "f", "size": 20, "logicalType": "decimal",
                              "precision": 40, "scale": 3}},
    {"name": "x", "type": ["float", "double", "string"]},
    {"name": "v", "type": ["null", {"type": "fixed", "name": "u", "size": 16,
                                    "logicalType": "uuid"}, {"type": "map", "values": "t"}]},
    {"name": "b", "type": "boolean"},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "n", "type": {"type": "enum", "name": "e", "symbols": ["one", "two"]}},
    {"name": "more", "type": {"type": "array", "items": ["null", "t", "bytes"]}},
    {"name": "none", "type": {"type": "array", "items": "null"}}]}"#;

/// The byte between a schema and a record: no text holds it.
const BETWEEN: u8 = 0xFF;

/// The id of the schema in Confluent's framing.
const ID: u32 = 7;

/// Bytes that a reader gets at a time.
const PIECE: usize = 7;

static STREAM: LazyLock<Stream> = LazyLock::new(|| {
    let file = SourceFile { name: "t.sql".into(), text: DEFINITION.into() };
    Stream::clone(&compile(&[file]).expect("the definition compiles").streams[0])
});

/// Bytes in small pieces, as a slow connection brings them.
struct Slow<'a>(&'a [u8]);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = buffer.len().min(self.0.len()).min(PIECE);
        let (now, later) = self.0.split_at(n);
        buffer[..n].copy_from_slice(now);
        self.0 = later;
        Ok(n)
    }
}

/// One input.
pub(super) fn run(bytes: &[u8]) {
    let Some((&mode, rows)) = bytes.split_first() else { return };
    let units = [None, Some(EpochUnit::Seconds), Some(EpochUnit::Millis), Some(EpochUnit::Micros)];
    let stream = Stream { epoch_unit: units[usize::from(mode >> 2) % 4], ..STREAM.clone() };
    let decoder = Decoder::new(Arc::new(stream));
    if mode >= 128 {
        return avro(&decoder, rows);
    }
    match mode % 4 {
        0 => {
            let all = decoder.json_lines(rows).expect("no input makes this fail");
            check(&all);
            let parts = decoder.json_reader(Slow(rows)).expect("memory can be read");
            same(&all, parts.map(|part| part.expect("memory can be read")));
        }
        1 => {
            let Ok(all) = decoder.csv(rows) else { return };
            check(&all);
            let parts = decoder.csv_reader(Slow(rows)).expect("the header was fine before");
            same(&all, parts.map(|part| part.expect("the rows were fine before")));
        }
        2 => {
            let rows: Vec<&[u8]> = rows.split(|&byte| byte == 0).collect();
            let all = decoder.json_rows(&rows).expect("no input makes this fail");
            check(&all);
            assert_eq!(all.kept.len() + all.bad.len(), rows.len(), "each row is kept or bad");
        }
        _ => {
            let decoder = decoder.allow_null([0, 1]);
            check(&decoder.json_rows(&[rows]).expect("no input makes this fail"));
        }
    }
}

/// A schema, and a record of it.
fn avro(decoder: &Decoder, bytes: &[u8]) {
    let middle = bytes.iter().position(|&byte| byte == BETWEEN);
    let (text, record) = bytes.split_at(middle.unwrap_or(bytes.len()));
    let record = record.get(1..).unwrap_or_default();
    let text = if text.is_empty() { AVRO } else { std::str::from_utf8(text).unwrap_or_default() };
    let Ok(named) = AvroSchema::parse("t.avsc", text) else { return };
    let again = AvroSchema::parse("t.avsc", text).expect("it was one before");
    let bare = AvroSchemas::new("avro.t", vec![named], Vec::new());
    let framed = AvroSchemas::new("avro.t", Vec::new(), vec![(ID, again)]);
    // The answer is the schema's alone; only that there is one matters here.
    drop(bare.fit(decoder));
    let by_id = [&[0], &ID.to_be_bytes()[..], record].concat();
    let bare = decoder.avro_rows(&bare, &[record, record]).expect("no input makes this fail");
    let framed = decoder.avro_rows(&framed, &[&by_id[..], record]).expect("nor does this");
    for decoded in [&bare, &framed] {
        check(decoded);
        assert_eq!(decoded.kept.len() + decoded.bad.len(), 2, "each record is kept or bad");
    }
    assert!(bare.kept.is_empty() || bare.kept == [0, 1], "one record has two meanings");
    let single_object = record.starts_with(&[0xC3, 0x01]);
    let framed = framed.kept.contains(&0);
    assert!(single_object || bare.kept.is_empty() != framed, "a frame changes the meaning");
}

fn check(decoded: &Decoded) {
    assert_eq!(decoded.batch.num_rows(), decoded.kept.len());
    let mut places: Vec<usize> = decoded.kept.clone();
    places.extend(decoded.bad.iter().map(|bad| bad.index));
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "a row is both kept and bad");
}

fn same(all: &Decoded, parts: impl Iterator<Item = Decoded>) {
    let (mut kept, mut bad) = (Vec::new(), Vec::new());
    for part in parts {
        kept.extend(part.kept);
        bad.extend(part.bad.into_iter().map(|bad| bad.index));
    }
    let all_bad: Vec<usize> = all.bad.iter().map(|bad| bad.index).collect();
    assert_eq!((&kept, &bad), (&all.kept, &all_bad), "read in pieces it decodes otherwise");
}
