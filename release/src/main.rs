//! `mcsa-release`: makes what is released.

mod args;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whether anyone reads it or not. Not `mcsa_runtime`'s report: it would have to be built first.
            drop(writeln!(std::io::stderr(), "mcsa-release: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
