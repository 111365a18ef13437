//! A server of NATS with JetStream in a folder of its own, in a process of its own, so that it can
//! be stopped, killed and started again with what it had.

use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trueup::ingest::source::NatsSettings;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(30);

/// Names streams apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A running server on a port of its own. It is killed when it is dropped.
pub(crate) struct NatsServer {
    process: Child,
    port: u16,
    folder: TempDir,
    options: Vec<&'static str>,
}

impl NatsServer {
    /// Starts one and returns when it listens.
    pub(crate) fn start() -> NatsServer {
        NatsServer::start_with(&[])
    }

    /// Starts one with more options, such as `--user`.
    pub(crate) fn start_with(options: &[&'static str]) -> NatsServer {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (folder, options) = (tempfile::tempdir().unwrap(), options.to_vec());
        NatsServer { process: spawn(port, folder.path(), &options), port, folder, options }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Starts it again, after it was killed, on the same port and folder.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port, self.folder.path(), &self.options);
    }

    /// Holds it still: connections stay, nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {pid}: {sent}");
    }

    /// Makes a stream of subjects `NAME` and `NAME.*`, in files, with what else is said.
    pub(crate) fn make_stream(&self, name: &str, config: Config) {
        let subjects = vec![name.to_owned(), format!("{name}.*")];
        let config = Config { name: name.to_owned(), subjects, ..config };
        self.admin(async |context| drop(context.create_stream(config).await.unwrap()));
    }

    /// The URL of a log of a stream that was made here.
    pub(crate) fn url(&self, stream: &str, partitions: u32) -> String {
        url(self.port, stream, partitions)
    }

    /// How to reach it.
    pub(crate) fn settings(&self, stream: &str, partitions: u32) -> NatsSettings {
        NatsSettings::parse(&self.url(stream, partitions)).unwrap()
    }

    /// Does something to a stream.
    pub(crate) fn with_stream<T>(&self, name: &str, act: impl AsyncFnOnce(Stream) -> T) -> T {
        self.admin(async |context| act(context.get_stream(name).await.unwrap()).await)
    }

    /// Does something by a connection of its own.
    pub(crate) fn admin<T>(&self, act: impl AsyncFnOnce(Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await.unwrap();
            act(jetstream::new(client)).await
        })
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The URL of a log whose server is behind a port of this machine.
pub(crate) fn url(port: u16, stream: &str, partitions: u32) -> String {
    format!("nats://127.0.0.1:{port}/{stream}?stream={stream}&partitions={partitions}")
}

/// A name that no other stream of this process has.
pub(crate) fn fresh() -> String {
    format!("pay-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

fn spawn(port: u16, folder: &Path, options: &[&str]) -> Child {
    let process = Command::new(program())
        .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"])
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < START, "the server does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// The program: what `TRUEUP_TEST_NATS` names, else the one on the path or where Debian puts it.
fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("TRUEUP_TEST_NATS") {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    found.expect(
        "no nats-server: run ./test once, or let TRUEUP_TEST_NATS name the program \
         (apt-get install nats-server)",
    )
}
