//! The demo as a person runs it, with few events and short phases.

use serde_json::Value;
use std::process::Command;

/// Runs `trueup demo` with its temporary folder in a folder of the test's; that must be empty again
/// afterwards.
fn demo(arguments: &[&str]) -> (bool, String, String) {
    let around = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
    command.arg("demo").args(arguments).env("TMPDIR", around.path());
    let output = command.output().unwrap();
    let left: Vec<_> = std::fs::read_dir(around.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo leaves {left:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_demo_measures_three_ways_and_every_served_row_equals_its_training_row() {
    let (success, stdout, stderr) = demo(&["--events", "5000", "--seconds", "1", "--json"]);
    assert!(success, "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"));
    for way in ["scan", "index", "store"] {
        for key in ["capacity", "rate", "achieved", "p50_ms", "p99_ms", "p999_ms"] {
            assert!(found[way][key].as_f64().is_some_and(|n| n > 0.0), "{way}.{key}: {found}");
        }
        assert_eq!(found[way]["errors"], 0, "{way}: {found} {stderr}");
    }
    assert!(found["freshness_p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{found}");
    let compared = found["parity"]["compared"].as_u64().unwrap();
    assert!(compared > 0, "{found}");
    assert_eq!(found["parity"]["equal"], compared, "{found} {stderr}");
}

#[test]
fn a_demo_too_small_to_tell_anything_is_refused() {
    let (success, stdout, stderr) = demo(&["--events", "10"]);
    assert!(!success && stdout.is_empty(), "{stdout}");
    assert!(stderr.contains("--events"), "{stderr}");
}
