//! The `trueup` command.

use clap::Parser;
use std::process::ExitCode;
use trueup::cli;

/// An answer takes some hundred small pieces of memory, and threads took a fifth of its time to
/// wait for each other's (`docs/decisions/0022-allocator.md`).
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
