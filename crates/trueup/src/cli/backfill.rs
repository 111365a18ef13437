//! `trueup backfill`: the state of a stream's groups from its history; then its log takes over.

use super::Failure;
use super::common::{self, Output, SOME_REFUSED, SettingsArgs, failed};
use super::progress::bar;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ingest::backfill::{
    Asked, BackfillError, Begun, Files, Finish, History, LogState, Plan, Target, UpTo,
};
use crate::ingest::source::SourceError;
use crate::ingest::{IngestError, NewBeginning, Past, Progress, Worker, WorkerOptions};
use crate::node;
use crate::place::{Place, SourcePlace, by_stream};
use crate::release;
use crate::settings::Settings;
use crate::spool::{Complete, DATABASE, SCHEME, Spool};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use trueup_sql::decode::print::Timestamp;
use trueup_sql::decode::timestamp;
use trueup_store::{Log, Store};

mod copy;
mod report;

/// There is no other worker beside a backfill's.
const LANE: u64 = 0;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The events: a file or a folder of Parquet, CSV or JSON lines, in any order, or the same at
    /// s3://BUCKET/PREFIX; or `database`, the stream's table in the database of the settings
    /// (./database is a folder of that name)
    #[arg(long, value_name = "PATH", required_unless_present = "abandon")]
    history: Option<PathBuf>,
    /// The stream they are of; needed where the definitions have several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Up to where of the stream's log the history reaches: `first`, it holds what was before the
    /// first record that the log has; `end`, it holds all that the log has now; or for each
    /// partition the first offset that it has not, as 0:1234,1:987 [default: first]. It must be
    /// said of a database, which may hold more: what the log has from there on is left out of it
    #[arg(long, value_name = "PLACE")]
    up_to: Option<UpTo>,
    /// Of a database: how much later than the table the log may have an event
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    log_lag: String,
    /// Of a database: the most events that the log may have from --up-to on; their ids are held in
    /// memory, 16 bytes each
    #[arg(long, value_name = "EVENTS", default_value_t = 20_000_000)]
    overlap: usize,
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
            Some(_) => job.run(args, &settings).await,
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

/// The files to read: those of a path, or of a copy.
fn history(said: &Path, copy: Option<&Complete>) -> Result<Files, Failure> {
    let files = match copy {
        None => Files::at(said),
        Some(copy) => copy.files().and_then(|all| Files::of(copy.manifest.of.clone(), all)),
    };
    files.map_err(|error| failed(BackfillError::History(error)))
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
    /// Of this process.
    data: PathBuf,
    /// Where its history is copied that is not here.
    spool: Spool,
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
        let (store, logs) = node::open_at_start(&settings.store, true).await.map_err(failed)?;
        let target = Target::new(Arc::clone(&catalog), stream, Arc::clone(&store));
        let data =
            settings.store.data().ok_or("error: there is no place for a copy; set `data`")?;
        let spool = Spool::new(data, names[stream]);
        Ok(Job {
            data: data.to_owned(),
            spool,
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
        let mut past = Past::of(self.stream_name(), Some(&self.data));
        past.retract(&*self.store).await.map_err(failed)?;
        self.spool.remove().map_err(failed)?;
        println!("{}: what the backfill had built is dropped", self.stream_name());
        Ok(ExitCode::SUCCESS)
    }

    async fn run(&self, args: &Args, settings: &Settings) -> Result<ExitCode, Failure> {
        let said = args.history.as_ref().ok_or("error: name the --history")?;
        let since_us = args.since.as_ref().map(|said| timestamp(said)).transpose();
        let since_us = since_us.map_err(|bad| format!("error: --since: {}", bad.reason))?;
        let mut stop = pin!(super::run::stop_signal()?);
        let copy = tokio::select! {
            () = &mut stop => {
                eprintln!("stopped before the copy was whole; the same command makes it");
                return Ok(ExitCode::FAILURE);
            }
            copied = self.copied(args, settings) => copied?,
        };
        let files = history(said, copy.as_ref())?;
        let up_to = copy.as_ref().and_then(|copy| copy.manifest.up_to.clone()).map(UpTo::Places);
        let asked = Asked {
            files: files.clone(),
            up_to: up_to.or_else(|| args.up_to.clone()),
            since_us: since_us.map(|since| since.0),
            again: args.again,
        };
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
            history: files.name(),
            left_out: copy
                .as_ref()
                .filter(|copy| copy.manifest.up_to.is_some())
                .map(|copy| copy.manifest.left_out),
            plan: &begun.plan,
            counts: &self.progress.counts,
            seconds: began.elapsed().as_secs_f64(),
            keys: self.store.stats().await.map_err(failed)?.keys,
        };
        // No plan is under way that would go on with it.
        self.spool.remove().map_err(failed)?;
        common::print(&report.print(args.output))?;
        let dead = self.progress.counts.dead_letters.load(Ordering::Relaxed);
        Ok(if dead > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
    }

    /// The copy of a history that is not here; none of one that is.
    async fn copied(&self, args: &Args, settings: &Settings) -> Result<Option<Complete>, Failure> {
        let said = args.history.as_deref().unwrap_or(Path::new(""));
        if said == Path::new(DATABASE) {
            return copy::of_table(self, args, settings).await.map(Some);
        }
        match said.to_str().filter(|said| said.starts_with(SCHEME)) {
            Some(said) => copy::of_objects(self, args, said).await.map(Some),
            None => Ok(None),
        }
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
