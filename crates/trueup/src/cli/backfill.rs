//! `trueup backfill`: the state of a stream's groups from its history; then its log takes over.

use super::Failure;
use super::common::{self, Output, SOME_REFUSED, SettingsArgs};
use super::progress::bar;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ingest::backfill::{
    Asked, BackfillError, Begun, Files, Finish, History, LogState, Plan, Target, UpTo,
};
use crate::ingest::source::SourceError;
use crate::ingest::{IngestError, NewBeginning, Progress, Worker, WorkerOptions};
use crate::node;
use crate::place::{Place, SourcePlace, by_stream};
use crate::release;
use crate::settings::Settings;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::decode::timestamp;
use trueup_store::{Log, Store};

mod report;

/// There is no other worker beside a backfill's.
const LANE: u64 = 0;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The events: a file or a folder of Parquet, CSV or JSON lines, in any order
    #[arg(long, value_name = "PATH", required_unless_present = "abandon")]
    history: Option<PathBuf>,
    /// The stream they are of; needed where the definitions have several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Up to where of the stream's log the history reaches: `first`, it holds what was before the
    /// first record that the log has; `end`, it holds all that the log has now; or for each
    /// partition the first offset that it has not, as 0:1234,1:987 [default: first]
    #[arg(long, value_name = "PLACE")]
    up_to: Option<UpTo>,
    /// Since when the history is complete, if it does not reach back for ever
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Drop the state that is there, and build it anew
    #[arg(long)]
    again: bool,
    /// Drop what a backfill has built that was broken off, and build nothing
    #[arg(long, conflicts_with_all = ["history", "again", "up_to", "since"])]
    abandon: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::log::to_stderr();
    let settings = args.settings.load()?;
    if settings.store == Place::Memory {
        let why = "error: in the store memory: nothing would be left of it; name another --store";
        return Err(why.into());
    }
    let catalog = common::catalog(&settings)?;
    let stream = stream(args, &catalog)?;
    let runtime = common::runtime()?;
    runtime.block_on(async {
        let job = Job::open(&settings, catalog, stream).await?;
        match &args.history {
            Some(_) => job.run(args).await,
            None => job.abandon().await,
        }
    })
}

