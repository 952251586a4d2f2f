//! `kubemcsa version`.

use mcsa_client::ServiceAccountImport;
use serde::Serialize;

use crate::cli::output;

/// No flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Version {
    kubemcsa: &'static str,
    api: String,
}

/// Prints the version.
pub fn run(_: Args) -> anyhow::Result<()> {
    use kube::Resource;
    let api = ServiceAccountImport::api_version(&()).into_owned();
    output::yaml(&Version { kubemcsa: env!("CARGO_PKG_VERSION"), api })
}
