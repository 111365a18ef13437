//! Rows to a server, in calls that are sent again until they are acknowledged: ids make repeats
//! harmless, but not free. After a failure calls are smaller, so that a server that dies every few
//! seconds still gets on, and its log does not fill with repeats.

use crate::cli::common;
use crate::client::{Client, ClientError, Reply};
use crate::ingest::FileError;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long one call may take; the log syncs within it.
pub(in crate::cli) const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call is tried again unless the command line says.
pub(in crate::cli) const RETRY_FOR: Duration = Duration::from_secs(60);

/// Pause before a call is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes of events in one call: well below what a server takes.
pub(super) const CALL_BYTES: usize = 4 << 20;

/// The least that a call is cut to, bytes: some hundreds of events, a few milliseconds of a log.
const MIN_CALL_BYTES: usize = 64 << 10;

/// How long nothing may be applied before waiting for it ends: a worker applies, or looks again,
/// several times a second.
const STALLED: Duration = Duration::from_secs(10);

/// Pause between two looks at how far the server is.
const LOOK: Duration = Duration::from_millis(50);

/// Why a file was not pushed to its end.
#[derive(Debug)]
pub(in crate::cli) enum Pushing {
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

/// What a server says of a call's events.
#[derive(Debug, Default, Deserialize)]
pub(in crate::cli) struct Word {
    pub(in crate::cli) accepted: usize,
    pub(in crate::cli) dead_letters: Vec<Rejected>,
}

/// An event that the server does not take.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Rejected {
    pub(super) index: usize,
    pub(super) column: Option<String>,
    pub(super) reason: String,
}

/// How far a stream is.
#[derive(Debug, Deserialize)]
struct Stand {
    stream: String,
    log_records: Option<u64>,
    applied_records: u64,
}

#[derive(Debug, Deserialize)]
struct Stands {
    streams: Vec<Stand>,
}

/// Sends to one stream of one server.
pub(in crate::cli) struct Sender {
    client: Client,
    stream: String,
    retry_for: Duration,
    runtime: tokio::runtime::Runtime,
    /// Bytes of the next call at most.
    limit: usize,
}

impl Sender {
    pub(in crate::cli) fn new(
        client: Client,
        stream: &str,
        retry_for: Duration,
    ) -> Result<Sender, crate::cli::Failure> {
        let (stream, runtime) = (stream.to_string(), common::runtime()?);
        Ok(Sender { client, stream, retry_for, runtime, limit: CALL_BYTES })
    }

