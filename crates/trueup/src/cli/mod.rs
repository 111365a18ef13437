//! The commands. Data goes to standard output, all else to standard error; exit code 0 is success, 1 a failure that the
//! message explains, 2 a command line that does not parse.

mod check;
mod definitions;
mod demo;
mod train;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Why a command failed, in words for the person who ran it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A real-time feature store for fraud models: the number a model was trained on is the number it is served.
#[derive(Debug, Parser)]
#[command(name = "trueup", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile definitions and show streams, groups, views and digests
    Check {
        /// A file of SQL, or a folder of them
        #[arg(long, env = "TRUEUP_DEFINITIONS")]
        definitions: PathBuf,
    },
    /// Build a training set from history
    Train(train::Args),
    /// Play the whole story on this machine: the same features by scan, by index and by store
    Demo(demo::Args),
}

/// Runs a command.
///
/// # Errors
/// With the message that the person who ran it should read.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Check { definitions } => check::run(&definitions),
        Command::Train(args) => train::run(&args),
        Command::Demo(args) => demo::run(&args),
    }
}
