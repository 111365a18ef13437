//! The fuzzers' corpus and seeds, run once: the targets compile, and what was found stays found.

use std::path::Path;

#[path = "../../../../fuzz/targets/decode/work.rs"]
mod decode;
#[path = "../../../../fuzz/targets/sql/work.rs"]
mod sql;

/// Runs every file of a folder of the fuzzers through `work`; how many there were.
fn run_all(folder: &str, work: impl Fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| work(&std::fs::read(file.unwrap().path()).unwrap())).count()
}

#[test]
fn the_corpus_of_definitions_is_compiled_or_refused() {
    assert!(run_all("corpus/sql", sql::run) > 0);
}

#[test]
fn the_corpus_of_rows_is_decoded_row_by_row() {
    assert!(run_all("corpus/decode", decode::run) > 0);
}
