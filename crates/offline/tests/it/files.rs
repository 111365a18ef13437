//! Histories and request rows from files; training sets to files.

use crate::support::*;
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use trueup_offline::{
    Format, History, Options, Phase, Progress, RequestRows, UNWATCHED, train, write,
};
use trueup_sql::decode::Decoder;

const JSON: &str = r#"{"id":1,"at":"2026-03-02T10:00:00Z","card":1,"amount":"1.50"}

{"id":2,"at":"2026-03-02T10:01:00Z","card":1,"amount":"nothing"}
{"id":3,"at":"2026-03-02T10:02:00Z","card":1,"amount":2.25,"more":true}
not json
"#;
const CSV: &str = "more,amount,card,at,id
x,1.50,1,2026-03-02T10:00:00Z,1
x,nothing,1,2026-03-02T10:01:00Z,2
x,2.25,1,2026-03-02T10:02:00Z,3
";
const ROWS: [&str; 2] = ["1 1 1.50", "3 2 3.75"];

fn parquet_of(batch: &RecordBatch, path: &Path) {
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn read_parquet(path: &Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn one_history_reads_alike_from_json_lines_csv_and_parquet() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("h.jsonl"), JSON).unwrap();
    fs::write(path("h.csv"), CSV).unwrap();
    let good = Decoder::new(stream.clone()).json_lines(JSON.as_bytes()).unwrap();
    parquet_of(&good.batch, &path("h.parquet"));
    for (name, dead) in [("h.jsonl", 2), ("h.csv", 1), ("h.parquet", 0)] {
        let history = History::read(&stream, &path(name), UNWATCHED).unwrap();
        assert_eq!(history.dead_letters().total(), dead, "{name}");
        assert_eq!(rows(&definitions, "hour", &[history]), ROWS, "{name}");
    }
}

#[test]
fn bad_events_do_not_stop_a_history_and_are_told_with_file_line_and_reason() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.jsonl");
    fs::write(&path, JSON).unwrap();
    let history = History::read(&stream(&definitions, "payments"), &path, UNWATCHED).unwrap();
    let dead = history.dead_letters();
    let counts: Vec<_> = dead.counts().iter().map(|(fault, count)| (*fault, *count)).collect();
    assert_eq!(counts, [("bad_syntax", 1), ("bad_type", 1)]);
    let told: Vec<String> = dead.first().iter().map(ToString::to_string).collect();
    let file = path.display();
    assert!(told[0].starts_with(&format!("{file}, line 3, column amount: ")), "{told:?}");
    assert!(told[1].starts_with(&format!("{file}, line 5: not one JSON object")), "{told:?}");
}

#[test]
fn a_folder_is_one_history_in_the_order_of_names_whatever_the_formats() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("b.csv"), "id,at,card,amount\n2,2026-03-02T10:01:00Z,1,2\n").unwrap();
    fs::write(path("a.json"), r#"{"id":5,"at":"2026-03-02T10:09:00Z","card":1,"amount":1}"#)
        .unwrap();
    fs::write(path(".hidden"), "x").unwrap();
    fs::write(path("_SUCCESS"), "").unwrap();
    fs::write(path("old.parquet.manifest.json"), "{}").unwrap();
    let history = History::read(&stream, folder.path(), UNWATCHED).unwrap();
    let names: Vec<_> = history.sources().iter().map(|s| (s.name.to_string(), s.events)).collect();
    let name = |name: &str| path(name).display().to_string();
    assert_eq!(names, [(name("a.json"), 1), (name("b.csv"), 1)]);
    assert_eq!(rows(&definitions, "hour", &[history]), ["5 2 3.00", "2 1 2.00"]);
    fs::write(path("notes.txt"), "x").unwrap();
    let refused = History::read(&stream, folder.path(), UNWATCHED).unwrap_err().to_string();
    assert!(refused.contains("notes.txt") && refused.contains("or move it away"), "{refused}");
    let nothing = History::read(&stream, &path("none.csv"), UNWATCHED).unwrap_err().to_string();
    assert!(nothing.contains("none.csv"), "{nothing}");
}

