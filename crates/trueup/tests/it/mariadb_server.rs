//! A MariaDB of the test's own, on a free loopback port and in a folder of its own.

use crate::postgres_server::{certificate, free_port, give, servant};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trueup_store::testing::servers::TestCa;

/// How long a new server may take until it answers: slow disks need a few seconds.
const START: Duration = Duration::from_secs(60);

/// Where Debian keeps the program, off the path of those who are not root.
const PROGRAM: &str = "/usr/sbin/mariadbd";

/// Where Debian keeps, by the version's age, the statements that make the tables of rights.
const SHARES: [&str; 2] = ["/usr/share/mariadb", "/usr/share/mysql"];

/// Those that are needed, in order.
const SYSTEM: [&str; 2] = ["system_tables.sql", "system_tables_data.sql"];

/// The user of the tests, who may do all, and a database.
const OURS: &str = "
FLUSH PRIVILEGES;
CREATE USER trueup@'127.0.0.1';
GRANT ALL ON *.* TO trueup@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE bank CHARACTER SET utf8mb4;
";

/// A running server; stopped with this.
pub(crate) struct MariadbServer {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl MariadbServer {
    pub(crate) async fn start() -> MariadbServer {
        MariadbServer::start_in(tempfile::tempdir().unwrap(), &["--skip-ssl".into()]).await
    }

    /// One that encrypts, with the certificate for which this authority vouches.
    pub(crate) async fn start_encrypting(ca: &TestCa) -> MariadbServer {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = certificate(ca, folder.path());
        let arguments = [format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")];
        MariadbServer::start_in(folder, &arguments).await
    }

    async fn start_in(folder: tempfile::TempDir, arguments: &[String]) -> MariadbServer {
        give(folder.path());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        give(&data);
        bootstrap(folder.path());
        let port = free_port();
        let process = run(folder.path(), port, arguments);
        let server = MariadbServer { process, folder, port };
        server.answers().await;
        server
    }

    async fn answers(&self) {
        let until = Instant::now() + START;
        while Conn::new(self.opts()).await.is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("errors")).unwrap();
            assert!(Instant::now() < until, "{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("bank")
    }

    /// Of one of its databases.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("mysql://trueup@127.0.0.1:{}/{database}", self.port)
    }

    fn opts(&self) -> Opts {
        opts(&self.url())
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> Conn {
        Conn::new(self.opts()).await.unwrap()
    }

    /// Runs statements.
    pub(crate) async fn run(&self, statements: &str) {
        let mut connection = self.connect().await;
        for statement in statements.split(';').filter(|text| !text.trim().is_empty()) {
            connection.query_drop(statement).await.expect(statement);
        }
    }

    /// All that the server was asked.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// How often the server ran the query that asks for a key's events, by its own log.
    pub(crate) fn questions(&self) -> usize {
        let is_question = |line: &&str| line.contains("Execute") && line.contains("DESC LIMIT");
        self.log().lines().filter(is_question).count()
    }

    /// Ends it as an operator would, and starts it again: connections are cut.
    pub(crate) async fn restart(&mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.process.wait().unwrap();
        self.process = run(self.folder.path(), self.port, &["--skip-ssl".into()]);
        self.answers().await;
    }
}

impl Drop for MariadbServer {
    fn drop(&mut self) {
        // It may have ended by itself; nobody wants its tables any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the tables of rights, as `mariadb-install-db` does: that is a program of another package.
fn bootstrap(folder: &Path) {
    let mut made = command(folder).arg("--bootstrap").stdin(Stdio::piped()).spawn().unwrap();
    let share = SHARES.iter().map(Path::new).find(|share| {
        ["mariadb", "mysql"].iter().any(|name| share.join(format!("{name}_{}", SYSTEM[0])).exists())
    });
    let share = share.expect("install mariadb-server-core");
    let mut text = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n".to_owned();
    for file in SYSTEM {
        let names = ["mariadb", "mysql"].map(|name| share.join(format!("{name}_{file}")));
        let path = names.iter().find(|path| path.exists()).expect("a file of statements");
        text += &std::fs::read_to_string(path).unwrap();
    }
    made.stdin.take().unwrap().write_all((text + OURS).as_bytes()).unwrap();
    let log = || std::fs::read_to_string(folder.join("errors")).unwrap();
    assert!(made.wait().unwrap().success(), "{}", log());
}

fn run(folder: &Path, port: u16, arguments: &[String]) -> Child {
    let mut command = command(folder);
    let path = |name: &str| folder.join(name).display().to_string();
    command.args(arguments).arg(format!("--port={port}")).args([
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--general-log=1",
        &format!("--general-log-file={}", path("log")),
        &format!("--socket={}", path("socket")),
        &format!("--pid-file={}", path("pid")),
    ]);
    command.spawn().unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    let data = format!("--datadir={}", folder.join("data").display());
    command.arg("--no-defaults").arg(data).current_dir(folder);
    // A server that starts removes others' temporary tables from a folder that they share.
    command.arg(format!("--tmpdir={}", folder.display()));
    command.arg("--innodb-flush-log-at-trx-commit=0");
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    let errors = std::fs::File::create(folder.join("errors")).unwrap();
    command.stdout(Stdio::null()).stderr(errors);
    command
}

/// The server: the one that TRUEUP_TEST_MARIADB names, else Debian's.
fn program() -> PathBuf {
    std::env::var_os("TRUEUP_TEST_MARIADB").map_or_else(|| PROGRAM.into(), Into::into)
}

/// Options of a test's own connection.
pub(crate) fn opts(url: &str) -> Opts {
    Opts::from_url(&format!("{url}?prefer_socket=false")).unwrap()
}
