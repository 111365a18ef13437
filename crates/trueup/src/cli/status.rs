//! `trueup status`: how far everything is, for the one who is paged. It asks store and sources by
//! the settings, so no server need run; where one process has the state for itself, it asks that.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use super::run::told_to_stop;
use crate::status::Status;
use screen::Screen;
use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

mod asker;
mod screen;
mod text;

pub(super) use asker::Asker;

/// How long a server may take: it waits for the answers of store and brokers.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look every second, with rates: live in a terminal until q or Ctrl-C, else block after block
    #[arg(long)]
    watch: bool,
    /// Print JSON: the same as --output json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

impl Args {
    fn print(&self, status: &Status) -> String {
        match (self.json || self.talk.output == Output::Json, self.watch) {
            (false, _) => text::text(status),
            (true, false) => format!("{:#}\n", serde_json::json!(status)),
            (true, true) => format!("{}\n", serde_json::json!(status)),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // A picture would be drawn over by what is logged; what matters of it is told anyway.
    if !args.watch || !std::io::stdout().is_terminal() {
        super::log::to_stderr();
    }
    let settings = args.talk.settings.load()?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    let runtime = common::runtime()?;
    let done = runtime.block_on(async {
        let by_server = args.talk.server.is_named();
        let mut asker = Asker::new(settings, client, by_server, args.watch);
        match args.watch {
            true => watch(args, &mut asker).await,
            false => {
                let status = asker.ask().await;
                common::print(&args.print(&status))?;
                Ok(code(&status))
            }
        }
    });
    // A client of a broker that does not answer is not waited for.
    runtime.shutdown_background();
    done
}

/// Success if everything could be asked. What could not is said again where errors are read.
fn code(status: &Status) -> ExitCode {
    for trouble in &status.troubles {
        eprintln!("error: {trouble}");
    }
    if status.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn watch(args: &Args, asker: &mut Asker) -> Result<ExitCode, Failure> {
    let mut screen = Screen::open(args.json || args.talk.output == Output::Json);
    let mut stop = pin!(told_to_stop()?);
    let mut before: Option<(Instant, Status)> = None;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = screen.quit() => break,
            _ = ticks.tick() => {}
        }
        let status = tokio::select! {
            () = &mut stop => break,
            () = screen.quit() => break,
            status = asker.ask() => status,
        };
        let now = Instant::now();
        let shown = match &before {
            Some((then, earlier)) => {
                status.clone().since(earlier, now.duration_since(*then).as_secs_f64())
            }
            None => status.clone(),
        };
        screen.show(&args.print(&shown))?;
        before = Some((now, status));
    }
    drop(screen);
    Ok(before.map_or(ExitCode::SUCCESS, |(_, status)| code(&status)))
}
