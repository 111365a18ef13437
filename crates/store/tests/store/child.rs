//! Real processes: a child is this test binary again, told by a variable of its environment to play
//! the other part of one test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// What the child is told.
const CHILD: &str = "STORE_TEST_CHILD";

/// What this process was told, if it is the child of a test.
pub(crate) fn as_child() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Starts this binary again to run one test as the child.
pub(crate) fn spawn(test: &str, told: &OsStr) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("a test is a program"))
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, told)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    let said = BufReader::new(child.stdout.take().expect("its output is piped"));
    (child, said)
}

/// Waits for the next number that a child says after a word. The harness may have begun the line.
pub(crate) fn next_number(said: &mut BufReader<ChildStdout>, word: &str) -> Option<u64> {
    let mut line = String::new();
    while said.read_line(&mut line).ok()? > 0 {
        if let Some((_, number)) = line.split_once(word) {
            // A line cut by the child's end says nothing.
            return if line.ends_with('\n') { number.trim().parse().ok() } else { None };
        }
        line.clear();
    }
    None
}
