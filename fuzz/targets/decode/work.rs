//! Any bytes as rows of JSON or CSV: every row is kept or bad, and none is lost.
//!
//! The first byte chooses the way in and what bare numbers in times mean; the rest are the rows.
use std::sync::{Arc, LazyLock};
use trueup_sql::decode::{Decoded, Decoder};
use trueup_sql::{EpochUnit, SourceFile, Stream, compile};

/// A stream with a column of every type.
const DEFINITION: &str = "
    CREATE TABLE t (
        id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, s SMALLINT, i INTEGER, d DECIMAL(12,2),
        wide DECIMAL(38,10), x DOUBLE, v VARCHAR, b BOOLEAN, day DATE, n VARCHAR NOT NULL
    ) WITH (event_time = 'at');
    CREATE VIEW w AS SELECT id FROM t";

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
