//! `trueup init`: a new project that a person can start from.

use super::{Failure, common};
use crate::simulate::SIMULATED_SQL;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to make
    folder: PathBuf,
    /// Where the state is to be: a URL such as redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Where events come from: STREAM=URL, such as
    /// transactions=kafka://127.0.0.1:9092/transactions?group=fraud
    #[arg(long, value_name = "STREAM=URL")]
    source: Option<String>,
}

/// The settings file of a new project on parts that are there already.
fn settings_on(store: Option<&str>, source: Option<&str>) -> Result<String, Failure> {
    let mut lines = vec![("definitions", "definitions".to_string())];
    lines.push(("store", store.unwrap_or("embedded:data").to_string()));
    lines.extend(source.map(|source| ("source", source.to_string())));
    lines.push(("listen", "127.0.0.1:8080".to_string()));
    lines.push(("max_staleness", "10s".to_string()));
    let lines = lines.into_iter().map(|(name, said)| match said.contains(['"', '\\', '\n']) {
        false => Ok(format!("{name} = \"{said}\"\n")),
        true => Err(format!("error: --{name} {said:?} has a character that no URL has")),
    });
    Ok(lines.collect::<Result<String, _>>()?)
}

/// The settings file of a new project.
const SETTINGS: &str = "\
# Settings of all environments; those of [env.NAME], TRUEUP_ variables and flags go before them.
definitions = \"definitions\"        # a file of SQL, or a folder of them
max_staleness = \"10s\"              # older values are marked STALE

[env.dev]
store = \"embedded:data\"            # state and log, in this folder
listen = \"127.0.0.1:8080\"

[env.production]
store = \"embedded:/var/lib/trueup\" # production does not start unless its store is named
listen = \"127.0.0.1:8080\"          # any other address needs TRUEUP_TOKEN or token_file
";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let folder = &args.folder;
    let definitions = folder.join("definitions");
    std::fs::create_dir_all(&definitions)
        .map_err(|error| format!("error: cannot make {}: {error}", definitions.display()))?;
    let settings = match (&args.store, &args.source) {
        (None, None) => SETTINGS.to_string(),
        (store, source) => settings_on(store.as_deref(), source.as_deref())?,
    };
    write(&folder.join("trueup.toml"), &settings)?;
    write(&definitions.join("fraud.sql"), SIMULATED_SQL)?;
    write(&folder.join(".gitignore"), "/data\n")?;
    let folder = folder.display();
    common::print(&format!(
        "made {folder}: trueup.toml, definitions/fraud.sql\n\
         next:\n  cd {folder}\n  trueup check\n  trueup run\n"
    ))
}

/// Writes a file that must not be there yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let remedy = "choose a folder that has no project yet";
        format!("error: cannot make {}: {error}; {remedy}", path.display()).into()
    })
}
