//! `kubemcsa`: the command line of multicluster-service-account.

#![deny(unreachable_pub)]

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
    // Before any other thread starts, because completion changes the environment.
    match completion::complete(Cli::command) {
        Ok(false) => run(),
        Ok(true) => ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> ExitCode {
    mcsa_runtime::tls::install_provider();
    let result = Cli::read().run().await;
    let usage =
        result.as_ref().err().and_then(|error| error.chain().find_map(|cause| cause.downcast_ref::<Usage>()));
    if let Some(usage) = usage {
        args::exit(usage);
    }
    let rename =
        |error: anyhow::Error| anyhow::anyhow!("{}", program::rename_commands(&errors::line(error.as_ref())));
    mcsa_runtime::exit::report(program::name(), result.map_err(rename))
}
