//! `kubemcsa`: links clusters, so that pods of one act as service accounts of another.

mod allow;
mod apply;
mod args;
mod bootstrap;
mod call;
mod check;
mod cluster;
mod completion;
mod confined;
mod crd;
mod diff;
mod export;
mod gone;
mod graph;
mod imports;
mod install;
mod kubeconfig;
mod lease;
mod link;
mod linked;
mod links;
mod list;
mod man;
mod manifests;
mod object;
mod output;
mod pod;
mod program;
mod reach;
mod reference;
mod remove;
mod rotate;
mod table;
mod taker;
mod target;
mod times;
mod uninstall;
mod unlink;
mod usage;
mod version;

use std::process::ExitCode;

use mcsa_runtime::errors;

fn main() -> ExitCode {
    // Before there is a second thread: a shell's question is in the environment.
    match completion::asked() {
        Ok(false) => run(),
        Ok(true) => ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> ExitCode {
    mcsa_runtime::tls::install_provider();
    let ended = args::Cli::read().run().await;
    if let Some(usage) = ended.as_ref().err().and_then(|error| error.downcast_ref::<clap::Error>()) {
        usage.exit();
    }
    let told =
        |error: anyhow::Error| anyhow::anyhow!("{}", program::as_called(&errors::line(error.as_ref())));
    mcsa_runtime::exit::report(program::name(), ended.map_err(told))
}
