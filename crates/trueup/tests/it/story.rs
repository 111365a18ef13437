//! The story as one command, `examples/story/run`, with few transactions: then it judges no times,
//! but all else that it claims.

use crate::postgres_server;
use crate::support::{one_thread, packages};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use trueup_store::testing::servers;

/// Some 80 users: enough that all who are asked for have windows that hold something.
const TRANSACTIONS: &str = "20000";

/// A Python with the packages of the script, and of the tests of scoring.
fn python() -> PathBuf {
    packages("TRUEUP_TEST_ONNX", "onnx").join("bin/python")
}

/// The path, with the programs before it that the tests are to use.
fn path() -> std::ffi::OsString {
    let redis = servers::program().parent().unwrap().to_path_buf();
    let usual = std::env::var_os("PATH").unwrap();
    let folders = [redis, postgres_server::programs()].into_iter();
    std::env::join_paths(folders.chain(std::env::split_paths(&usual))).unwrap()
}

/// Production fell back to the database in silence, took ten times as long, and nobody knew why.
#[test]
fn the_story_holds_on_real_servers_and_leaves_nothing_behind() {
    let around = tempfile::tempdir().unwrap();
    // PostgreSQL's folder is in it, which root gives to another user.
    std::fs::set_permissions(around.path(), Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/story/run");
    let mut command = one_thread(Command::new(script));
    command.args(["--transactions", TRANSACTIONS, "--python"]).arg(python());
    command.env("TRUEUP", env!("CARGO_BIN_EXE_trueup"));
    command.env("PATH", path()).env("TMPDIR", around.path());
    let told = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(told.status.success(), "{said}");
    let left: Vec<_> = std::fs::read_dir(around.path()).unwrap().collect();
    assert!(left.is_empty(), "the story leaves {left:?}");
    let judged = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((judged("holds "), judged("not judged "), judged("FAILS ")), (7, 3, 0), "{said}");
    for answered in ["dev (tests)", "production, before", "production, fixed"] {
        assert_eq!(judged(answered), 1, "{said}");
    }
}
