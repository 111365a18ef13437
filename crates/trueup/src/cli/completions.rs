//! `trueup completions`: what a shell needs to complete this command line.

use super::{Cli, Failure, common};
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trueup", &mut script);
    common::print(&String::from_utf8_lossy(&script))
}