/// The number of the stream that is meant.
fn stream(args: &Args, catalog: &Catalog) -> Result<usize, Failure> {
    let streams = catalog.streams();
    match &args.stream {
        None if streams.len() == 1 => Ok(0),
        None => {
            let names = catalog.stream_names();
            Err(format!("error: name the stream with --stream; there are: {names}").into())
        }
        Some(name) => streams.iter().position(|part| part.stream.name == *name).ok_or_else(|| {
            let names = catalog.stream_names();
            format!("error: there is no stream {name}; there are: {names}").into()
        }),
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    format!("error: {error}").into()
}

/// A stream's groups, log and store, for one backfill.
struct Job {
    catalog: Arc<Catalog>,
    stream: usize,
    store: Arc<dyn Store>,
    /// Local logs, and dead letters.
    logs: Arc<Log>,
    source: Option<SourcePlace>,
    target: Target,
    progress: Arc<Progress>,
    /// Bytes of the history that were read.
    read: Arc<AtomicU64>,
}

impl Job {
    async fn open(
        settings: &Settings,
        catalog: Arc<Catalog>,
        stream: usize,
    ) -> Result<Job, Failure> {
        let names: Vec<&str> =
            catalog.streams().iter().map(|part| part.stream.name.as_str()).collect();
        let mut sources = by_stream(&settings.sources, &names).map_err(failed)?;
        sources.retain(|(of, place)| *of == stream && !matches!(place, SourcePlace::File(_)));
        let (store, logs) = node::open(&settings.store, true).await.map_err(failed)?;
        let target = Target::new(Arc::clone(&catalog), stream, Arc::clone(&store));
        Ok(Job {
            catalog,
            stream,
            store,
            logs: logs.ok_or("error: there is no place for dead letters; set `data`")?,
            source: sources.pop().map(|(_, place)| place),
            target,
            progress: Arc::default(),
            read: Arc::default(),
        })
    }

    fn stream_name(&self) -> &str {
        &self.catalog.streams()[self.stream].stream.name
    }

    /// Of the stream's groups.
    fn digests(&self) -> Vec<String> {
        let groups = self.catalog.streams()[self.stream].groups.iter();
        groups.map(|&group| self.catalog.group(group).digest.to_string()).collect()
    }

    /// What the stream's log has now.
    fn log(&self) -> Result<LogState, SourceError> {
        let name = self.stream_name();
        block_in_place(|| node::log_state(self.source.as_ref(), name, &self.logs))
    }

    async fn abandon(&self) -> Result<ExitCode, Failure> {
        if !self.target.is_under_way().await.map_err(failed)? {
            let name = self.stream_name();
            return Err(format!("error: no backfill of stream {name} was broken off").into());
        }
        self.target.drop_all().await.map_err(failed)?;
        println!("{}: what the backfill had built is dropped", self.stream_name());
        Ok(ExitCode::SUCCESS)
    }

    async fn run(&self, args: &Args) -> Result<ExitCode, Failure> {
        let path = args.history.as_ref().ok_or("error: name the --history")?;
        let since_us = args.since.as_ref().map(|said| timestamp(said)).transpose();
        let since_us = since_us.map_err(|bad| format!("error: --since: {}", bad.reason))?;
        let files = Files::at(path).map_err(|error| failed(BackfillError::History(error)))?;
        let asked = Asked {
            files: files.clone(),
            up_to: args.up_to.clone(),
            since_us: since_us.map(|since| since.0),
            again: args.again,
        };
        let mut stop = pin!(super::run::stop_signal()?);
        let log = self.log().map_err(failed)?;
        let now = Clock::system().now();
        release::free(&*self.store, &self.digests(), now.0).await.map_err(failed)?;
        let begun = self.target.begin(&log, &asked, now).await;
        let begun = begun.map_err(failed)?;
        self.tell(&files, &begun);
        let began = Instant::now();
        if !begun.is_done && !self.fill(&files, &begun.plan, &mut stop).await? {
            let at = files.place(self.progress.applied().records);
            eprintln!("stopped at {at}; give the same command to go on from there");
            return Ok(ExitCode::FAILURE);
        }
        let report = report::Report {
            stream: self.stream_name(),
            history: path,
            plan: &begun.plan,
            counts: &self.progress.counts,
            seconds: began.elapsed().as_secs_f64(),
            keys: self.store.stats().await.map_err(failed)?.keys,
        };
        common::print(&report.print(args.output))?;
        let dead = self.progress.counts.dead_letters.load(Ordering::Relaxed);
        Ok(if dead > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
    }

    /// Says what will be done, before it takes its time.
    fn tell(&self, files: &Files, begun: &Begun) {
        let (name, plan) = (self.stream_name(), &begun.plan);
        let at = Timestamp(plan.begun_us);
        match (begun.is_done, begun.from) {
            (true, _) => eprintln!("{name}: this history is in already; nothing is done"),
            (false, Some(from)) => {
                let from = files.place(from);
                eprintln!("{name}: the backfill that was begun at {at} goes on at {from}");
            }
            (false, None) => {
                eprintln!("{name}: {} files, {} bytes", files.count(), files.bytes());
            }
        }
    }

    /// Reads the history into the state until the log can take over; `false` if told to stop.
    async fn fill(
        &self,
        files: &Files,
        plan: &Plan,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Result<bool, Failure> {
        let bar = bar(Some(files.bytes()), "reading bytes");
        loop {
            let worker = block_in_place(|| self.worker(files, plan)).map_err(failed)?;
            let stopped = loop {
                bar.set_position(self.read.load(Ordering::Relaxed));
                tokio::select! {
                    () = &mut stop => break true,
                    () = tokio::time::sleep(LOOK) => {}
                }
                if !worker.is_running() {
                    break false;
                }
            };
            block_in_place(|| worker.stop()).map_err(failed)?;
            if stopped {
                return Ok(false);
            }
            let rows = self.progress.history_end().ok_or_else(|| {
                failed("the worker has ended before the history; give the same command again")
            })?;
            let log = self.log().map_err(failed)?;
            let finished = tokio::select! {
                () = &mut stop => return Ok(false),
                finished = self.target.finish(&log, plan, rows) => finished,
            };
            if finished.map_err(failed)? == Finish::Done {
                bar.finish_and_clear();
                return Ok(true);
            }
        }
    }

    fn worker(&self, files: &Files, plan: &Plan) -> Result<Worker, IngestError> {
        let options = WorkerOptions {
            catalog: Arc::clone(&self.catalog),
            stream: self.stream,
            avro: None,
            letters: Arc::clone(&self.logs),
            // A history's rows are at hand: letters tell which, and nothing of them need be
            // remembered or sent elsewhere.
            letterbox: None,
            max_bad_percent: None,
            data: None,
            store: Arc::clone(&self.store),
            clock: Clock::system(),
            progress: Arc::clone(&self.progress),
            lane: LANE,
            wake: Arc::default(),
            policy: NewBeginning::Refuse,
        };
        let decoder = self.catalog.streams()[self.stream].decoder.clone();
        let history = History::new(files.clone(), decoder, Arc::clone(&self.read));
        Worker::fill(options, history, plan.clone(), &tokio::runtime::Handle::current())
    }
}
