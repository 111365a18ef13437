//! `trueup ingest`: files into the streams' logs, and what the logs hold into the store; then it
//! ends.

use super::Failure;
use super::common::{self, SOME_REFUSED, SettingsArgs};
use super::progress::bar;
use crate::clock::Clock;
use crate::ingest::{FileError, Loaded, NewBeginning, load};
use crate::node::{Node, NodeOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trueup_store::StoreError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Events to take in first: file:PATH, or STREAM=file:PATH where there are several streams;
    /// .parquet, .csv or .jsonl
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Where the log does not hold what comes after the state: drop that state and begin anew
    #[arg(long)]
    new_beginning: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::run::log_to_stderr();
    let settings = args.settings.load()?;
    let options = NodeOptions {
        catalog: common::catalog(&settings)?,
        place: settings.store.clone(),
        max_staleness: settings.max_staleness,
        token: None,
        ingest: true,
        policy: match args.new_beginning {
            true => NewBeginning::Declared,
            false => NewBeginning::Refuse,
        },
        clock: Clock::system(),
    };
    common::runtime()?.block_on(ingest(options, &args.source))
}

async fn ingest(options: NodeOptions, sources: &[String]) -> Result<ExitCode, Failure> {
    let streams = options.catalog.streams();
    let names: Vec<&str> = streams.iter().map(|part| part.stream.name.as_str()).collect();
    let sources = sources.iter().map(|said| source(said, &names)).collect::<Result<Vec<_>, _>>()?;
    let node = Node::start(options).map_err(|error| format!("error: {error}"))?;
    let mut refused = 0;
    for (stream, path) in &sources {
        refused += take_in(&node, *stream, path).await?;
    }
    let app = node.app();
    for (number, part) in app.catalog().streams().iter().enumerate() {
        let name = &part.stream.name;
        let end = app.pusher.log.info(name)?.map_or(0, |info| info.end);
        let progress = &app.pusher.progress[number];
        let bar = bar(Some(end), &format!("applying {name}"));
        while progress.applied().records < end {
            bar.set_position(progress.applied().records);
            // Either end of the wait leads back to the question above.
            let wait = progress.wait_for(progress.applied().records + 1);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), wait).await;
        }
        bar.finish_and_clear();
        println!("{name}: {end} events in the log, all applied");
    }
    node.stop().map_err(|error| format!("error: {error}"))?;
    Ok(if refused > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
}

/// The stream and the file of a source.
fn source(said: &str, names: &[&str]) -> Result<(usize, PathBuf), Failure> {
    let (stream, url) = match said.split_once('=') {
        Some((stream, url)) => (Some(stream), url),
        None => (None, said),
    };
    let place = match (stream, names) {
        (None, [_]) => Some(0),
        (None, _) => {
            let names = names.join(", ");
            let reason = format!("error: --source {said}: say which stream, as STREAM={said}; ");
            return Err(format!("{reason}there are: {names}").into());
        }
        (Some(stream), _) => names.iter().position(|name| *name == stream),
    };
    let place = place.ok_or_else(|| {
        format!("error: --source {said}: no such stream; there are: {}", names.join(", "))
    })?;
    let path = url.strip_prefix("file:").ok_or_else(|| {
        format!("error: --source {said}: this version takes file:PATH and HTTP push")
    })?;
    Ok((place, path.into()))
}

/// Pushes a file's events into a stream's log; returns how many were refused.
async fn take_in(node: &Node, stream: usize, path: &Path) -> Result<usize, Failure> {
    let pusher = &node.app().pusher;
    let decoder = &pusher.catalog.streams()[stream].decoder;
    let bar = bar(None, &format!("reading {}", path.display()));
    let runtime = tokio::runtime::Handle::current();
    let (mut taken, mut refused) = (0, 0);
    let hand = |loaded: Loaded| -> Result<(), Taking> {
        for bad in &loaded.bad {
            eprintln!("{}, {bad}", path.display());
        }
        refused += loaded.bad.len();
        let rows: Vec<&[u8]> = loaded.rows.iter().map(Vec::as_slice).collect();
        let pushed = runtime.block_on(pusher.push(stream, &rows)).map_err(Taking::Log)?;
        for rejected in &pushed.rejected {
            eprintln!("{}, an event: {}", path.display(), rejected.reason);
        }
        refused += pushed.rejected.len();
        taken += pushed.accepted;
        bar.inc(rows.len() as u64);
        Ok(())
    };
    tokio::task::block_in_place(|| load(path, decoder, hand))
        .map_err(|error| format!("error: {error}"))?;
    bar.finish_and_clear();
    println!("{}: {taken} events taken, {refused} refused", path.display());
    Ok(refused)
}

/// Why a file was not taken in to its end.
enum Taking {
    File(FileError),
    Log(StoreError),
}

impl From<FileError> for Taking {
    fn from(error: FileError) -> Taking {
        Taking::File(error)
    }
}

impl std::fmt::Display for Taking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Taking::File(error) => error.fmt(f),
            Taking::Log(error) => error.fmt(f),
        }
    }
}
