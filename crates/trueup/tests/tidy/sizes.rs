//! How long files and lines may be. Functions are counted by clippy: see the lints.

use crate::tree::{hold, sources};

/// Lines of a source file, at most: what a reader can hold in mind.
const FILE_LINES: usize = 700;
/// Lines of the median Rust file, at most. We aim at 150.
const MEDIAN_LINES: usize = 200;
/// Characters of a line, at most: two files fit side by side on a screen.
const LINE_CHARS: usize = 100;
/// What is written by hand and read as a program.
const PROGRAMS: &[&str] = &["rs", "py", "js", "css", "html", "toml", "sh"];

/// The ratchet: files with longer lines, and how many of them. A file's number may fall, never
/// rise, and no file may come in.
const LONG_LINES: &[(&str, usize)] = &[];

#[test]
fn no_file_is_longer_than_700_lines() {
    let mut faults = Vec::new();
    for source in sources(PROGRAMS) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}:{FILE_LINES}: the file has {lines} lines", source.path));
        }
    }
    hold(
        &faults,
        "split it: one idea a file, named so that a reader who has the question finds it",
    );
}

#[test]
fn the_median_rust_file_is_short() {
    let mut lines: Vec<usize> = sources(&["rs"]).iter().map(|s| s.text.lines().count()).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    println!(
        "{} Rust files, median {median} lines, longest {}",
        lines.len(),
        lines.last().unwrap_or(&0)
    );
    assert!(median <= MEDIAN_LINES, "the median file has {median} lines, over {MEDIAN_LINES}");
}

#[test]
fn no_line_of_rust_is_longer_than_100_columns() {
    let mut faults = Vec::new();
    for source in sources(&["rs"]) {
        let long = source.text.lines().enumerate().filter(|(_, l)| l.chars().count() > LINE_CHARS);
        let long: Vec<usize> = long.map(|(number, _)| number + 1).collect();
        let held = LONG_LINES.iter().find(|(path, _)| *path == source.path);
        let allowed = held.map_or(0, |(_, count)| *count);
        if long.len() > allowed {
            let places = long.iter().map(|line| format!("{}:{line}", source.path));
            faults.push(places.collect::<Vec<_>>().join("\n"));
        }
        if long.len() < allowed {
            let now = long.len();
            faults.push(format!("{}: {now} long lines, not {allowed}: say so here", source.path));
        }
    }
    hold(
        &faults,
        "wrap them (rustfmt wraps code, not comments); LONG_LINES in tidy/sizes.rs shrinks",
    );
}

#[test]
fn the_list_of_long_lines_names_files_that_exist() {
    let gone = LONG_LINES.iter().filter(|(path, _)| !crate::tree::root().join(path).exists());
    let gone: Vec<String> = gone.map(|(path, _)| format!("{path}: is no more")).collect();
    hold(&gone, "take it out of LONG_LINES in tidy/sizes.rs");
}
