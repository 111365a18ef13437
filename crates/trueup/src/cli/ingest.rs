//! `trueup ingest`: files into the streams' logs, and what the logs hold into the store. Then it
//! ends, unless a stream comes from a broker: then it goes on until it is told to stop.

use super::Failure;
use super::common::{self, SOME_REFUSED, SettingsArgs};
use super::progress::bar;
use crate::clock::Clock;
use crate::http::server::{Wire, serve};
use crate::ingest::{FileError, Loaded, NewBeginning, PushError, load};
use crate::node::{Node, NodeOptions};
use crate::place::{SourcePlace, by_stream};
use crate::settings::Settings;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use trueup_offline::at_place;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where the log does not hold what comes after the state: drop that state and begin anew
    #[arg(long)]
    new_beginning: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::log::to_stderr();
    let settings = args.settings.load()?;
    let mut options = NodeOptions {
        catalog: common::catalog(&settings)?,
        place: settings.store.clone(),
        sources: settings.sources.clone(),
        avro: settings.avro.clone(),
        bad: settings.bad.clone(),
        database: None,
        views: Default::default(),
        record_to_log: true,
        models: None,
        max_staleness: settings.max_staleness,
        token: settings.token.clone(),
        ingest: true,
        policy: match args.new_beginning {
            true => NewBeginning::Declared,
            false => NewBeginning::Refuse,
        },
        clock: Clock::system(),
    };
    let streams = options.catalog.streams();
    let names: Vec<&str> = streams.iter().map(|part| part.stream.name.as_str()).collect();
    let places =
        by_stream(&options.sources, &names).map_err(|reason| format!("error: {reason}"))?;
    let mut files = Vec::new();
    for (stream, place) in places {
        if let SourcePlace::File(path) = place {
            files.push((names[stream].to_owned(), path));
        }
    }
    options.sources.retain(|(_, place)| !matches!(place, SourcePlace::File(_)));
    common::runtime()?.block_on(ingest(options, files, &settings))
}

async fn ingest(
    options: NodeOptions,
    files: Vec<(String, PathBuf)>,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let from_brokers = !options.sources.is_empty();
    let listener = match settings.ingest_listen {
        Some(address) => Some(super::run::listen(address, settings).await?),
        None => None,
    };
    let stop = super::run::stop_signal()?;
    let node = Node::start(options).map_err(|error| format!("error: {error}"))?;
    let served = listener.map(|(listener, address)| {
        eprintln!("listening on http://{address}");
        let (app, router) = (Arc::clone(node.app()), node.operations());
        tokio::spawn(async move {
            serve(listener, router, &app, Wire::Http1, std::future::pending()).await;
        })
    });
    if served.is_none() && from_brokers {
        tracing::warn!(
            "no --listen and no ingest_listen: this process shows no health and no metrics"
        );
    }
    let mut refused = 0;
    for (stream, path) in &files {
        refused += take_in(&node, stream, path).await?;
    }
    if from_brokers {
        eprintln!("applying events until told to stop");
        let mut stop = std::pin::pin!(stop);
        while node.is_working() {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    } else {
        apply_all(&node).await;
    }
    node.app().health.stopping.store(true, Ordering::SeqCst);
    let stopped = tokio::task::block_in_place(|| node.stop());
    // It tells until the end that the process is ending.
    served.inspect(|served| served.abort());
    stopped.map_err(|error| format!("error: {error}"))?;
    Ok(if refused > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
}

/// Waits until all that the local logs have is applied, or a worker has ended.
async fn apply_all(node: &Node) {
    let live = node.app().live();
    for (number, part) in live.catalog().streams().iter().enumerate() {
        let name = &part.stream.name;
        let end = live.pusher.end(number).unwrap_or(0);
        let progress = &live.pusher.progress[number];
        let bar = bar(Some(end), &format!("applying {name}"));
        while progress.applied().records < end {
            if !node.is_working() {
                return;
            }
            bar.set_position(progress.applied().records);
            let next = [(0, progress.applied().records + 1)];
            // Either end of the wait leads back to the question above.
            let _ = tokio::time::timeout(LOOK, progress.wait_for(&next)).await;
        }
        bar.finish_and_clear();
        println!("{name}: {end} events in the log, all applied");
    }
    serve_candidate(node).await;
}

/// Waits until definitions that are on their way are in service, unless they lack what the log does
/// not bring.
async fn serve_candidate(node: &Node) {
    let on_its_way = || {
        let told = node.app().told();
        let lacks = told.candidate.as_ref().map(|candidate| candidate.stuck.is_empty());
        (lacks == Some(true)).then(|| told.sentence()).flatten()
    };
    let Some(sentence) = on_its_way() else { return };
    eprintln!("{sentence}");
    while on_its_way().is_some() && node.is_working() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Pushes a file's events into a stream's log; returns how many were refused.
async fn take_in(node: &Node, stream: &str, path: &Path) -> Result<usize, Failure> {
    // The definitions in service need not be those of the files, nor number streams alike.
    let live = node.app().live();
    let pusher = &live.pusher;
    let streams = pusher.catalog.streams();
    let stream = streams.iter().position(|part| part.stream.name == stream).ok_or_else(|| {
        format!(
            "error: {}: stream {stream} comes with definitions that are not in service yet; take \
             it in when they are, as /readyz?verbose says",
            path.display()
        )
    })?;
    let decoder = &pusher.catalog.streams()[stream].decoder;
    let bar = bar(None, &format!("reading {}", path.display()));
    let runtime = tokio::runtime::Handle::current();
    let file = path.display().to_string();
    let (mut taken, mut refused) = (0, 0);
    let hand = |loaded: Loaded| -> Result<(), Taking> {
        for bad in &loaded.bad {
            // This is the log of a process: whoever wants the value has the file.
            let (place, column) = (loaded.kind.place(bad.index), bad.column.as_deref());
            eprintln!("{}", at_place(&file, place, column, bad.fault.name()));
        }
        refused += loaded.bad.len();
        let rows: Vec<&[u8]> = loaded.rows.iter().map(Vec::as_slice).collect();
        let pushed = runtime.block_on(pusher.push(stream, &rows)).map_err(Taking::Log)?;
        for rejected in &pushed.rejected {
            let place = loaded.kind.place(loaded.kept[rejected.index]);
            let column = rejected.column.as_deref();
            eprintln!("{}", at_place(&file, place, column, "see its dead letter"));
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
    Log(PushError),
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
