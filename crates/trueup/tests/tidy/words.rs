//! What files must say, and words that none may hold.
//!
//! The forbidden words are put together from parts here, or this file would break its own rules.

use crate::tree::{Source, hold, sources, texts};

/// Written by Cargo, which names its registry there.
const LOCK_FILE: &str = "Cargo.lock";

#[test]
fn every_rust_file_opens_with_its_module_doc() {
    let bare = |source: &Source| !source.text.trim_start().starts_with("//!");
    let files: Vec<Source> = sources(&["rs"]).into_iter().filter(bare).collect();
    let faults: Vec<String> = files.iter().map(|s| format!("{}:1: no `//!`", s.path)).collect();
    hold(&faults, "say what the module is for and, where it is not plain, what it is not");
}

#[test]
fn no_work_is_left_open_without_an_issue() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    let open = |line: &str| {
        let issue = line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_numeric()));
        words.iter().any(|word| line.contains(word.as_str())) && !issue
    };
    hold(&lines_with(open, |_| true), "do it, or file an issue and name it there: (#12)");
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    let folders = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let named = |line: &str| folders.iter().any(|folder| line.contains(folder.as_str()));
    hold(
        &lines_with(named, |_| true),
        "name paths from the repository's root, or make a temporary one",
    );
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let hosts = [
        ["crates", "io"].join("."),
        ["pypi", "org"].join("."),
        ["pythonhosted", "org"].join("."),
        ["npmjs", "org"].join("."),
        ["npmjs", "com"].join("."),
        ["deb.debian", "org"].join("."),
        ["proxy.golang", "org"].join("."),
    ];
    let named = |line: &str| hosts.iter().any(|host| line.contains(host.as_str()));
    let faults = lines_with(named, |path| !path.ends_with(LOCK_FILE));
    hold(&faults, "leave the host to the settings of cargo, pip and apt: people use mirrors");
}

/// `path:line: text` of every line of such files that is at fault.
fn lines_with(at_fault: impl Fn(&str) -> bool, of: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for source in texts().iter().filter(|source| of(&source.path)) {
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| at_fault(line)) {
            faults.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
        }
    }
    faults
}