#[test]
fn a_bad_request_row_is_an_error_with_its_place_and_not_a_missing_row() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    fs::write(&path, CSV).unwrap();
    let refused = RequestRows::read(&stream(&definitions, "payments"), &path, UNWATCHED);
    let said = refused.unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}, line 3: column amount: ", path.display())), "{said}");
}

#[test]
fn request_rows_of_a_file_know_what_their_as_of_says_else_their_known_at_else_everything() {
    let definitions = definitions(&[KNOWN, HOUR]);
    let stream = stream(&definitions, "payments");
    let stored = payment(1, "00:00", "10:00", "1", "1.00");
    let history = history(&stream, &[&stored], None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    let text = "id,at,card,amount,known,as_of
10,2026-03-02T10:20:00Z,1,1,2026-03-02T10:20:00Z,2026-03-02T10:09:59.999999Z
11,2026-03-02T10:20:00Z,1,1,2026-03-02T10:09:00Z,2026-03-02T10:10:00Z
12,2026-03-02T10:20:00Z,1,1,2026-03-02T10:09:00Z,
13,2026-03-02T10:20:00Z,1,1,,
";
    fs::write(&path, text).unwrap();
    let rows = RequestRows::read(&stream, &path, UNWATCHED).unwrap();
    let found = asked(&definitions, "hour", &[history], &rows);
    assert_eq!(found, ["10 1 1.00", "11 2 2.00", "12 1 1.00", "13 2 2.00"]);
}

/// A training set of a few thousand payments on a few cards.
fn written(folder: &Path, name: &str, threads: usize) -> (Vec<u8>, serde_json::Value) {
    let definitions = definitions(&[KNOWN, HOUR]);
    let rows: Vec<String> = (0..20_000)
        .map(|i: i64| {
            let known = format!("{:02}:{:02}", (i / 400 + i * 7919 % 5).min(59), i % 60);
            payment(
                i,
                &format!("{:02}:{:02}", i / 400, i % 60),
                &known,
                &(i % 17).to_string(),
                "1.25",
            )
        })
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let history = history(&stream(&definitions, "payments"), &rows, None);
    let threads = NonZeroUsize::new(threads).unwrap();
    let options = Options { threads, ..Options::default() };
    let set = train(&definitions, "hour", &[history], &options).unwrap();
    let path = folder.join(name);
    let written = write(&path, Format::of(&path).unwrap(), &set).unwrap();
    let manifest = fs::read_to_string(&written.manifest_path).unwrap();
    (fs::read(&path).unwrap(), serde_json::from_str(&manifest).unwrap())
}

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["parquet", "arrow", "csv"] {
        let one = written(folder.path(), &format!("one.{ending}"), 1);
        let three = written(folder.path(), &format!("three.{ending}"), 3);
        assert_eq!(one, three, "{ending}");
    }
}

#[test]
fn parquet_arrow_and_csv_hold_the_same_rows_and_nothing_else_is_left_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["t.parquet", "t.arrow", "t.csv"] {
        written(folder.path(), name, 2);
    }
    let parquet: Vec<String> = read_parquet(&path("t.parquet")).iter().flat_map(text).collect();
    let arrow = fs::File::open(path("t.arrow")).unwrap();
    let arrow = arrow::ipc::reader::FileReader::try_new(arrow, None).unwrap();
    let arrow: Vec<String> = arrow.flat_map(|batch| text(&batch.unwrap())).collect();
    let csv = fs::read_to_string(path("t.csv")).unwrap();
    let csv: Vec<String> = csv.lines().skip(1).map(|line| line.replace(',', " ")).collect();
    assert_eq!(parquet.len(), 20_000);
    assert_eq!(parquet, arrow);
    assert_eq!(parquet, csv);
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected = vec![];
    for name in ["t.arrow", "t.csv", "t.parquet"] {
        expected.extend([name.to_string(), format!("{name}.manifest.json")]);
    }
    assert_eq!(names, expected);
}

