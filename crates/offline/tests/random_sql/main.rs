//! Random definitions over random events: what `train` gives, DuckDB must give.
//!
//! A seed makes one definition (two streams and a view) and 200 transactions and 120 logins for it.
//! Our rows go to a folder, and `random_judge.py` runs the same SQL there with DuckDB and compares.
//! `TRUEUP_RANDOM_SQL` names other seeds than the usual ones: `17`, or `0..50000`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod events;
mod feature;
mod rows;
mod scalar;
mod text;
mod view;
mod window;

use rows::Files;
use serde_json::Value as Json;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

/// The definitions that every run judges.
const SEEDS: Range<u64> = 0..2_340;
/// Rows that must agree at least: 2,000 definitions of 200 rows. Some have a WHERE.
const MIN_ROWS: u64 = 2_000 * events::TRANSACTIONS as u64;
/// Names the seeds to judge instead.
const SEEDS_VARIABLE: &str = "TRUEUP_RANDOM_SQL";
/// Names the Python that has the package `duckdb`; `./test` sets it.
const PYTHON_VARIABLE: &str = "TRUEUP_TEST_PYTHON";

/// What the generator leaves out, because DuckDB cannot judge it.
const LEFT_OUT: [(&str, &str); 15] = [
    ("binned windows up to the row", "DuckDB sees the rest of the newest bin, the future"),
    ("sketches that estimate", "approx_distinct past 1,023 values; percentiles of partials"),
    ("percentiles of DECIMAL", "DuckDB rounds them to the decimal's scale"),
    ("ROWS, lag, array_agg ordered by time alone", "the order of ties is not in the SQL"),
    ("DECIMAL(38,0) with a fraction", "DuckDB rounds 16.01 to 16 to keep 38 digits"),
    ("/ of integers", "DuckDB divides to a DOUBLE, PostgreSQL and Trueup to an integer"),
    ("division by zero", "DuckDB gives infinity or an error, Trueup UNKNOWN"),
    ("sums beyond BIGINT", "DuckDB widens them, Trueup answers UNKNOWN"),
    ("arguments and windows that pass the end of BIGINT", "DuckDB ends the query; golden cases"),
    ("arithmetic on SMALLINT and INTEGER", "DuckDB stays in their width, Trueup has BIGINTs only"),
    ("extract(second FROM time)", "PostgreSQL gives the fraction too, DuckDB does not"),
    ("every", "DuckDB lacks the name; bool_and is the same"),
    ("lookups, statuses, known_at, duplicates, late events", "they come before SQL or after it"),
    ("comparisons with a DOUBLE that a database rounded", "the last bit would decide"),
    ("time zones, text functions beyond the everyday ones", "the expressions' own tests"),
];

#[test]
fn random_definitions_agree_with_duckdb() {
    let seeds = seeds();
    let folder = tempfile::tempdir().unwrap();
    let mut files = Files::create(folder.path());
    for seed in seeds.clone() {
        let tell = Tell(seed);
        files.add(seed);
        drop(tell);
    }
    files.finish();
    let summary = judged(folder.path());
    print_report(&summary);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("definitions"), seeds.end - seeds.start);
    assert_eq!(count("failed"), 0, "definitions that differ from DuckDB are printed above");
    if seeds == SEEDS {
        assert!(count("rows") >= MIN_ROWS, "WHERE leaves too few rows");
        assert!(count("values") * 2 > count("compared"), "most of what was compared is NULL");
    }
}

#[test]
fn a_seed_always_makes_the_same_definition() {
    let made = |seed| {
        let mut g = text::Gen::new(seed);
        let definition = view::definition(&mut g);
        (definition.sql, definition.judged)
    };
    assert_eq!(made(7), made(7));
    assert_ne!(made(7), made(8));
}

/// Says how to repeat a definition, should its making panic.
struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", repeat(self.0));
        }
    }
}

fn repeat(seed: u64) -> String {
    format!(
        "seed {seed}; to repeat it: {SEEDS_VARIABLE}={seed} cargo test --release \
         --workspace --all-features --test random_sql -- --nocapture"
    )
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(SEEDS_VARIABLE) else { return SEEDS };
    let number = |text: &str| -> u64 {
        text.parse().unwrap_or_else(|_| panic!("{SEEDS_VARIABLE} is a number, or two: 0..100"))
    };
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

/// Runs the judge over the folder; its last line is the summary, those before it are differences.
fn judged(folder: &Path) -> Json {
    let python = std::env::var(PYTHON_VARIABLE).unwrap_or_else(|_| "python3".into());
    let imported = Command::new(&python).args(["-c", "import duckdb"]).output();
    let can_import = imported.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        can_import,
        "{python} cannot import duckdb, which judges this test. Install it (python3 -m venv venv \
         && venv/bin/pip install duckdb) and set {PYTHON_VARIABLE}=venv/bin/python; ./test does."
    );
    let judge =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../trueup/tests/judges/random_judge.py");
    let output =
        Command::new(&python).args([&judge, folder]).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let summary = lines.pop().unwrap_or("the judge printed nothing");
    for line in lines {
        print_difference(&serde_json::from_str(line).unwrap());
    }
    assert!(output.status.success(), "the judge broke: {summary}");
    serde_json::from_str(summary).unwrap()
}

fn print_difference(difference: &Json) {
    let text = |name: &str| difference[name].as_str().unwrap_or_default();
    let seed = difference["definition"].as_u64().unwrap();
    println!("\n{}\n{}", repeat(seed), text("sql"));
    println!("DuckDB ran:\n{}\n{}", text("judged"), text("what"));
}

fn print_report(summary: &Json) {
    println!(
        "{} definitions, {} rows, {} values compared, of which {} are not NULL; {} definitions \
         differ",
        summary["definitions"],
        summary["rows"],
        summary["compared"],
        summary["values"],
        summary["failed"]
    );
    println!("compared, by what a column is made of (columns, values):");
    for (construct, counts) in summary["constructs"].as_object().unwrap() {
        println!("  {construct}: {}, {}", counts[0], counts[1]);
    }
    println!("left out:");
    for (construct, why) in LEFT_OUT {
        println!("  {construct}: {why}");
    }
}
