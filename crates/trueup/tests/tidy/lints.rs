//! That the compiler and clippy are asked what they can tell, and not talked out of it.

use crate::tree::{crates, hold, names_in, read, read_toml, sources};

/// Lines of a function, at most, as clippy counts them: a screen.
const FUNCTION_LINES: i64 = 70;
/// The lints that rules of the house stand on: no `unwrap` outside tests, no long functions, all
/// that is public documented and needed, no unsafe code.
const LINTS: &[(&str, &[&str])] = &[
    ("rust", &["missing_docs", "unreachable_pub", "unsafe_code"]),
    ("clippy", &["unwrap_used", "too_many_lines", "dbg_macro", "todo"]),
];

/// The ratchet: exceptions from lints outside tests and benches, as file, lint and how often. A
/// number may fall, never rise, and none may come in.
const EXCEPTIONS: &[(&str, &str, usize)] = &[
    ("crates/store/src/engine/mod.rs", "unreachable_pub", 1),
    ("crates/store/src/engine/place.rs", "unreachable_pub", 1),
];

/// An `allow` or `expect` of a lint.
struct Exception {
    path: String,
    line: usize,
    lint: String,
    has_reason: bool,
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut faults = Vec::new();
    for folder in crates() {
        let manifest = read_toml(&format!("{folder}/Cargo.toml"));
        let workspace = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if workspace != Some(&toml::Value::Boolean(true)) {
            faults.push(format!("{folder}/Cargo.toml: does not take the workspace's lints"));
        }
    }
    hold(&faults, "write [lints] workspace = true");
}

#[test]
fn the_lints_that_our_rules_stand_on_are_on_and_their_warnings_are_errors() {
    let lints = read_toml("Cargo.toml")["workspace"]["lints"].clone();
    let mut faults = Vec::new();
    for (tool, names) in LINTS {
        for name in *names {
            let level = lints.get(tool).and_then(|of| of.get(name)).and_then(toml::Value::as_str);
            if !matches!(level, Some("warn" | "deny" | "forbid")) {
                faults.push(format!("Cargo.toml: {tool}::{name} is {level:?}"));
            }
        }
    }
    let test = read("test");
    for command in ["cargo clippy", "--all-targets -- -D warnings", "RUSTDOCFLAGS=\"-D warnings\""]
    {
        if !test.contains(command) {
            faults.push(format!("test: no longer runs `{command}`"));
        }
    }
    hold(&faults, "set them to warn; ./test turns warnings into errors");
}

#[test]
fn no_function_may_have_more_than_70_lines() {
    let mut faults = Vec::new();
    let folders = crates().into_iter().map(|folder| format!("{folder}/"));
    for folder in std::iter::once(String::new()).chain(folders) {
        let path = format!("{folder}clippy.toml");
        let is_root = folder.is_empty();
        if !is_root && !names_in(&folder).contains(&"clippy.toml".to_owned()) {
            continue; // the root's counts
        }
        let settings = read_toml(&path);
        let threshold = settings.get("too-many-lines-threshold").and_then(toml::Value::as_integer);
        if threshold != Some(FUNCTION_LINES) {
            faults.push(format!("{path}: too-many-lines-threshold is {threshold:?}"));
        }
    }
    hold(
        &faults,
        "set it to 70 in each: a crate's clippy.toml replaces the root's, adding nothing",
    );
}

#[test]
fn exceptions_from_lints_become_fewer_not_more() {
    let found = exceptions();
    let mut faults = Vec::new();
    for exception in found.iter().filter(|e| !is_test(&e.path)) {
        let Exception { path, line, lint, .. } = exception;
        let now = found.iter().filter(|e| e.path == *path && e.lint == *lint).count();
        let held = EXCEPTIONS.iter().find(|(p, l, _)| p == path && l == lint);
        if now > held.map_or(0, |(_, _, count)| *count) {
            faults.push(format!("{path}:{line}: sets {lint} aside"));
        }
    }
    for (path, lint, count) in EXCEPTIONS {
        let now = found.iter().filter(|e| e.path == *path && e.lint == *lint).count();
        if now < *count {
            faults.push(format!("{path}: sets {lint} aside {now} times, not {count}: say so here"));
        }
    }
    hold(&faults, "do as the lint says; EXCEPTIONS in tidy/lints.rs only shrinks");
}

#[test]
fn every_exception_from_a_lint_says_why() {
    let bare = exceptions().into_iter().filter(|exception| !exception.has_reason);
    let faults: Vec<String> = bare.map(|e| format!("{}:{}: {}", e.path, e.line, e.lint)).collect();
    hold(&faults, "add reason = \"...\" to the attribute");
}

#[test]
fn no_test_is_ignored() {
    let mut faults = Vec::new();
    for source in sources(&["rs"]) {
        for (line, attribute) in attributes(&source.text) {
            if attribute.contains("ignore") && !attribute.contains("should_panic") {
                faults.push(format!("{}:{line}: {attribute}", source.path));
            }
        }
    }
    hold(&faults, "make the test run, always, or take it out: what is ignored proves nothing");
}

#[test]
fn attributes_are_read_over_several_lines() {
    let text = "#![allow(\n    clippy::unwrap_used,\n    reason = \"a [test]\"\n)]\nfn f() {}\n\
                // #[ignore]\n    #[expect(dead_code)]\n";
    let found = attributes(text);
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(lints_in(&found[0].1), ["clippy::unwrap_used"]);
    assert_eq!(lints_in(&found[1].1), ["dead_code"]);
    assert_eq!(lints_in("#[cfg_attr(not(test), allow(a, b, reason = \"c, d\"))]"), ["a", "b"]);
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/") || path.ends_with("/tests.rs")
}

fn exceptions() -> Vec<Exception> {
    let mut found = Vec::new();
    for source in sources(&["rs"]) {
        for (line, attribute) in attributes(&source.text) {
            let has_reason = attribute.contains("reason = \"");
            found.extend(lints_in(&attribute).into_iter().map(|lint| Exception {
                path: source.path.clone(),
                line,
                lint,
                has_reason,
            }));
        }
    }
    found
}

/// The attributes that begin a line, with its number, up to the bracket that closes them. Brackets
/// within texts are taken as balanced.
fn attributes(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut begins = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with(['#']) && line.contains('[') {
            let mut depth = 0;
            let end = text[begins..].find(|c| {
                depth += i32::from(c == '[') - i32::from(c == ']');
                c == ']' && depth == 0
            });
            let end = end.map_or(text.len(), |end| begins + end + 1);
            found.push((number + 1, text[begins..end].trim().to_owned()));
        }
        begins += line.len();
    }
    found
}

/// The lints that an attribute sets aside, by `allow` or `expect`.
fn lints_in(attribute: &str) -> Vec<String> {
    let Some(at) = ["allow(", "expect("].iter().filter_map(|word| attribute.find(word)).min()
    else {
        return Vec::new();
    };
    let list = attribute[at..].split_once('(').map_or("", |(_, rest)| rest);
    let list = list.split(')').next().unwrap_or_default();
    let list = list.split("reason").next().unwrap_or_default();
    list.split(',').map(str::trim).filter(|lint| !lint.is_empty()).map(str::to_owned).collect()
}