#[test]
fn csv_reads_back_through_the_decoding_table_to_the_same_values() {
    let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x DOUBLE, s VARCHAR,
        d DECIMAL(10,3), b BOOLEAN, day DATE) WITH (event_time = 'at');
      CREATE VIEW v AS SELECT * FROM t;";
    let definitions = definitions(&[table]);
    let stream = stream(&definitions, "t");
    let rows = [
        r#"{"id":1,"at":"2026-03-02T10:00:00.000001Z","x":0.1,"s":"a,\"b\"\nc","d":"1.5",
            "b":true,"day":"2026-03-02"}"#,
        r#"{"id":2,"at":"2026-03-02T10:00:00Z","x":5e-324,"s":""}"#,
        r#"{"id":3,"at":"2026-03-02T10:00:00Z","x":1e300,"s":"null"}"#,
    ];
    let before = Decoder::new(stream.clone()).json_rows(&rows).unwrap().batch;
    let history = history(&stream, &rows, None);
    let set = train(&definitions, "v", &[history], &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.csv");
    write(&path, Format::Csv, &set).unwrap();
    let after = Decoder::new(stream).csv(&fs::read(&path).unwrap()).unwrap();
    assert!(after.bad.is_empty(), "{:?}", after.bad);
    assert_eq!(after.batch, before);
}

