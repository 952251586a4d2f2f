//! `mcsa-release`: builds the files of a release.

mod args;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr is no failure. Does not use mcsa_runtime, so that this crate builds quickly.
            drop(writeln!(std::io::stderr(), "mcsa-release: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
