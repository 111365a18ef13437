//! The command as a process of its own in a folder of its own, until this is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use trueup::client::{Client, ClientOptions};

pub(crate) struct Running {
    process: Child,
    /// Where it listens.
    pub(crate) base_url: String,
    /// Goes with it.
    _folder: TempDir,
}

impl Running {
    /// Runs `trueup run` with these settings and these definitions (`risk.sql`), on one core where
    /// one is named.
    pub(crate) fn start(settings: &str, definitions: &str, core: Option<&str>) -> Running {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trueup.toml"), settings).unwrap();
        std::fs::write(folder.path().join("risk.sql"), definitions).unwrap();
        let trueup = env!("CARGO_BIN_EXE_trueup");
        let mut command = match core {
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", core, trueup]);
                pinned
            }
            None => Command::new(trueup),
        };
        command.arg("run").current_dir(folder.path());
        let (stdin, stdout, stderr) = (Stdio::null(), Stdio::null(), Stdio::piped());
        let mut process = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let found = said.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
        let base_url = found.expect("the command listens");
        // Whoever reads no more would make it wait for room.
        std::thread::spawn(move || said.for_each(|line| eprintln!("  | {line}")));
        Running { process, base_url, _folder: folder }
    }

    pub(crate) fn client(&self, connections: usize) -> Client {
        client(&self.base_url, connections)
    }

    /// Its memory that is resident, MiB.
    #[allow(dead_code, reason = "not every bench looks at it")]
    pub(crate) fn resident_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
    }
}

/// A client with so many connections, which waits for a minute.
pub(crate) fn client(base_url: &str, connections: usize) -> Client {
    let (base_url, timeout) = (base_url.to_owned(), Duration::from_secs(60));
    let options = ClientOptions { base_url, connections, timeout, ..ClientOptions::default() };
    Client::new(&options).unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
