//! `trueup init`: a new project that a person can start from.

use super::Failure;
use crate::simulate::SIMULATED_SQL;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to make
    folder: PathBuf,
}

/// The settings file of a new project.
const SETTINGS: &str = "\
# Settings of all environments; [env.NAME] goes before them, TRUEUP_ variables and flags before that.
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
    write(&folder.join("trueup.toml"), SETTINGS)?;
    write(&definitions.join("fraud.sql"), SIMULATED_SQL)?;
    write(&folder.join(".gitignore"), "/data\n")?;
    println!("made {}: trueup.toml, definitions/fraud.sql", folder.display());
    println!("next:");
    println!("  cd {}", folder.display());
    println!("  trueup check");
    println!("  trueup run");
    Ok(())
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
