//! `kubemcsa`: links clusters, so that pods of one act as service accounts of another.

mod cli;
mod cluster;
mod commands;
mod link;
mod manifests;

use std::process::ExitCode;

use clap::CommandFactory;
use mcsa_runtime::errors;

use crate::cli::args::{self, Cli};
use crate::cli::program;
use crate::cli::usage::Usage;
use crate::commands::completion;

fn main() -> ExitCode {
    // Before there is a second thread: a shell's question is in the environment.
    match completion::complete(Cli::command) {
        Ok(false) => run(),
        Ok(true) => ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> ExitCode {
    mcsa_runtime::tls::install_provider();
    let ended = Cli::read().run().await;
    if let Some(usage) = ended.as_ref().err().and_then(|error| error.downcast_ref::<Usage>()) {
        args::exit(usage);
    }
    let as_called =
        |error: anyhow::Error| anyhow::anyhow!("{}", program::as_called(&errors::line(error.as_ref())));
    mcsa_runtime::exit::report(program::name(), ended.map_err(as_called))
}
