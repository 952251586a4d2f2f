//! The launcher binary.

use std::process::ExitCode;

use clap::Parser;
use mcsa_launcher::Args;
use mcsa_runtime::{exit, logs, tls};

// The launcher mostly waits for API servers: a thread per core would only cost memory.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tls::install_provider();
    exit::report("mcsa-launcher", run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    mcsa_launcher::run(args).await
}
