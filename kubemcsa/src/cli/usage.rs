//! Wrong usage that clap's declarations can't tell: it ends like theirs, with exit code 2.

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::cli::args::Cli;
use crate::cli::program;

/// Flags that can't go together.
pub fn error(command: &str, problem: &str) -> anyhow::Error {
    let mut cli = Cli::command().bin_name(program::name());
    cli.build();
    let mut fallback = cli.clone();
    let command = cli.find_subcommand_mut(command).unwrap_or(&mut fallback);
    command.error(ErrorKind::ArgumentConflict, problem).into()
}
