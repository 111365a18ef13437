//! `trueup train`: a view's rows over a history, to a file.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use super::progress::bar;
use crate::settings::Settings;
use crate::spool::{DATABASE, SCHEME};
use std::path::{Path, PathBuf};
use trueup_offline::{Format, History, Options, Phase, Progress, RequestRows, train, write};
use trueup_sql::Definitions;

mod database;
mod log;
mod s3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view whose rows are wanted
    view: String,
    /// The events: PATH for the view's own stream, or STREAM=PATH; a file or a folder of Parquet,
    /// CSV or JSON lines, or s3://BUCKET/PREFIX; may be given several times. `log` takes all
    /// streams from the log;
    /// `database` and STREAM=database take a stream from its table in the settings' database
    #[arg(long, required = true, value_name = "PATH")]
    history: Vec<String>,
    /// Request rows, in the same formats; without them the rows are the history's own events
    #[arg(long, value_name = "PATH")]
    rows: Option<PathBuf>,
    /// Where to write: a name that ends in .parquet, .arrow or .csv
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(format) = Format::of(&args.out) else {
        let shown = args.out.display();
        return Err(format!("error: {shown} must end in .parquet, .arrow or .csv").into());
    };
    keep_inputs(args)?;
    let settings = args.talk.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let view = definitions.view(&args.view).ok_or_else(|| {
        let names: Vec<&str> = definitions.views.iter().map(|v| v.name.as_str()).collect();
        format!("error: there is no view {}; there are: {}", args.view, names.join(", "))
    })?;
    let failed = |error: trueup_offline::OfflineError| format!("error: {error}");
    let bar = bar(Some(1), "training");
    let watch = |progress: Progress| {
        bar.set_message(phase(progress.phase));
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let own = &definitions.streams[view.stream];
    let mut histories = Vec::new();
    for said in &args.history {
        histories.extend(history(args, &settings, &definitions, &own.name, said, &watch)?);
    }
    histories.iter().try_for_each(some_events)?;
    let rows = args.rows.as_ref().map(|path| RequestRows::read(own, path, &watch));
    let rows = rows.transpose().map_err(failed)?;
    let options = Options { rows: rows.as_ref(), watch: &watch, ..Options::default() };
    let set = train(&definitions, &args.view, &histories, &options).map_err(failed)?;
    let written = write(&args.out, format, &set).map_err(failed)?;
    bar.finish_and_clear();
    let rows = set.counts().rows;
    let dead = set.counts().dead_letters.total();
    let unknown = written.manifest.unknown_cells();
    if dead > 0 {
        eprintln!("{dead} events left out, as the pipeline would; the manifest says which");
    }
    if unknown > 0 {
        eprintln!("{unknown} cells are NULL because their value is unknown");
    }
    match args.talk.output {
        Output::Json => println!("{}", written.manifest.json()),
        Output::Text => {
            let (out, manifest) = (args.out.display(), written.manifest_path.display());
            println!("{rows} rows in {out}, what they are made of in {manifest}");
        }
    }
    Ok(())
}

/// Refuses to write the training set over what it is made from.
fn keep_inputs(args: &Args) -> Result<(), Failure> {
    let out = args.out.display();
    let Ok(written) = args.out.canonicalize() else { return Ok(()) };
    let histories = args.history.iter().filter(|said| *said != "log").map(|said| {
        let path = said.split_once('=').map_or(said.as_str(), |(_, path)| path);
        ("--history", Path::new(path))
    });
    let rows = args.rows.iter().map(|path| ("--rows", path.as_path()));
    for (flag, path) in histories.chain(rows) {
        let Ok(read) = path.canonicalize() else { continue };
        if written == read || written.parent() == Some(&read) {
            let read = path.display();
            return Err(format!(
                "error: --out {out} would overwrite what {flag} {read} reads\n  = help: name \
                 another file, outside of that folder if it is one"
            )
            .into());
        }
    }
    Ok(())
}

/// Refuses a history of which no event could be taken: it is a file of something else.
fn some_events(history: &History) -> Result<(), Failure> {
    let dead = history.dead_letters();
    if history.events() > 0 || dead.total() == 0 {
        return Ok(());
    }
    let first =
        dead.first().first().map(|letter| format!("; the first: {letter}")).unwrap_or_default();
    let (stream, total) = (&history.stream().name, dead.total());
    Err(format!(
        "error: none of the {total} rows of the history of stream {stream} is an event of \
         it{first}\n  = help: check that the file is of this stream; nothing was written"
    )
    .into())
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Read => "reading bytes",
        Phase::Answer => "answering",
        Phase::Write => "writing rows",
    }
}

/// The histories that one `--history` names.
fn history(
    args: &Args,
    settings: &Settings,
    definitions: &Definitions,
    own: &str,
    said: &str,
    watch: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<History>, Failure> {
    if said == "log" {
        return log::histories(args, settings, definitions);
    }
    let (name, path) = said.split_once('=').unwrap_or((own, said));
    let stream = definitions.stream(name).ok_or_else(|| {
        format!("error: --history {said}: there is no stream {name} in the definitions")
    })?;
    if path == DATABASE {
        return Ok(vec![database::history(settings, stream)?]);
    }
    if path.starts_with(SCHEME) {
        return Ok(vec![s3::history(args, stream, path, watch)?]);
    }
    let read = History::read(stream, path.as_ref(), watch);
    Ok(vec![read.map_err(|error| format!("error: {error}"))?])
}
