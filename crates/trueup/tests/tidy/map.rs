//! ARCHITECTURE.md and the papers beside it, against the tree.

use crate::tree::{crates, hold, names_in, read, root};

const MAP: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/decisions";
/// Lists the decisions; ARCHITECTURE.md sends readers there.
const DECISIONS_LIST: &str = "docs/decisions/README.md";
/// Folders of a crate: in the map, paths that begin so are those of the crate whose entry they
/// stand under.
const IN_A_CRATE: &[&str] = &["src/", "tests/", "benches/"];

#[test]
fn every_path_on_the_map_exists() {
    let gone = paths_of(&read(MAP)).into_iter().filter(|(_, path)| !root().join(path).exists());
    let faults: Vec<String> = gone.map(|(line, path)| format!("{MAP}:{line}: no {path}")).collect();
    hold(&faults, "name what is there now; paths count from the root, or from the entry's crate");
}

#[test]
fn every_crate_is_on_the_map() {
    let on_map: Vec<String> = paths_of(&read(MAP)).into_iter().map(|(_, path)| path).collect();
    let listed = crates();
    let folders = names_in("crates").into_iter().map(|name| format!("crates/{name}"));
    let missing = folders.filter(|folder| !on_map.contains(folder) || !listed.contains(folder));
    let faults: Vec<String> = missing.map(|f| format!("{MAP}: no entry for {f}")).collect();
    hold(&faults, "say in a line or two what the crate is for, and list it in Cargo.toml");
}

#[test]
fn every_module_of_the_command_is_on_the_map() {
    let on_map: Vec<String> = paths_of(&read(MAP)).into_iter().map(|(_, path)| path).collect();
    let source = "crates/trueup/src";
    let folders = names_in(source).into_iter().map(|name| format!("{source}/{name}"));
    let folders = folders.filter(|path| root().join(path).is_dir());
    let missing = folders.filter(|folder| !on_map.contains(folder));
    let faults: Vec<String> = missing.map(|f| format!("{MAP}: no entry for {f}")).collect();
    hold(&faults, "say under crates/trueup what the module is for");
}

#[test]
fn decisions_are_numbered_without_gaps_and_all_listed() {
    let list = read(DECISIONS_LIST);
    assert!(read(MAP).contains(DECISIONS), "{MAP} must send readers to {DECISIONS}");
    let mut faults = Vec::new();
    let names = names_in(DECISIONS).into_iter().filter(|name| name != "README.md");
    for (index, name) in names.enumerate() {
        let number = format!("{:04}", index + 1);
        if !name.starts_with(&format!("{number}-")) {
            faults.push(format!("{DECISIONS}/{name}: its number should be {number}"));
        }
        let text = read(&format!("{DECISIONS}/{name}"));
        let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        let Some((says, title)) = title.split_once(": ").filter(|(says, _)| *says == &name[..4])
        else {
            faults.push(format!("{DECISIONS}/{name}:1: should be `# {number}: title`"));
            continue;
        };
        let entry = format!("- [{says}]({name}): {title}");
        if !list.lines().any(|line| line == entry) {
            faults.push(format!("{DECISIONS_LIST}: no line `{entry}`"));
        }
    }
    hold(&faults, "number decisions in the order they came, and list each by its title");
}

#[test]
fn the_changelog_has_a_place_for_what_is_not_released() {
    let text = read("CHANGELOG.md");
    let section = text.lines().position(|line| line == "## Unreleased");
    let entries = text.lines().skip(section.map_or(usize::MAX, |at| at + 1));
    let entries = entries.take_while(|line| !line.starts_with("## "));
    assert!(section.is_some(), "CHANGELOG.md: add `## Unreleased` above the latest version");
    assert!(entries.count() > 0, "CHANGELOG.md: `## Unreleased` is the last line: leave it room");
}

#[test]
fn paths_on_the_map_are_those_of_the_crate_they_stand_under() {
    let text = "- `crates/core`: `fold`.\n  - `src/exact`: sums\n- `docs/x.md`, `a::b/c`";
    let paths: Vec<String> = paths_of(text).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["crates/core", "crates/core/src/exact", "docs/x.md"]);
}

/// The paths in backticks with their lines: words with a slash and no sign that paths have not.
fn paths_of(map: &str) -> Vec<(usize, String)> {
    let mut under = "";
    let mut paths = Vec::new();
    for (number, line) in map.lines().enumerate() {
        if !line.starts_with(' ') {
            under = "";
        }
        for word in line.split('`').skip(1).step_by(2) {
            let is_path = |c: char| c.is_alphanumeric() || "_-./".contains(c);
            if !word.contains('/') || !word.chars().all(is_path) {
                continue;
            }
            if line.starts_with("- `crates/") && under.is_empty() {
                under = word;
            }
            let in_crate = IN_A_CRATE.iter().any(|folder| word.starts_with(folder));
            let path = if in_crate { format!("{under}/{word}") } else { word.to_owned() };
            paths.push((number + 1, path.trim_end_matches('/').to_owned()));
        }
    }
    paths
}
