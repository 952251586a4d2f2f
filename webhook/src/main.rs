//! `mcsa-webhook`: the automount webhook.

use std::process::ExitCode;

use clap::Parser;
use mcsa_runtime::{exit, logs, tls};
use mcsa_webhook::Args;

// With two threads, parsing a large review does not block other reviews. More threads would only use memory.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    tls::install_provider();
    let args = Args::parse();
    exit::report("mcsa-webhook", start(args).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    logs::init(&args.log)?;
    mcsa_webhook::run(args).await
}
