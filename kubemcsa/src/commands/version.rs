//! `kubemcsa version`.

use mcsa_client::ServiceAccountImport;
use serde::Serialize;

use crate::cli::output;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

#[derive(Serialize)]
struct Version {
    kubemcsa: &'static str,
    api: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    use kube::Resource;
    let api = ServiceAccountImport::api_version(&()).into_owned();
    let version = Version { kubemcsa: env!("CARGO_PKG_VERSION"), api };
    match args.output {
        Format::Yaml => output::yaml(&version),
        Format::Json => output::json(&version),
    }
}
