//! `trueup push`: a file's events to a server, sent again until they are acknowledged.

use super::Failure;
use super::common::{self, Output, SOME_REFUSED, TalkArgs};
use super::progress::bar;
use crate::client::{Client, ClientError, Reply};
use crate::ingest::{FileError, Loaded, load};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trueup_sql::decode::{BadEvent, Decoder};

/// How long one call may take; the log syncs within it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Pause before a call is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes of events in one call: well below what a server takes.
const CALL_BYTES: usize = 4 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events: a name that ends in .parquet, .csv or .jsonl
    file: PathBuf,
    /// The stream they are for; needed where the definitions have several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Return when the events can be read, not only when they are safe
    #[arg(long)]
    wait: bool,
    /// How long to try again when the server does not answer
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    retry_for: String,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What a server says of a call's events.
#[derive(Debug, Default, Deserialize)]
struct Word {
    accepted: usize,
    dead_letters: Vec<Rejected>,
}

#[derive(Debug, Deserialize)]
struct Rejected {
    index: usize,
    column: Option<String>,
    reason: String,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let settings = args.talk.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let names: Vec<&str> = definitions.streams.iter().map(|stream| stream.name.as_str()).collect();
    let wanted = match (&args.stream, names.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [one]) => one,
        (None, _) => {
            let names = names.join(", ");
            return Err(format!("error: name the stream with --stream; there are: {names}").into());
        }
    };
    let stream = definitions.stream(wanted).ok_or_else(|| {
        format!("error: there is no stream {wanted}; there are: {}", names.join(", "))
    })?;
    let retry_for = crate::settings::duration(&args.retry_for)
        .map_err(|reason| format!("error: --retry-for {reason}"))?;
    let query = if args.wait { "?wait=applied" } else { "" };
    let sender = Sender {
        client: args.talk.server.client(&settings, 1, TIMEOUT)?,
        path: format!("/v1/events/{}{query}", stream.name),
        retry_for,
        runtime: common::runtime()?,
    };
    let bar = bar(None, &format!("pushing {}", args.file.display()));
    let (mut accepted, mut refused) = (0, 0);
    let decoder = Decoder::new(std::sync::Arc::clone(stream));
    let hand = |loaded: Loaded| -> Result<(), Pushing> {
        // Bad rows go to the server too: dead letters are kept there.
        for call in calls(&loaded.rows, &loaded.bad) {
            let word = sender.send(call.clone())?;
            accepted += word.accepted;
            refused += word.dead_letters.len();
            for letter in &word.dead_letters {
                eprintln!("refused: {}", shown(letter, &call));
            }
            bar.inc((word.accepted + word.dead_letters.len()) as u64);
        }
        Ok(())
    };
    load(&args.file, &decoder, hand).map_err(|error| format!("error: {error}"))?;
    bar.finish_and_clear();
    match args.talk.output {
        Output::Text => println!("{accepted} events accepted, {refused} refused"),
        Output::Json => println!("{{\"accepted\":{accepted},\"refused\":{refused}}}"),
    }
    Ok(if refused > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
}

/// The bodies of calls: JSON lines, each body within its bound.
fn calls(rows: &[Vec<u8>], bad: &[BadEvent]) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    let mut body = Vec::new();
    for row in rows.iter().chain(bad.iter().map(|bad| &bad.row)).filter(|row| !row.is_empty()) {
        if !body.is_empty() && body.len() + row.len() > CALL_BYTES {
            bodies.push(Bytes::from(std::mem::take(&mut body)));
        }
        body.extend(row.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        body.push(b'\n');
    }
    if !body.is_empty() {
        bodies.push(body.into());
    }
    bodies
}

/// A refused event for a person: the reason, and the event's beginning.
fn shown(letter: &Rejected, call: &[u8]) -> String {
    let line = call.split(|byte| *byte == b'\n').nth(letter.index).unwrap_or_default();
    let line: String = String::from_utf8_lossy(line).chars().take(120).collect();
    match &letter.column {
        Some(column) => format!("column {column}: {}\n  {line}", letter.reason),
        None => format!("{}\n  {line}", letter.reason),
    }
}

struct Sender {
    client: Client,
    path: String,
    retry_for: Duration,
    runtime: tokio::runtime::Runtime,
}

/// Why a file was not pushed to its end.
enum Pushing {
    File(FileError),
    Server(String),
}

impl From<FileError> for Pushing {
    fn from(error: FileError) -> Pushing {
        Pushing::File(error)
    }
}

impl std::fmt::Display for Pushing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pushing::File(error) => error.fmt(f),
            Pushing::Server(error) => f.write_str(error),
        }
    }
}

impl Sender {
    /// Sends a call until it is acknowledged: ids make repeats harmless.
    fn send(&self, body: Bytes) -> Result<Word, Pushing> {
        let until = Instant::now() + self.retry_for;
        loop {
            let media = Some("application/x-ndjson");
            let sent = self.client.request(Method::POST, &self.path, media, body.clone());
            let why = match self.runtime.block_on(sent) {
                Ok(reply) if reply.status == StatusCode::OK => {
                    return serde_json::from_slice(&reply.body).map_err(|error| {
                        Pushing::Server(format!("the server's reply is not understood: {error}"))
                    });
                }
                Ok(reply) if again(&reply) => common::problem(reply.status, &reply.body),
                Ok(reply) => {
                    return Err(Pushing::Server(common::problem(reply.status, &reply.body)));
                }
                Err(error @ (ClientError::Url { .. } | ClientError::Option { .. })) => {
                    return Err(Pushing::Server(error.to_string()));
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() >= until {
                return Err(Pushing::Server(format!("{why}; gave up (--retry-for)")));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether the same call may succeed later.
fn again(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 408 | 429 | 503)
}
