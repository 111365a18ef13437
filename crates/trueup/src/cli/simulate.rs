//! `trueup simulate`: card transactions, or the fraud reports about them, to a file, to standard
//! output, or to a server at a rate.

use super::Failure;
use super::common::{self, ServerArgs, SettingsArgs};
use crate::client::Client;
use crate::simulate::{
    FileFormat, FraudReports, Record, SimulateOptions, Simulation, to_json, write,
};
use clap::ValueEnum;
use hyper::{Method, StatusCode};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trueup_core::{Micros, Value};
use trueup_sql::decode::{Cell, Decoder};
use trueup_sql::{SourceFile, compile};

/// How long a push to a server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

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
            Some(said) => time(said)?,
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

/// A time as events spell it, by the decoding table.
fn time(said: &str) -> Result<Micros, Failure> {
    let sql = "CREATE TABLE t (id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL) \
               WITH (event_time = 'at');";
    let file = SourceFile { name: "start".into(), text: sql.into() };
    let definitions = compile(&[file])?;
    let decoder = Decoder::new(definitions.streams[0].clone());
    match decoder.value(1, Cell::Text(said)) {
        Ok(Value::Time(us)) => Ok(Micros(us)),
        Ok(_) => Err("error: --start is empty; write it as 2026-09-01T00:00:00Z".into()),
        Err(bad) => Err(format!("error: --start {said}: {bad}").into()),
    }
}

fn send<R: Record>(args: &Args, rows: impl Iterator<Item = R>) -> Result<(), Failure> {
    if args.push {
        return push(args, rows);
    }
    let failed = |error: crate::simulate::SimulateError| format!("error: {error}");
    let Some(path) = &args.out else {
        write(FileFormat::JsonLines, rows, std::io::stdout()).map_err(failed)?;
        return Ok(());
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
    let runtime = common::runtime()?;
    let stream = match args.stream {
        Stream::Transactions => "transactions",
        Stream::FraudReports => "fraud_reports",
    };
    let path = format!("/v1/events/{stream}");
    let each = match args.rate {
        Some(rate) if rate > 0.0 => ((rate / PUSHES_A_SECOND) as usize).clamp(1, PUSH_EVENTS),
        Some(_) => return Err("error: --rate must be above 0 events a second".into()),
        None => PUSH_EVENTS,
    };
    let began = Instant::now();
    let (mut sent, mut rows) = (0u64, rows.peekable());
    while rows.peek().is_some() {
        let mut body = Vec::new();
        let mut count = 0;
        for row in rows.by_ref().take(each) {
            to_json(&row, &mut body);
            body.push(b'\n');
            count += 1;
        }
        runtime.block_on(post(&client, &path, body))?;
        sent += count;
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    println!("{sent} events pushed to {stream}");
    Ok(())
}

async fn post(client: &Client, path: &str, body: Vec<u8>) -> Result<(), Failure> {
    let sent = client.request(Method::POST, path, Some("application/x-ndjson"), body.into());
    let reply = sent.await.map_err(|error| format!("error: {error}"))?;
    match reply.status {
        StatusCode::OK => Ok(()),
        status => Err(format!("error: {}", common::problem(status, &reply.body)).into()),
    }
}
