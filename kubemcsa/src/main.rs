//! `kubemcsa`: links clusters, so that pods of one act as service accounts of another.

mod apply;
mod args;
mod bootstrap;
mod call;
mod cluster;
mod completion;
mod confined;
mod crd;
mod export;
mod install;
mod kubeconfig;
mod linked;
mod links;
mod list;
mod man;
mod manifests;
mod object;
mod output;
mod reach;
mod remove;
mod table;
mod target;
mod times;
mod uninstall;
mod version;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    mcsa_runtime::tls::install_provider();
    let cli = args::Cli::parse();
    mcsa_runtime::exit::report("kubemcsa", cli.run().await)
}
