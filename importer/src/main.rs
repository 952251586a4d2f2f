//! The importer binary.

use std::process::ExitCode;

use clap::Parser;
use mcsa_importer::Args;
use mcsa_runtime::{exit, logs, tls};

// The importer mostly waits for API servers: a thread per core would only cost memory.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tls::install_provider();
    exit::report("mcsa-importer", run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    mcsa_importer::run(args).await
}
