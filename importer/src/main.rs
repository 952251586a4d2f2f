//! The importer's process.

use std::process::ExitCode;

use clap::Parser;
use mcsa_importer::Args;
use mcsa_runtime::{exit, logs, tls};

// It waits for API servers most of its time: a thread of their own for each core would only cost
// memory.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tls::install_provider();
    exit::report("mcsa-importer", run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    mcsa_importer::run(args).await
}
