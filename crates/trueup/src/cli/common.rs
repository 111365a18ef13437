//! What several commands take: the settings' flags, the form of the output, the server to talk to.

use super::{Failure, definitions};
use crate::catalog::Catalog;
use crate::client::{Client, ClientOptions};
use crate::settings::{Flags, Layer, Said, Settings};
use clap::ValueEnum;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trueup_sql::Definitions;

/// The exit code of a command that was done, but for some events that were refused.
pub(super) const SOME_REFUSED: u8 = 3;

/// The failure of a command, as it is told.
pub(super) fn failed(error: impl Display) -> Failure {
    format!("error: {error}").into()
}

/// Settings as flags; what is not given comes from TRUEUP_ variables, then from trueup.toml.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    /// The settings file [default: trueup.toml]
    #[arg(long, value_name = "PATH")]
    settings: Option<PathBuf>,
    /// The environment of the settings [default: dev]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// A file of SQL, or a folder of them
    #[arg(long, value_name = "PATH")]
    definitions: Option<String>,
    /// Where the state is: embedded:PATH, memory:, or a URL of Redis
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The directory of logs and dead letters, where the state is in Redis [default: data]
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// Where events come from, or STREAM=URL where there are several streams:
    /// kafka://HOST:PORT/TOPIC?group=NAME, nats://HOST:PORT/SUBJECT?stream=NAME&partitions=N,
    /// redis-stream://HOST:PORT/STREAM?partitions=N, or file:PATH (.parquet, .csv, .jsonl) for
    /// `trueup ingest`
    #[arg(long, value_name = "URL")]
    source: Vec<String>,
    /// Where dead letters go beside the local log: kafka://HOST:PORT/TOPIC,
    /// redis-stream://HOST:PORT/STREAM or file:PATH
    #[arg(long, value_name = "URL")]
    dead_letters: Option<String>,
    /// Go on however many records cannot be used; else a stream stops when half of its last 1,000
    /// records are bad (setting max_bad_percent)
    #[arg(long)]
    accept_bad: bool,
    /// The database that is asked for what the store does not vouch for:
    /// postgres://USER@HOST:PORT/NAME, mysql://USER@HOST:PORT/NAME or sqlite:PATH
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The address to listen on, or of the server to talk to; `ingest` listens nowhere without it
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The address of the gRPC mirror of `run` and `serve`; there is none without it
    #[arg(long, value_name = "ADDRESS:PORT")]
    grpc_listen: Option<String>,
    /// How far the pipeline may be behind before values are STALE, such as 10s
    #[arg(long, value_name = "DURATION")]
    max_staleness: Option<String>,
    /// A file with the bearer token
    #[arg(long, value_name = "PATH")]
    token_file: Option<String>,
    /// Listen to the world without a token
    #[arg(long)]
    insecure: bool,
}

impl SettingsArgs {
    /// The checked settings.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        let flags = Flags {
            settings: self.settings.clone(),
            environment: self.env.clone(),
            layer: Layer {
                definitions: self.definitions.clone(),
                store: self.store.clone(),
                data: self.data.clone(),
                source: (!self.source.is_empty()).then(|| Said::Many(self.source.clone())),
                dead_letters: self.dead_letters.clone(),
                accept_bad: self.accept_bad.then_some(true),
                database: self.database.clone(),
                listen: self.listen.clone(),
                // On the command line it can only mean this process.
                ingest_listen: self.listen.clone(),
                grpc_listen: self.grpc_listen.clone(),
                max_staleness: self.max_staleness.clone(),
                token_file: self.token_file.clone(),
                insecure: self.insecure.then_some(true),
                ..Layer::default()
            },
        };
        let settings = Settings::load(&flags, |name| std::env::var(name).ok());
        settings.map_err(|error| format!("error: {error}").into())
    }
}

/// The definitions that settings name, compiled.
pub(super) fn compiled(settings: &Settings) -> Result<Definitions, Failure> {
    definitions::load(&settings.definitions)
}

/// The same, ready for a process that runs them.
pub(super) fn catalog(settings: &Settings) -> Result<Arc<Catalog>, Failure> {
    Ok(Arc::new(Catalog::new(compiled(settings)?)))
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// What commands take that talk to a server, and print what it says.
#[derive(Debug, clap::Args)]
pub(super) struct TalkArgs {
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

/// Which server a command talks to; by default that of the settings.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ServerArgs {
    /// The server [default: http:// and the settings' listen address]
    #[arg(long, value_name = "URL", env = "TRUEUP_URL")]
    url: Option<String>,
    /// The trace that this is a part of, sent on to the server: 00-TRACE-SPAN-01 (W3C)
    #[arg(long, value_name = "TRACEPARENT")]
    traceparent: Option<String>,
}

impl ServerArgs {
    /// Whether the command line, or TRUEUP_URL, names one.
    pub(super) fn is_named(&self) -> bool {
        self.url.is_some()
    }

    /// A client of that server.
    pub(super) fn client(
        &self,
        settings: &Settings,
        connections: usize,
        timeout: Duration,
    ) -> Result<Client, Failure> {
        let base_url = match &self.url {
            Some(url) => url.clone(),
            None => format!("http://{}", settings.listen),
        };
        let token = settings.token.clone();
        let traceparent = self.traceparent.clone();
        let options = ClientOptions { base_url, token, connections, timeout, traceparent };
        Client::new(&options).map_err(|error| format!("error: {error}").into())
    }
}

/// Writes data to standard output. A reader that has seen enough (`head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| format!("error: standard output: {error}").into()),
    }
}

/// A runtime for commands that wait for others.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| format!("error: no threads can be had: {error}").into())
}

/// What a server said instead of an answer: its problem document in words.
pub(super) fn problem(status: hyper::StatusCode, body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| document[name].as_str().unwrap_or_default();
    let said = match part("detail") {
        "" => String::from_utf8_lossy(body).trim().to_string(),
        detail => detail.to_string(),
    };
    let place = match part("at") {
        "" => String::new(),
        at => format!(" (in {at})"),
    };
    let remedy = match part("remedy") {
        "" => String::new(),
        remedy => format!("\n  = help: {remedy}"),
    };
    format!("the server answered {status}: {said}{place}{remedy}")
}
