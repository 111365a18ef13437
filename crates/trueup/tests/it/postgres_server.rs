//! A PostgreSQL of the test's own, on a free loopback port and in a folder of its own.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};
use trueup_store::testing::servers::TestCa;

/// How long a new server may take until it answers: slow disks need a few seconds.
const START: Duration = Duration::from_secs(60);

/// Who runs it: it refuses to be run by root.
const SERVANTS: [&str; 2] = ["postgres", "nobody"];

/// A running server; stopped with this.
pub(crate) struct PostgresServer {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl PostgresServer {
    pub(crate) async fn start() -> PostgresServer {
        PostgresServer::start_with(&["log_statement=all"]).await
    }

    pub(crate) async fn start_with(settings: &[&str]) -> PostgresServer {
        PostgresServer::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    /// One that encrypts, with the certificate for which this authority vouches.
    pub(crate) async fn start_encrypting(ca: &TestCa) -> PostgresServer {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = certificate(ca, folder.path());
        let certificate = format!("ssl_cert_file={certificate}");
        let key = format!("ssl_key_file={key}");
        PostgresServer::start_in(folder, &["ssl=on", &certificate, &key]).await
    }

    async fn start_in(folder: tempfile::TempDir, settings: &[&str]) -> PostgresServer {
        let servant = servant();
        give(folder.path());
        let data = folder.path().join("data");
        copy(&empty(servant), &data);
        let port = free_port();
        let mut run = command("postgres", servant, folder.path());
        run.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "unix_socket_directories=",
            "fsync=off",
        ] {
            run.args(["-c", setting]);
        }
        for setting in settings {
            run.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = run.stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let server = PostgresServer { process, folder, port };
        let until = Instant::now() + START;
        while tokio_postgres::connect(&server.url(), NoTls).await.is_err() {
            assert!(Instant::now() < until, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// How often the server ran the query that asks for a key's events, by its own log.
    pub(crate) fn questions(&self) -> usize {
        let is_question = |line: &&str| line.contains("execute") && line.contains("DESC LIMIT");
        self.log().lines().filter(is_question).count()
    }

    /// Ends it as an operator would: connections are cut.
    pub(crate) fn stop(&mut self) {
        let id = self.process.id().to_string();
        let told = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(told.success());
        self.process.wait().unwrap();
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may have ended by itself. An immediate shutdown takes its children with it.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &id]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

/// The folder of a server without tables, to be copied. `initdb` takes longer than many tests, so
/// it runs once for each version and user.
fn empty(servant: Option<(u32, u32)>) -> PathBuf {
    let version = Command::new(programs().join("initdb")).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let user = servant.map_or_else(|| "self".into(), |(user, _)| user.to_string());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{version}{user}"));
    let lock = std::fs::File::create(kept.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !kept.exists() {
        // Another user may not see into the target folder.
        let made_in = tempfile::tempdir().unwrap();
        give(made_in.path());
        let data = made_in.path().join("data");
        let mut init = command("initdb", servant, made_in.path());
        init.arg("-D").arg(&data).args(["-U", "trueup", "-A", "trust", "--no-sync"]);
        let made = init.args(["--encoding", "UTF8", "--locale", "C"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let half = kept.with_extension("half");
        let _ = std::fs::remove_dir_all(&half);
        copy(&data, &half);
        std::fs::rename(half, &kept).unwrap();
    }
    kept
}

/// Copies a folder with its owners and rights.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(copied.unwrap().success(), "{} is copied", from.display());
}

/// The URL of a server, or of a proxy before it.
pub(crate) fn url(port: u16) -> String {
    format!("postgres://trueup@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn command(name: &str, servant: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.current_dir(folder);
    if let Some((user, group)) = servant {
        command.uid(user).gid(group);
    }
    command
}

/// The folder of its programs: where TRUEUP_TEST_POSTGRES says, else that of the newest installed.
pub(crate) fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("TRUEUP_TEST_POSTGRES") {
        return given.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("install PostgreSQL");
    let mut versions: Vec<PathBuf> = versions.map(|version| version.unwrap().path()).collect();
    versions.sort();
    versions.pop().expect("install PostgreSQL").join("bin")
}

/// Makes it the servant's.
pub(crate) fn give(path: &Path) {
    if let Some((user, group)) = servant() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// User and group to run it as, for a test that is run by root.
pub(crate) fn servant() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &&str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut parts = line.split(':').skip(2).map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    Some(SERVANTS.iter().find_map(find).expect("a user postgres or nobody"))
}

/// Copies a server's certificate and its key into the folder of one that runs as another user.
pub(crate) fn certificate(ca: &TestCa, folder: &Path) -> [String; 2] {
    ["server.crt", "server.key"].map(|name| {
        let copy = folder.join(name);
        std::fs::copy(ca.folder().join(name), &copy).unwrap();
        give(&copy);
        copy.display().to_string()
    })
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
