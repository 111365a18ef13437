//! Real Redis servers for tests: one, behind Sentinel, or a cluster, on free ports of the loopback
//! address and in folders of their own. A server ends with the value that started it.
//!
//! The program is the one that `TRUEUP_TEST_REDIS` names (a file, or a folder with a
//! `redis-server`), else the one on the path. `TRUEUP_TEST_REDIS_OTHERS` may name more of them,
//! of other versions, with colons between. `./test` sets both.

mod cluster;
mod process;
mod proxy;
mod sentinel;
mod tls;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use cluster::Cluster;
pub use process::{RedisServer, Setup};
pub use proxy::{Mode, Proxy};
pub use sentinel::Sentinels;
pub use tls::TestCa;

/// Longest wait for what a server on this machine does in a second, on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The program of the server that tests use.
///
/// # Panics
/// When there is none, with what to do.
pub fn program() -> PathBuf {
    let Some(named) = std::env::var_os("TRUEUP_TEST_REDIS") else {
        let found = on_path("redis-server");
        return found
            .expect("no redis-server: run ./test once, or let TRUEUP_TEST_REDIS name the program");
    };
    let named = PathBuf::from(named);
    if named.is_dir() { named.join("redis-server") } else { named }
}

/// All programs: [`program`], and those of other versions.
pub fn programs() -> Vec<PathBuf> {
    let others = std::env::var_os("TRUEUP_TEST_REDIS_OTHERS").unwrap_or_default();
    let others: Vec<PathBuf> =
        std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()).collect();
    std::iter::once(program()).chain(others).collect()
}

/// What a program says of its version, as `7.0.15`.
pub fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output().expect("the program runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.expect("it says a version").to_owned()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Waits until something holds.
///
/// # Panics
/// With `what`, when it does not within [`PATIENCE`].
pub fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, holds);
}

fn wait_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
