//! `trueup push`: a file's events to a server, sent again until they are acknowledged.

use super::Failure;
use super::common::{self, Output, SOME_REFUSED, TalkArgs};
use super::progress::bar;
use std::path::PathBuf;
use std::process::ExitCode;
use trueup_sql::decode::Decoder;

mod rows;
mod sender;

pub(super) use sender::{RETRY_FOR, Sender, TIMEOUT, Word};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events: a name that ends in .parquet, .csv or .jsonl
    file: PathBuf,
    /// The stream they are for; needed where the definitions have several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Return when the events can be read, not only when they are safe; fails if the server applies
    /// nothing more for 10 s
    #[arg(long)]
    wait: bool,
    /// How long to try again when the server does not answer
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    retry_for: String,
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let settings = args.talk.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let names: Vec<&str> = definitions.streams.iter().map(|stream| stream.name.as_str()).collect();
    let wanted = match (&args.stream, names.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [one]) => one,
        (None, _) => {
            let names = names.join(", ");
            return Err(format!("error: name the stream with --stream; there are: {names}").into());
        }
    };
    let stream = definitions.stream(wanted).ok_or_else(|| {
        format!("error: there is no stream {wanted}; there are: {}", names.join(", "))
    })?;
    let retry_for = crate::settings::duration(&args.retry_for)
        .map_err(|reason| format!("error: --retry-for {reason}"))?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    let mut sender = Sender::new(client, &stream.name, retry_for)?;
    let bar = bar(None, &format!("pushing {}", args.file.display()));
    let (mut accepted, mut refused) = (0, 0);
    let decoder = Decoder::new(std::sync::Arc::clone(stream));
    let file = args.file.display().to_string();
    let unknown = rows::read(&args.file, &decoder, |batch| {
        refused += batch.unsent.len();
        for origin in &batch.unsent {
            eprintln!("refused: {}", origin.refused(&file, None, &[]));
        }
        // Calls are parts of the batch, in its order.
        let mut origins = batch.origins.as_slice();
        sender.send(&batch.rows, |call, word| {
            accepted += word.accepted;
            refused += word.dead_letters.len();
            for letter in &word.dead_letters {
                let (Some(origin), Some(row)) = (origins.get(letter.index), call.get(letter.index))
                else {
                    continue;
                };
                eprintln!("refused: {}", origin.refused(&file, Some(letter), row));
            }
            origins = origins.get(call.len()..).unwrap_or_default();
            bar.inc((word.accepted + word.dead_letters.len()) as u64);
        })
    });
    let unknown = unknown.map_err(|error| format!("error: {error}"))?;
    bar.finish_and_clear();
    if !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
        eprintln!(
            "stream {} has no columns for these fields, and ignores them: {names}",
            stream.name
        );
    }
    match args.talk.output {
        Output::Text => println!("{accepted} events accepted, {refused} refused"),
        Output::Json => println!("{{\"accepted\":{accepted},\"refused\":{refused}}}"),
    }
    if args.wait {
        sender.wait_applied().map_err(|error| format!("error: {error}"))?;
    }
    Ok(if refused > 0 { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
}
