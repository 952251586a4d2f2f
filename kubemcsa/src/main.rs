//! `kubemcsa`: links clusters, so that pods of one act as service accounts of another.

mod allow;
mod apply;
mod args;
mod bootstrap;
mod call;
mod cluster;
mod completion;
mod confined;
mod crd;
mod diff;
mod export;
mod gone;
mod install;
mod kubeconfig;
mod link;
mod linked;
mod links;
mod list;
mod man;
mod manifests;
mod object;
mod output;
mod reach;
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

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    mcsa_runtime::tls::install_provider();
    let ended = args::Cli::parse().run().await;
    if let Some(usage) = ended.as_ref().err().and_then(|error| error.downcast_ref::<clap::Error>()) {
        usage.exit();
    }
    mcsa_runtime::exit::report("kubemcsa", ended)
}
