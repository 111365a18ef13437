//! One server process.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, Value};

use super::{program, wait_until};

/// Below the ports that systems give out by themselves, and such that the port of a cluster's bus,
/// 10,000 higher, exists.
const PORTS: std::ops::Range<u32> = 10_000..22_000;
/// Tries to find a free port and start on it.
const TRIES: usize = 20;

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// Settings as on its command line, without port, folder and address.
    pub args: Vec<String>,
    /// A password that the fixture's own commands need.
    pub password: Option<String>,
    /// Lines of a configuration file, for a sentinel.
    pub file: Option<Vec<String>>,
    /// The port is for TLS; another one, for the fixture's own commands, is not.
    pub tls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { program: program(), args: Vec::new(), password: None, file: None, tls: false }
    }
}

impl Setup {
    /// The default with more settings, as on the command line.
    pub fn with(args: &[&str]) -> Self {
        Self { args: args.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// A server on a free port, in a folder of its own; both are gone when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    setup: Setup,
    folder: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(setup: Setup) -> Self {
        let folder = scratch();
        for _ in 0..TRIES {
            let port = free_port();
            let tls_port = setup.tls.then(free_port);
            let mut server =
                Self { setup: setup.clone(), folder: folder.clone(), port, tls_port, child: None };
            if server.try_run() {
                return server;
            }
            // Somebody else took the port meanwhile. The folder stays for the next try.
            server.folder = PathBuf::new();
        }
        panic!("no server started: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// One as tests mostly want it: nothing on disk, nothing evicted.
    pub fn plain() -> Self {
        Self::start(Setup::default())
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens for TLS.
    ///
    /// # Panics
    /// When it was not set up for that.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("it was set up with TLS")
    }

    /// Its folder: socket, dump and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The append-only file that it writes to now, of any version.
    ///
    /// # Panics
    /// When it keeps none.
    pub fn newest_aof(&self) -> PathBuf {
        let inner = self.folder.join("appendonlydir");
        let within = if inner.is_dir() { inner } else { self.folder.clone() };
        let files = fs::read_dir(within).expect("the folder is there");
        let aofs = files.filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.to_owned();
            (name.contains(".incr.aof") || name == "appendonly.aof").then_some((name, path))
        });
        aofs.max().expect("an append-only file").1
    }

    /// The URL of a store on it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command, on a connection of its own. The words are separated by spaces.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn command(&self, words: &str) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// [`RedisServer::command`] with the answer as text.
    pub fn text(&self, words: &str) -> String {
        let answer = self.command(words);
        redis::from_redis_value(answer).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// Sends a command that may fail.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub fn try_command(&self, words: &str) -> redis::RedisResult<Value> {
        let words: Vec<&str> = words.split(' ').collect();
        self.try_args(&words)
    }

    /// Sends a command given as words that may hold spaces.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub fn try_args<W: redis::ToRedisArgs>(&self, words: &[W]) -> redis::RedisResult<Value> {
        self.send(self.setup.password.as_deref(), words)
    }

    /// Sends a command with a password that the server got after it was set up.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub fn try_with_password(&self, password: &str, words: &str) -> redis::RedisResult<Value> {
        self.send(Some(password), &words.split(' ').collect::<Vec<_>>())
    }

    fn send<W: redis::ToRedisArgs>(
        &self,
        password: Option<&str>,
        words: &[W],
    ) -> redis::RedisResult<Value> {
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port);
        let known = address.into_connection_info()?.set_redis_settings(login);
        let patience = Duration::from_secs(5);
        let mut connection = redis::Client::open(known)?.get_connection_with_timeout(patience)?;
        connection.set_read_timeout(Some(patience))?;
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut connection)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Freezes it: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Waits until a replica has everything that was written here up to now. `WAIT` does not: it
    /// knows of the writes of its own connection only.
    ///
    /// # Panics
    /// When the replica does not get it in time.
    pub fn wait_for_replica(&self, replica: &Self) {
        let offset = |server: &Self, name: &str| -> Option<u64> {
            let said = server.text("INFO replication");
            said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let written = offset(self, "master_repl_offset:");
        wait_until("a replica has what was written", || {
            offset(replica, "slave_repl_offset:") >= written
        });
    }

    /// From here on a replica gets nothing more of what this one writes, and is frozen; it keeps
    /// what it has got. A failover to it loses the rest.
    pub fn cut_off(&self, replica: &Self) {
        self.wait_for_replica(replica);
        replica.freeze();
        self.command("CLIENT KILL TYPE slave");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Starts it again on its port, with what is in its folder.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        for _ in 0..TRIES {
            if self.try_run() {
                return;
            }
        }
        panic!("{} does not start again", self.port);
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(sent.success(), "kill {signal} {pid}");
    }

    /// Runs it and waits until it answers; not so when it ends before.
    fn try_run(&mut self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new(&self.setup.program);
        if let Some(lines) = &self.setup.file {
            let file = self.folder.join("redis.conf");
            if !file.exists() {
                let text = lines.join("\n") + "\n";
                fs::write(&file, text).expect("the configuration is written");
            }
            command.arg(file);
        }
        command.args(["--port", &port, "--bind", "127.0.0.1", "--logfile", "log"]);
        command.arg("--dir").arg(&self.folder).arg("--unixsocket").arg("socket");
        if self.setup.file.is_none() {
            command.args(["--save", "", "--repl-diskless-sync-delay", "0"]);
        }
        if let Some(tls_port) = self.tls_port {
            command.arg("--tls-port").arg(tls_port.to_string());
        }
        command.args(&self.setup.args);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the program starts"));
        let mut ended = false;
        wait_until("a server answers", || {
            ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            ended || self.answers()
        });
        !ended
    }

    fn answers(&self) -> bool {
        match self.try_command("PING") {
            Ok(_) => true,
            // Loading, or a password that the setup makes later: it is there.
            Err(error) => error.code().is_some_and(|code| code != "LOADING"),
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if !self.folder.as_os_str().is_empty() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// A folder that nobody else has.
pub(super) fn scratch() -> PathBuf {
    static NTH: AtomicU32 = AtomicU32::new(0);
    let nth = NTH.fetch_add(1, Ordering::Relaxed);
    let name = format!("trueup-test-{}-{nth}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).expect("a folder for a server");
    folder
}

/// A port that nobody listens on, nor on that of the bus that belongs to it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run side by side begin apart.
        let nth = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 37);
        let port = (PORTS.start + nth % (PORTS.end - PORTS.start)) as u16;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}
