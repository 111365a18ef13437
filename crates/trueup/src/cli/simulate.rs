//! `trueup simulate`: card transactions, or the fraud reports about them, to a file, to standard
//! output, or to a server at a rate.

use super::Failure;
use super::common::{ServerArgs, SettingsArgs};
use super::push::{RETRY_FOR, Sender, TIMEOUT, Word};
use crate::simulate::{
    FileFormat, FraudReports, Record, SimulateOptions, Simulation, to_json, write,
};
use clap::ValueEnum;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trueup_sql::decode::timestamp;

/// Pushes a second at the most: each carries what is due.
const PUSHES_A_SECOND: f64 = 50.0;

/// Events of one push.
const PUSH_EVENTS: usize = 5_000;

/// Which of the two streams is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// The card transactions
    #[default]
    Transactions,
    /// The frauds among them as they are reported, days later
    FraudReports,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write: a name that ends in .parquet, .csv or .jsonl [default: JSON lines to
    /// standard output]
    #[arg(long, value_name = "PATH", conflicts_with = "push")]
    out: Option<PathBuf>,
    /// Push to a server instead
    #[arg(long)]
    push: bool,
    /// Events a second when pushing [default: as fast as it goes]
    #[arg(long, requires = "push")]
    rate: Option<f64>,
    /// Which stream
    #[arg(long, value_enum, default_value_t)]
    stream: Stream,
    /// How many transactions
    #[arg(long, default_value_t = SimulateOptions::default().events)]
    events: u64,
    /// How many users
    #[arg(long, default_value_t = SimulateOptions::default().users)]
    users: i64,
    /// How many merchants
    #[arg(long, default_value_t = SimulateOptions::default().merchants)]
    merchants: i64,
    /// Equal seeds give equal events
    #[arg(long, default_value_t = SimulateOptions::default().seed)]
    seed: u64,
    /// When it begins [default: 2026-09-01T00:00:00Z]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Over how many days
    #[arg(long, default_value_t = SimulateOptions::default().days)]
    days: f64,
    /// The id of the first transaction
    #[arg(long, default_value_t = SimulateOptions::default().first_id)]
    first_id: i64,
    /// Genuine transactions only
    #[arg(long)]
    no_fraud: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: crate::simulate::SimulateError| format!("error: {error}");
    let options = SimulateOptions {
        seed: args.seed,
        users: args.users,
        merchants: args.merchants,
        events: args.events,
        first_id: args.first_id,
        start: match &args.start {
            Some(said) => {
                timestamp(said).map_err(|bad| format!("error: --start: {}", bad.reason))?
            }
            None => SimulateOptions::default().start,
        },
        days: args.days,
        fraud: !args.no_fraud,
    };
    match args.stream {
        Stream::Transactions => send(args, Simulation::new(options).map_err(failed)?),
        Stream::FraudReports => send(args, FraudReports::new(options).map_err(failed)?),
    }
}

fn send<R: Record>(args: &Args, rows: impl Iterator<Item = R>) -> Result<(), Failure> {
    if args.push {
        return push(args, rows);
    }
    let failed = |error: crate::simulate::SimulateError| format!("error: {error}");
    let Some(path) = &args.out else {
        let closed = AtomicBool::new(false);
        let pipe = Pipe { out: std::io::stdout(), closed: &closed };
        let written = write(FileFormat::JsonLines, rows, pipe);
        // A reader that has seen enough (`head`) is no failure.
        return match written {
            Err(_) if closed.load(Ordering::Relaxed) => Ok(()),
            written => Ok(written.map(drop).map_err(failed)?),
        };
    };
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => FileFormat::Parquet,
        Some("csv") => FileFormat::Csv,
        Some("jsonl" | "ndjson") => FileFormat::JsonLines,
        _ => {
            let shown = path.display();
            return Err(format!("error: {shown} must end in .parquet, .csv or .jsonl").into());
        }
    };
    let file = File::create(path)
        .map_err(|error| format!("error: cannot make {}: {error}", path.display()))?;
    let count = write(format, rows, file).map_err(failed)?;
    println!("{count} events in {}", path.display());
    Ok(())
}

fn push<R: Record>(args: &Args, rows: impl Iterator<Item = R>) -> Result<(), Failure> {
    let settings = args.settings.load()?;
    let client = args.server.client(&settings, 1, TIMEOUT)?;
    let stream = match args.stream {
        Stream::Transactions => "transactions",
        Stream::FraudReports => "fraud_reports",
    };
    let mut sender = Sender::new(client, stream, RETRY_FOR)?;
    let each = match args.rate {
        Some(rate) if rate > 0.0 => ((rate / PUSHES_A_SECOND) as usize).clamp(1, PUSH_EVENTS),
        Some(_) => return Err("error: --rate must be above 0 events a second".into()),
        None => PUSH_EVENTS,
    };
    let began = Instant::now();
    let (mut sent, mut refused, mut rows) = (0u64, 0, rows.peekable());
    while rows.peek().is_some() {
        let line = |row: R| {
            let mut line = Vec::new();
            to_json(&row, &mut line);
            line
        };
        let lines: Vec<Vec<u8>> = rows.by_ref().take(each).map(line).collect();
        let word = |_: &[Vec<u8>], word: Word| refused += word.dead_letters.len();
        sender.send(&lines, word).map_err(|error| format!("error: {error}"))?;
        sent += lines.len() as u64;
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    if refused > 0 {
        eprintln!("{refused} events were refused; the server's log of dead letters says why");
    }
    println!("{sent} events pushed to {stream}");
    Ok(())
}

/// Standard output that remembers whether its reader has left.
struct Pipe<'a> {
    out: std::io::Stdout,
    closed: &'a AtomicBool,
}

impl Pipe<'_> {
    fn watched<T>(&self, done: std::io::Result<T>) -> std::io::Result<T> {
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.closed.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.out.write(bytes);
        self.watched(done)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let done = self.out.flush();
        self.watched(done)
    }
}
