//! Golden messages: each file of `tests/refused` is refused with the text beside it.
//!
//! A case whose first line is `-- alone` is compiled by itself; every other beside `streams.sql`.
//! `UPDATE_GOLDEN=1` writes the messages anew.

use crate::{STREAMS, file};
use std::path::Path;
use trueup_sql::compile;

/// Fewer cases than this means that some were lost.
const LEAST_CASES: usize = 130;

#[test]
fn everything_that_cannot_be_kept_is_refused_with_place_and_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    names.sort();
    let mut wrong = Vec::new();
    for name in &names {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let case = file(name, &text);
        let files = match text.starts_with("-- alone") {
            true => vec![case],
            false => vec![case, file("streams.sql", STREAMS)],
        };
        let Err(errors) = compile(&files) else {
            wrong.push(format!("{name} was accepted"));
            continue;
        };
        let message = format!("{errors}\n");
        assert!(errors.0.iter().all(|e| !e.help.is_empty() && e.file == *name), "{message}");
        let golden = folder.join(name).with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &message).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if message != expected {
            wrong.push(format!("{name}: expected\n{expected}found\n{message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(names.len() >= LEAST_CASES, "only {} cases", names.len());
}