    /// Sends rows, each one JSON object in one line, until all are acknowledged; `each` gets the
    /// rows of a call and what the server said of them. Says on standard error when it begins to
    /// try again.
    pub(in crate::cli) fn send(
        &mut self,
        mut rows: &[Vec<u8>],
        mut each: impl FnMut(&[Vec<u8>], Word),
    ) -> Result<(), Pushing> {
        let mut until = Instant::now() + self.retry_for;
        let mut is_told = false;
        while !rows.is_empty() {
            let (call, rest) = rows.split_at(fitting(rows, self.limit));
            match self.call(call)? {
                Ok(word) => {
                    each(call, word);
                    rows = rest;
                    until = Instant::now() + self.retry_for;
                    is_told = false;
                    self.limit = (self.limit * 2).min(CALL_BYTES);
                }
                Err(why) if Instant::now() >= until => {
                    return Err(Pushing::Server(format!("{why}; gave up (--retry-for)")));
                }
                Err(why) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let seconds = self.retry_for.as_secs_f64();
                        eprintln!("{why}; trying again for {seconds} s");
                    }
                    self.limit = (self.limit / 2).max(MIN_CALL_BYTES);
                    std::thread::sleep(PAUSE);
                }
            }
        }
        Ok(())
    }

    /// One call; the inner error may be gone when it is sent again.
    fn call(&self, rows: &[Vec<u8>]) -> Result<Result<Word, String>, Pushing> {
        let body: Vec<u8> =
            rows.iter().flat_map(|row| [row.as_slice(), b"\n"]).flatten().copied().collect();
        let path = format!("/v1/events/{}", self.stream);
        let media = Some("application/x-ndjson");
        let sent = self.client.request(Method::POST, &path, media, Bytes::from(body));
        match self.runtime.block_on(sent) {
            Ok(reply) if reply.status == StatusCode::OK => {
                serde_json::from_slice(&reply.body).map(Ok).map_err(|error| {
                    Pushing::Server(format!("the server's reply is not understood: {error}"))
                })
            }
            Ok(reply) if again(&reply) => Ok(Err(common::problem(reply.status, &reply.body))),
            Ok(reply) => Err(Pushing::Server(common::problem(reply.status, &reply.body))),
            Err(error @ (ClientError::Url { .. } | ClientError::Option { .. })) => {
                Err(Pushing::Server(error.to_string()))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Waits until all that the log holds now can be read, as long as the server gets on.
    pub(in crate::cli) fn wait_applied(&self) -> Result<(), Pushing> {
        let (mut wanted, mut applied) = (None, 0);
        let mut moved = Instant::now();
        loop {
            let why = match self.stand() {
                Ok(stand) => {
                    wanted = wanted.or(stand.log_records);
                    if wanted.is_some_and(|wanted| stand.applied_records >= wanted) {
                        return Ok(());
                    }
                    if stand.applied_records > applied {
                        (applied, moved) = (stand.applied_records, Instant::now());
                    }
                    format!("{applied} of {} records are applied", wanted.unwrap_or(0))
                }
                Err(error) => error,
            };
            if moved.elapsed() >= STALLED {
                return Err(Pushing::Server(format!(
                    "the events are safe in the log, but cannot be read yet: {why}, and no more \
                     for {} s\n  = help: see the server's log and /readyz?verbose; `trueup serve` \
                     applies nothing, `trueup run` and `trueup ingest` do",
                    STALLED.as_secs()
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn stand(&self) -> Result<Stand, String> {
        let sent = self.client.request(Method::GET, "/v1/status", None, Bytes::new());
        let reply = self.runtime.block_on(sent).map_err(|error| error.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(common::problem(reply.status, &reply.body));
        }
        let stands: Stands = serde_json::from_slice(&reply.body)
            .map_err(|error| format!("the server's status is not understood: {error}"))?;
        let own = stands.streams.into_iter().find(|stand| stand.stream == self.stream);
        own.ok_or_else(|| format!("the server has no stream {}", self.stream))
    }
}

/// How many of the first rows make a call of at most `limit` bytes; at least one.
fn fitting(rows: &[Vec<u8>], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Vec<u8>| {
        bytes += row.len() + 1;
        bytes <= limit
    };
    rows.iter().take_while(fits).count().max(1)
}

/// Whether the same call may succeed later.
fn again(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 408 | 429 | 503)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_call_takes_what_fits_and_never_nothing() {
        let rows = vec![vec![b'x'; 9]; 5];
        assert_eq!(fitting(&rows, 30), 3);
        assert_eq!(fitting(&rows, 1), 1);
        assert_eq!(fitting(&rows, 1_000), 5);
    }

    /// Whole calls sent again and again filled the log with repeats, and never came to an end.
    #[test]
    fn a_server_that_dies_under_large_calls_gets_smaller_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        // Takes calls of at most 256 KiB; at more it hangs up, as one that is killed does.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut text = Vec::new();
                let mut part = vec![0; 64 << 10];
                let length = loop {
                    let count = stream.read(&mut part).unwrap_or(0);
                    text.extend_from_slice(&part[..count]);
                    let head = String::from_utf8_lossy(&text).to_lowercase();
                    let Some((_, rest)) = head.split_once("content-length: ") else { continue };
                    let Some((length, _)) = rest.split_once("\r\n") else { continue };
                    break length.parse::<usize>().unwrap();
                };
                if length > 256 << 10 {
                    continue;
                }
                let whole = |text: &[u8]| {
                    let head = text.windows(4).position(|end| end == b"\r\n\r\n");
                    head.is_some_and(|head| text.len() >= head + 4 + length)
                };
                while !whole(&text) {
                    let count = stream.read(&mut part).unwrap();
                    text.extend_from_slice(&part[..count]);
                }
                let body = r#"{"accepted":1,"dead_letters":[]}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
                let reply = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        let options = crate::client::ClientOptions { base_url, ..Default::default() };
        let client = Client::new(&options).unwrap();
        let mut sender = Sender::new(client, "s", Duration::from_secs(20)).unwrap();
        let rows = vec![vec![b'x'; 1_000]; 1_000];
        let (mut sent, mut largest) = (0, 0);
        let told = sender.send(&rows, |call, _| {
            sent += call.len();
            largest = largest.max(call.len());
        });
        assert!(told.is_ok(), "{told:?}");
        assert!(sent == 1_000 && largest <= 262, "{sent} rows, {largest} in the largest call");
    }
}
