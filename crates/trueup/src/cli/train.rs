//! `trueup train`: a view's rows over a history, to a file.

use super::{Failure, definitions};
use std::path::PathBuf;
use trueup_offline::{Format, History, Options, RequestRows, UNWATCHED, train, write};
use trueup_sql::Definitions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view whose rows are wanted
    view: String,
    /// A file of SQL, or a folder of them
    #[arg(long, env = "TRUEUP_DEFINITIONS")]
    definitions: PathBuf,
    /// A stream's events, a file or a folder of Parquet, CSV or JSON lines: PATH for the view's own
    /// stream, or STREAM=PATH; may be given several times
    #[arg(long, required = true)]
    history: Vec<String>,
    /// Request rows, as a history; without them the rows are the history's own events
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Where to write: a name that ends in .parquet, .arrow or .csv
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(format) = Format::of(&args.out) else {
        let shown = args.out.display();
        return Err(format!("error: {shown} must end in .parquet, .arrow or .csv").into());
    };
    let definitions = definitions::load(&args.definitions)?;
    let view = definitions.view(&args.view).ok_or_else(|| {
        let names: Vec<&str> = definitions.views.iter().map(|v| v.name.as_str()).collect();
        format!("error: there is no view {}; there are: {}", args.view, names.join(", "))
    })?;
    let own = &definitions.streams[view.stream];
    let histories = args.history.iter().map(|said| history(&definitions, &own.name, said));
    let histories = histories.collect::<Result<Vec<_>, _>>()?;
    let rows = args.rows.as_ref().map(|path| RequestRows::read(own, path, UNWATCHED));
    let rows = rows.transpose()?;
    let options = Options { rows: rows.as_ref(), ..Options::default() };
    let set = train(&definitions, &args.view, &histories, &options)?;
    let written = write(&args.out, format, &set)?;
    let (out, manifest) = (args.out.display(), written.manifest_path.display());
    eprintln!("{} rows to {out}, manifest in {manifest}", set.counts().rows);
    let dead = set.counts().dead_letters.total();
    if dead > 0 {
        eprintln!("{dead} events left out, as the pipeline would; the manifest says which");
    }
    let unknown = written.manifest.unknown_cells();
    if unknown > 0 {
        eprintln!("{unknown} cells are NULL because their value is unknown");
    }
    Ok(())
}

fn history(definitions: &Definitions, own: &str, said: &str) -> Result<History, Failure> {
    let (name, path) = said.split_once('=').unwrap_or((own, said));
    let stream = definitions.stream(name).ok_or_else(|| {
        format!("error: --history {said}: there is no stream {name} in the definitions")
    })?;
    Ok(History::read(stream, path.as_ref(), UNWATCHED)?)
}
