//! Two databases that are not ours run the golden cases' SQL and must give the expected rows.
//!
//! The judges are Python programs beside this file (`docs/judges.md` says what they compare and
//! how). Here they are run and counted: a case whose header names a judge and that the judge did
//! not answer is a failure, as is a judge that cannot be run at all.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fewer cases than this a judge never had: a judge that is given less has been switched off.
const CASES_AT_LEAST: usize = 120;

#[test]
fn duckdb_gives_the_expected_rows_of_every_golden_case_that_names_it() {
    check("duckdb");
}

#[test]
fn postgresql_gives_the_expected_rows_of_every_golden_case_that_names_it() {
    check("postgres");
}

/// Runs a judge over all cases and holds its reports against the headers of the cases.
fn check(judge: &str) {
    let named = cases_that_name(judge);
    assert!(
        named.len() >= CASES_AT_LEAST,
        "only {} cases name {judge} as their judge, {CASES_AT_LEAST} did: look at their headers",
        named.len()
    );
    let reports = reports_of(judge);
    let answered: BTreeSet<String> = reports.iter().map(|r| text(r, "case")).collect();
    assert_eq!(answered, named, "{judge} has not answered just the cases that name it");
    let compared: u64 = reports.iter().map(|r| count(r, "compared")).sum();
    let unknown: u64 = reports.iter().map(|r| count(r, "unknown")).sum();
    println!(
        "{judge}: {} cases, {compared} values compared, {unknown} UNKNOWN not compared",
        named.len()
    );
    for report in &reports {
        assert!(count(report, "compared") > 0, "{judge} compared nothing: {report}");
        assert_eq!(report["failed"].as_array().map(Vec::len), Some(0), "{judge}: {report}");
    }
}

/// The names of the cases with this judge in their header, read apart from the judge.
fn cases_that_name(judge: &str) -> BTreeSet<String> {
    let folders = std::fs::read_dir(cases()).expect("the folder of cases can be read");
    let names = folders.filter_map(|folder| {
        let folder = folder.expect("the folder of cases can be read").path();
        let text = std::fs::read_to_string(folder.join("definition.sql")).ok()?;
        let header = text.lines().find_map(|line| line.strip_prefix("-- judges: "));
        let header = header.unwrap_or_else(|| panic!("no judges in {}", folder.display()));
        let judges = header.split('(').next().unwrap_or_default();
        let name = folder.file_name()?.to_str()?.to_owned();
        judges.split(',').any(|word| word.trim() == judge).then_some(name)
    });
    names.collect()
}

/// One JSON object per case that the judge answered.
fn reports_of(judge: &str) -> Vec<Value> {
    let program = here().join(format!("{judge}_judge.py"));
    let run = Command::new(python()).arg(program).arg(cases()).output();
    let run = run.unwrap_or_else(|e| panic!("{} cannot be run: {e}", python().display()));
    let said = String::from_utf8_lossy(&run.stderr);
    println!("{}", said.trim());
    let lines = String::from_utf8(run.stdout).expect("a judge prints UTF-8");
    let reports: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}")))
        .collect();
    let failed = reports.iter().filter(|r| r["failed"].as_array().is_none_or(|f| !f.is_empty()));
    let failed: Vec<String> = failed.map(Value::to_string).collect();
    assert!(run.status.success(), "{judge} ended with {}\n{said}\n{failed:#?}", run.status);
    reports
}

fn text(report: &Value, name: &str) -> String {
    report[name].as_str().unwrap_or_else(|| panic!("no {name} in {report}")).to_owned()
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges")
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

/// The Python that has the judges' packages: what `./test` exports, else what it has left in the
/// target folder.
fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("TRUEUP_TEST_PYTHON") {
        return given.into();
    }
    let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python/bin/python");
    assert!(
        left.exists(),
        "no Python with the judges' packages: run ./test once, or let TRUEUP_TEST_PYTHON name one \
         that has those of crates/trueup/tests/judges/requirements.txt"
    );
    left
}
