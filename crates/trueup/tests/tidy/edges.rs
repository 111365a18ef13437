//! What may depend on what.

use crate::tree::{crates, hold, read, read_toml, sources};
use std::collections::BTreeSet;
use std::process::Command;

/// A crate of ours, by its folder's name, and those that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("store", &[]),
    ("decode", &["core"]),
    ("sql", &["core", "decode"]),
    ("offline", &["core", "sql"]),
    ("trueup", &["core", "sql", "store", "offline"]),
    ("python", &["core", "sql", "offline"]),
];

#[test]
fn crates_depend_only_on_those_below_them() {
    let mut faults = Vec::new();
    for folder in crates() {
        let name = folder.trim_start_matches("crates/");
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
            faults.push(format!("{folder}: no rule says what it may depend on"));
            continue;
        };
        for on in dependencies(&folder, &["dependencies", "dev-dependencies", "build-dependencies"])
        {
            let Some(ours) = ours(&on) else { continue };
            if ours != name && !allowed.contains(&ours) {
                faults.push(format!("{folder}/Cargo.toml: {name} may not depend on {ours}"));
            }
        }
    }
    hold(&faults, "move what is shared down to a crate that both may see (ARCHITECTURE.md, edges)");
}

#[test]
fn core_depends_on_just_what_its_decision_names() {
    let decision = "docs/decisions/0001-dependencies-of-core.md";
    let text = read(decision);
    let named = text.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    let has = dependencies("crates/core", &["dependencies", "build-dependencies"]);
    assert_eq!(
        has, named,
        "crates/core/Cargo.toml (left) and {decision} (right) must name the same"
    );
}

#[test]
fn ingest_does_not_use_serve_nor_serve_ingest() {
    let mut faults = Vec::new();
    for (of, other) in [("ingest", "serve"), ("serve", "ingest")] {
        let place = format!("crates/trueup/src/{of}");
        for source in sources(&["rs"]) {
            let inside = source.path.strip_prefix(&place);
            if !inside.is_some_and(|rest| rest.starts_with(['/', '.'])) {
                continue;
            }
            for (number, line) in source.text.lines().enumerate() {
                if names_module(line, other) {
                    faults.push(format!("{}:{}: {line}", source.path, number + 1));
                }
            }
        }
    }
    hold(&faults, "put what both need into a module beside them, or wire them where both are made");
}

#[test]
fn a_module_is_seen_however_its_path_is_written() {
    for line in ["use crate::serve::Row;", "use crate::{serve::Row};", "    super::serve::row()"] {
        assert!(names_module(line, "serve"), "{line}");
    }
    for line in ["// as crate::serve does", "axum::serve(listener, router)", "observe::row()"] {
        assert!(!names_module(line, "serve"), "{line}");
    }
}

#[test]
fn the_command_and_its_tests_are_built_on_one_compiled_tree() {
    // Features are asked for (TLS to Kafka is one); dev-dependencies come unasked.
    let normal = features(&["-e", "normal,build", "--all-features"]);
    let all = features(&["-e", "normal,build,dev", "--all-features"]);
    assert!(normal.len() > 100, "cargo tree lists only {} packages", normal.len());
    let differ = normal.difference(&all).map(|line| format!("Cargo.lock: {line}"));
    let remedy = "a dev-dependency turns on more features of these; what depends on them is then \
                  compiled twice: name the same features under [workspace.dependencies]";
    hold(&differ.collect::<Vec<_>>(), remedy);
}

/// The names under these tables of a manifest, its targets' tables too.
fn dependencies(folder: &str, tables: &[&str]) -> BTreeSet<String> {
    let manifest = read_toml(&format!("{folder}/Cargo.toml"));
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(|t| t.values().filter_map(toml::Value::as_table));
    let mut names = BTreeSet::new();
    for place in std::iter::once(&manifest).chain(targets) {
        for table in tables.iter().filter_map(|name| place.get(*name)?.as_table()) {
            names.extend(table.keys().cloned());
        }
    }
    names
}

/// The folder's name of a package of ours.
fn ours(package: &str) -> Option<&str> {
    match package.strip_prefix("trueup-") {
        Some(name) if EDGES.iter().any(|(known, _)| *known == name) => Some(name),
        _ => (package == "trueup").then_some(package),
    }
}

/// Whether a line of code goes through the module: `serve::`, `crate::serve`, `super::serve`.
fn names_module(line: &str, module: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(module).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + module.len()..]);
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        after.starts_with("::") || before.ends_with("crate::") || before.ends_with("super::")
    })
}

/// Every package that is not ours with its features, one a line, as Cargo resolves them.
fn features(options: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let format = ["tree", "--workspace", "--offline", "--prefix", "none", "--format", "{p} {f}"];
    let run = Command::new(cargo)
        .args(format)
        .args(options)
        .current_dir(crate::tree::root())
        .output()
        .expect("cargo can be run");
    assert!(run.status.success(), "cargo tree: {}", String::from_utf8_lossy(&run.stderr));
    let lines = String::from_utf8(run.stdout).expect("cargo prints UTF-8");
    let packages = lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned());
    packages.filter(|line| !line.starts_with("trueup")).collect()
}
