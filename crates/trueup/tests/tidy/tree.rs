//! The repository's files as the rules see them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of text, with its path from the repository's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file of text that Git tracks or, being new and not ignored, would: so a rule bites before
/// the commit, not after it.
pub(crate) fn texts() -> Vec<Source> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let run = Command::new("git").args(list).current_dir(root()).output();
    let run = run.unwrap_or_else(|e| panic!("git is needed to list the files: {e}"));
    assert!(run.status.success(), "git ls-files: {}", String::from_utf8_lossy(&run.stderr));
    let names = String::from_utf8(run.stdout).expect("paths are UTF-8");
    let sources = names.split('\0').filter(|path| !path.is_empty()).filter_map(|path| {
        let text = std::fs::read_to_string(root().join(path)).ok()?;
        Some(Source { path: path.to_owned(), text })
    });
    sources.collect()
}

/// The texts whose names end in one of these.
pub(crate) fn sources(endings: &[&str]) -> Vec<Source> {
    let wanted = |source: &Source| {
        let ending = source.path.rsplit('.').next().unwrap_or_default();
        endings.contains(&ending)
    };
    let found: Vec<Source> = texts().into_iter().filter(wanted).collect();
    assert!(!found.is_empty(), "no file ends in one of {endings:?}");
    found
}

/// The text of a file that must be there.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A TOML file that must be there.
pub(crate) fn read_toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The folders of the workspace's crates, from the root's manifest: `crates/core` and so on.
pub(crate) fn crates() -> Vec<String> {
    let members = read_toml("Cargo.toml")["workspace"]["members"].clone();
    let members = members.as_array().expect("members is a list").clone();
    members.iter().map(|m| m.as_str().expect("a member is a path").to_owned()).collect()
}

/// The names of what lies in a folder, sorted; none where there is no such folder.
pub(crate) fn names_in(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("a folder can be read").file_name().into_string().expect("names are UTF-8")
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// Fails with all faults and what to do about them.
pub(crate) fn hold(faults: &[String], remedy: &str) {
    assert!(faults.is_empty(), "\n{}\n  = help: {remedy}\n", faults.join("\n"));
}
