//! The commands. Data goes to standard output, all else to standard error.
//!
//! Exit codes: 0 success; 1 a failure that the message explains; 2 a command line that does not
//! parse; 3 done, but some events were refused (`push`, `ingest`, `backfill`,
//! `dead-letters replay`).

mod backfill;
mod bench;
mod change;
mod check;
mod common;
mod completions;
mod dead_letters;
mod definitions;
mod demo;
mod doctor;
mod get;
mod ingest;
mod init;
mod log;
mod progress;
mod push;
mod run;
mod simulate;
mod state;
mod status;
mod table;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Why a command failed, in words for the person who ran it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A real-time feature store for fraud models: the number a model was trained on is the number it
/// is served.
#[derive(Debug, Parser)]
#[command(name = "trueup", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the whole story on this machine: the same features by scan, by index and by store
    Demo(demo::Args),
    /// Make a new project: settings, definitions, and what to do next
    Init(init::Args),
    /// Compile the definitions; show streams, groups, views and digests, or the first error
    Check(check::Args),
    /// Ingest and serve in one process
    Run(run::Args),
    /// Serve what the store holds; pushed events go to the log, and wait there to be ingested
    Serve(run::Args),
    /// Apply what files and the log hold to the store, then end
    Ingest(ingest::Args),
    /// Build the state of a stream from its history; then its log takes over
    Backfill(backfill::Args),
    /// Send a file's events to a server
    Push(push::Args),
    /// List, show or push again the events that could not be used
    DeadLetters(dead_letters::Args),
    /// Ask a server for one row of a view
    Get(get::Args),
    /// Serve the previous definitions again
    Rollback(change::Args),
    /// Serve the definitions that are on their way now, whatever they still lack
    Promote(change::Args),
    /// Drop what only the previous definitions need; there is no way back to them then
    Forget(change::Args),
    /// Look at the state in the store
    State(state::Args),
    /// Show how far everything is: sources, lag, store, buckets, definitions, dead letters
    Status(status::Args),
    /// Say what is wrong with an environment, and where two differ that should be alike
    Doctor(doctor::Args),
    /// Build a training set from history
    Train(train::Args),
    /// Make card transactions with fraud scenarios
    Simulate(simulate::Args),
    /// Measure a running server: capacity, and latency at a constant arrival rate
    Bench(bench::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
}

/// Runs a command; success says with which exit code to end.
///
/// # Errors
/// With the message that the person who ran it should read.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match cli.command {
        Command::Demo(args) => demo::run(&args).map(done),
        Command::Init(args) => init::run(&args).map(done),
        Command::Check(args) => check::run(&args).map(done),
        Command::Run(args) => run::run(&args, run::Part::Both).map(done),
        Command::Serve(args) => run::run(&args, run::Part::Serving).map(done),
        Command::Ingest(args) => ingest::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        Command::Push(args) => push::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Get(args) => get::run(&args).map(done),
        Command::Rollback(args) => change::run(&args, change::Change::Rollback).map(done),
        Command::Promote(args) => change::run(&args, change::Change::Promote).map(done),
        Command::Forget(args) => change::run(&args, change::Change::Forget).map(done),
        Command::State(args) => state::run(&args).map(done),
        Command::Status(args) => status::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Train(args) => train::run(&args).map(done),
        Command::Simulate(args) => simulate::run(&args).map(done),
        Command::Bench(args) => bench::run(&args).map(done),
        Command::Completions(args) => completions::run(&args).map(done),
    }
}
