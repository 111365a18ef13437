//! `trueup demo`: the whole story in one run, in a temporary folder that is removed at the end.

use super::Failure;
use crate::demo::{DemoOptions, Played, play};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Transactions to load, unless told: enough that a scan of them hurts.
const DEFAULT_EVENTS: u64 = 2_000_000;

/// The fewest that are a story; fewer have no windows to speak of.
const MIN_EVENTS: u64 = 1_000;

/// The most: they are held in memory while they are loaded, some 100 bytes each.
const MAX_EVENTS: u64 = 50_000_000;

/// Seconds of each measuring phase, unless told: seven of them leave the whole demo well below
/// three minutes on two processors.
const DEFAULT_SECONDS: u64 = 8;

/// The longest measuring phase, seconds.
const MAX_SECONDS: u64 = 600;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long each of the seven measuring phases takes
    #[arg(long, default_value_t = DEFAULT_SECONDS,
          value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    seconds: u64,
    /// Transactions to load
    #[arg(long, default_value_t = DEFAULT_EVENTS,
          value_parser = clap::value_parser!(u64).range(MIN_EVENTS..=MAX_EVENTS))]
    events: u64,
    /// Leave the server up until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a person can do next.
const NEXT: &str = "
next, a project of your own:
  trueup init my-project && cd my-project
  trueup check        # what the definitions say
  trueup run          # ingest and serve; then trueup push, get and train";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::Builder::new().prefix("trueup-demo-").tempdir()?;
    let played = runtime.block_on(until_stopped(args, &folder));
    let cleaned = folder.close();
    if played.is_err() {
        // Its threads may be deep in a database; they end with the process, which is about to.
        std::mem::forget(runtime);
    }
    played?;
    cleaned.map_err(|error| format!("error: cannot remove the temporary folder: {error}").into())
}

/// Plays the demo, or ends when the process is told to.
async fn until_stopped(args: &Args, folder: &TempDir) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let options = DemoOptions { events: args.events, seconds: Duration::from_secs(args.seconds) };
    let path = folder.path().to_path_buf();
    // A task of its own: it works in place for seconds, while this one listens.
    let playing = tokio::spawn(async move { play(options, &path).await });
    let Played { report, server, example } = tokio::select! {
        played = playing => played??,
        () = stop.wait() => return Err("interrupted".into()),
    };
    match args.json {
        true => println!("{}", report.json()),
        false => println!("\n{report}"),
    }
    if args.stay {
        show_server(&server.url(), &example, folder.path());
        stop.wait().await;
    }
    server.stop().await?;
    if !report.holds() {
        return Err("error: not every served row is equal to its training row".into());
    }
    eprintln!("{NEXT}");
    Ok(())
}

fn show_server(url: &str, example: &str, folder: &Path) {
    eprintln!("\nthe server stays up at {url} until Ctrl-C; its files are in {}", folder.display());
    for path in ["/v1/features/fraud", "/demo/index", "/demo/scan"] {
        eprintln!("  curl -s {url}{path} -H 'content-type: application/json' -d '{example}'");
    }
}

/// Ctrl-C and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Stop, Failure> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns when the process is told to end.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
