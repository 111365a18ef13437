//! `--history log`: all that the streams' logs hold, read from their files or, while a server has
//! these open, from the server. An event is known from the time that the log took it.

use super::Args;
use crate::cli::Failure;
use crate::cli::common;
use crate::client::Client;
use crate::place::Place;
use crate::settings::Settings;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trueup_offline::History;
use trueup_sql::decode::Decoder;
use trueup_sql::{Definitions, Stream};
use trueup_store::{Log, Options, StoreError};

/// Records that are decoded at a time.
const BATCH_RECORDS: usize = 65_536;

/// Bytes of records that are decoded at a time.
const BATCH_BYTES: usize = 16 << 20;

/// How long a server may take for one part of its log.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The history of every stream of the definitions.
pub(super) fn histories(
    args: &Args,
    settings: &Settings,
    definitions: &Definitions,
) -> Result<Vec<History>, Failure> {
    if args.talk.server.is_named() {
        return from_server(args, settings, definitions);
    }
    let Place::Embedded(dir) = &settings.store else {
        return from_server(args, settings, definitions);
    };
    match open(dir) {
        Ok(log) => {
            let read = |stream| from_log(&log, stream);
            definitions.streams.iter().map(read).collect()
        }
        Err(StoreError::InUse { .. }) => from_server(args, settings, definitions),
        Err(error) => Err(format!("error: {error}").into()),
    }
}

fn open(dir: &Path) -> Result<Log, StoreError> {
    if !dir.join("log.redb").exists() {
        let path = dir.join("log.redb").display().to_string();
        let detail = "there is no log yet; push events first".to_string();
        return Err(StoreError::Open { path, detail });
    }
    Log::open(dir, Options::LOG)
}

/// A part of a log: payloads and the times at which the log took them.
#[derive(Default)]
struct Batch {
    payloads: Vec<Vec<u8>>,
    times_us: Vec<i64>,
}

fn from_log(log: &Log, stream: &Arc<Stream>) -> Result<History, Failure> {
    let mut next = log.info(&stream.name)?.map_or(0, |info| info.first);
    gather(stream, "log", || {
        let records = log.read(&stream.name, next, BATCH_RECORDS, BATCH_BYTES)?;
        next += records.len() as u64;
        let times_us = records.iter().map(|record| record.time_us).collect();
        let payloads = records.into_iter().map(|record| record.payload).collect();
        Ok(Batch { payloads, times_us })
    })
}

/// A history of batches, until one is empty.
fn gather(
    stream: &Arc<Stream>,
    source: &str,
    mut batch: impl FnMut() -> Result<Batch, Failure>,
) -> Result<History, Failure> {
    let decoder = Decoder::new(Arc::clone(stream));
    let mut history = History::new(Arc::clone(stream));
    let mut before = 0;
    loop {
        let Batch { payloads, times_us } = batch()?;
        if payloads.is_empty() {
            return Ok(history);
        }
        let decoded = decoder.json_rows(&payloads)?;
        history.push(source, before, decoded, Some(&times_us))?;
        before += payloads.len() as u64;
    }
}

/// A line of a server's log.
#[derive(Deserialize)]
struct Line<'a> {
    offset: u64,
    log_time_us: i64,
    #[serde(borrow)]
    event: &'a RawValue,
}

fn from_server(
    args: &Args,
    settings: &Settings,
    definitions: &Definitions,
) -> Result<Vec<History>, Failure> {
    let client = args.talk.server.client(settings, 1, TIMEOUT)?;
    let runtime = common::runtime()?;
    let read = |stream: &Arc<Stream>| {
        let mut next = 0;
        gather(stream, "log of the server", || {
            let body = runtime.block_on(part(&client, &stream.name, next))?;
            let mut batch = Batch::default();
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Line<'_> = serde_json::from_slice(line)
                    .map_err(|error| format!("error: the server's log: {error}"))?;
                next = line.offset + 1;
                batch.times_us.push(line.log_time_us);
                batch.payloads.push(line.event.get().as_bytes().to_vec());
            }
            Ok(batch)
        })
    };
    definitions.streams.iter().map(read).collect()
}

async fn part(client: &Client, stream: &str, from: u64) -> Result<Bytes, Failure> {
    let path = format!("/v1/events/{stream}?from={from}");
    let reply = client.request(Method::GET, &path, None, Bytes::new()).await;
    let reply = reply.map_err(|error| format!("error: {error}"))?;
    match reply.status {
        StatusCode::OK => Ok(reply.body),
        status => Err(format!("error: {}", common::problem(status, &reply.body)).into()),
    }
}
