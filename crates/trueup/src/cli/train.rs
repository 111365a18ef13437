//! `trueup train`: a view's rows over a history, to a file.

use super::Failure;
use super::common::{self, SettingsArgs};
use std::path::PathBuf;
use trueup_offline::{Format, History, Manifest, Options, read_parquet, train, write};
use trueup_sql::Definitions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view whose rows are wanted
    view: String,
    /// A stream's events as Parquet: PATH for the view's own stream, or STREAM=PATH; may be given
    /// several times
    #[arg(long, required = true)]
    history: Vec<String>,
    /// Request rows as Parquet; without them the rows are the history's own events
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Where to write: a name that ends in .parquet, .arrow or .csv
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(format) = Format::of(&args.out) else {
        let shown = args.out.display();
        return Err(format!("error: {shown} must end in .parquet, .arrow or .csv").into());
    };
    let settings = args.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let view = definitions.view(&args.view).ok_or_else(|| {
        let names: Vec<&str> = definitions.views.iter().map(|v| v.name.as_str()).collect();
        format!("error: there is no view {}; there are: {}", args.view, names.join(", "))
    })?;
    let own = &definitions.streams[view.stream];
    let histories = args.history.iter().map(|said| history(&definitions, &own.name, said));
    let histories = histories.collect::<Result<Vec<_>, _>>()?;
    let rows = match &args.rows {
        Some(path) => Some(read_parquet(path, own)?.events),
        None => None,
    };
    let trained = train(&definitions, &args.view, &histories, &Options { rows })?;
    let manifest = Manifest::new(view, &trained, &args.history);
    let beside = write(&args.out, format, &trained, &manifest)?;
    let rows: usize = trained.batches.iter().map(|batch| batch.num_rows()).sum();
    eprintln!("{rows} rows to {}, manifest in {}", args.out.display(), beside.display());
    if trained.unknown > 0 {
        eprintln!("{} cells are NULL because their value is unknown", trained.unknown);
    }
    Ok(())
}

fn history(definitions: &Definitions, own: &str, said: &str) -> Result<History, Failure> {
    let (name, path) = said.split_once('=').unwrap_or((own, said));
    let stream = definitions.stream(name).ok_or_else(|| {
        format!("error: --history {said}: there is no stream {name} in the definitions")
    })?;
    Ok(read_parquet(path.as_ref(), stream)?)
}