#[test]
fn a_list_cannot_be_written_as_csv_and_what_stood_there_stays() {
    let view = "CREATE VIEW v AS SELECT id, array_agg(amount) OVER w AS last FROM payments
        WINDOW w AS (PARTITION BY card ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, view]);
    let all = [payment(1, "00:00", "00:00", "1", "1"), payment(2, "01:00", "00:00", "1", "2")];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let history = history(&stream(&definitions, "payments"), &all, None);
    let set = train(&definitions, "v", &[history], &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.csv");
    fs::write(&path, "before").unwrap();
    let said = write(&path, Format::Csv, &set).unwrap_err().to_string();
    assert!(said.contains("column last is a list"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let path = folder.path().join("v.parquet");
    write(&path, Format::Parquet, &set).unwrap();
    let rows: Vec<String> = read_parquet(&path).iter().flat_map(text).collect();
    assert_eq!(rows, ["1 [1.00]", "2 [1.00, 2.00]"]);
}

#[test]
fn the_manifest_says_what_the_set_was_made_of_and_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let definitions = definitions(&[PLAIN, HOUR]);
    let path = folder.path().join("h.jsonl");
    fs::write(&path, JSON).unwrap();
    let history = History::read(&stream(&definitions, "payments"), &path, UNWATCHED).unwrap();
    let set = train(&definitions, "hour", &[history], &Options::default()).unwrap();
    let written = write(&folder.path().join("t.parquet"), Format::Parquet, &set).unwrap();
    let json = written.manifest.json();
    let view = definitions.view("hour").unwrap();
    assert_eq!(json["digest"], view.digest.to_string());
    assert_eq!(json["sql"], view.sql);
    assert_eq!(json["rows"], 2);
    let source = serde_json::json!([{"stream": "payments", "source": path.display().to_string()}]);
    assert_eq!(json["sources"], source);
    assert_eq!(json["dead_letters"]["total"], 2);
    assert_eq!(json["dead_letters"]["first"][0]["line"], 3);
    assert_eq!(json["dead_letters"]["first"][0]["column"], "amount");
    assert_eq!(json["unknown_cells"]["total"], 0);
    let sum = serde_json::json!({
        "name": "s", "type": "Decimal128(38, 2)", "nulls": 0, "distinct": 2,
        "min": "1.50", "max": "3.75", "mean": 2.625});
    assert_eq!(json["columns"][2], sum);
}

#[test]
fn progress_reaches_its_total_in_every_phase() {
    let seen: Mutex<Vec<Progress>> = Mutex::new(Vec::new());
    let watch = |progress: Progress| seen.lock().unwrap().push(progress);
    let folder = tempfile::tempdir().unwrap();
    let definitions = definitions(&[PLAIN, HOUR]);
    let path = folder.path().join("h.csv");
    fs::write(&path, CSV).unwrap();
    let history = History::read(&stream(&definitions, "payments"), &path, &watch).unwrap();
    let options = Options { watch: &watch, ..Options::default() };
    let set = train(&definitions, "hour", &[history], &options).unwrap();
    write(&folder.path().join("t.arrow"), Format::Arrow, &set).unwrap();
    let seen = seen.into_inner().unwrap();
    for (phase, total) in [(Phase::Read, CSV.len() as u64), (Phase::Answer, 2), (Phase::Write, 2)] {
        let of: Vec<&Progress> = seen.iter().filter(|p| p.phase == phase).collect();
        assert_eq!((of[0].done, of[0].total), (0, total), "{phase:?}");
        assert_eq!(of.last().unwrap().done, total, "{phase:?}");
    }
}

#[test]
fn reading_parquet_reaches_the_bytes_of_all_files() {
    let definitions = definitions(&[PLAIN, HOUR]);
    let stream = stream(&definitions, "payments");
    let folder = tempfile::tempdir().unwrap();
    let good = Decoder::new(stream.clone()).json_lines(JSON.as_bytes()).unwrap().batch;
    for (name, rows) in [("a.parquet", 2), ("b.parquet", 1), ("c.parquet", 0)] {
        parquet_of(&good.slice(0, rows), &folder.path().join(name));
    }
    let seen: Mutex<Vec<Progress>> = Mutex::new(Vec::new());
    let watch = |progress: Progress| seen.lock().unwrap().push(progress);
    assert_eq!(History::read(&stream, folder.path(), &watch).unwrap().events(), 3);
    let last = *seen.lock().unwrap().last().unwrap();
    assert!(last.total > 0);
    assert_eq!(last.done, last.total);
}

/// A row that is served as UNKNOWN and missing in training teaches the model that it cannot be.
#[test]
fn a_row_that_where_has_no_value_for_is_a_row_of_unknown_cells() {
    let view = "CREATE VIEW v AS SELECT id, count(*) OVER w AS n FROM payments
        WHERE 10 / card > 1 WINDOW w AS (PARTITION BY card ORDER BY at
        RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";
    let definitions = definitions(&[PLAIN, view]);
    let all = [
        payment(1, "00:00", "00:00", "1", "1"),
        payment(2, "00:10", "00:00", "0", "1"),
        payment(3, "00:20", "00:00", "50", "1"),
        payment(4, "00:30", "00:00", "1", "1"),
    ];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let stream = stream(&definitions, "payments");
    let history = history(&stream, &all, None);
    let mut rows = RequestRows::new();
    let batch = Decoder::new(stream).json_lines(all.join("\n").as_bytes()).unwrap().batch;
    rows.push(&definitions.streams[0], batch, None).unwrap();
    for rows in [None, Some(&rows)] {
        let options = Options { rows, ..Options::default() };
        let set = train(&definitions, "v", std::slice::from_ref(&history), &options).unwrap();
        assert_eq!((set.counts().rows, set.counts().not_in_view), (3, 1));
        let table = set.table().unwrap();
        assert_eq!(text(&table.columns), ["1 1", "- -", "4 2"]);
        let unknown: Vec<_> = table.unknown.iter().map(|c| (c.row, c.column)).collect();
        assert_eq!(unknown, [(1, 0), (1, 1)]);
        let reason = table.unknown[0].reason.to_string();
        assert!(reason.contains("cannot evaluate 10 / card > 1"), "{reason}");
    }
}

#[test]
fn rows_that_the_view_leaves_out_are_counted() {
    let view = "CREATE VIEW v AS SELECT id FROM payments WHERE amount > 2;";
    let definitions = definitions(&[PLAIN, view]);
    let all = [payment(1, "00:00", "00:00", "1", "1"), payment(2, "01:00", "00:00", "1", "3")];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let history = history(&stream(&definitions, "payments"), &all, None);
    let set = train(&definitions, "v", &[history], &Options::default()).unwrap();
    assert_eq!((set.counts().rows, set.counts().not_in_view), (1, 1));
    assert_eq!(text(&set.table().unwrap().columns), ["2"]);
}
