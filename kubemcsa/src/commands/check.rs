//! `kubemcsa check`: diagnoses an installation.
//!
//! collect → probe → judge → report. Findings are a pure function of the collected facts. The command writes only one
//! annotation on the import of each link, which requests a connectivity check from the importer.

mod collect;
mod facts;
mod finding;
mod fix;
mod judge;
mod probe;
mod report;

use std::time::Duration;

use jiff::Timestamp;
use mcsa_credentials::names::namespace;

use self::fix::FixCommands;
use self::report::Report;
use crate::cli::flags::TargetArgs;
use crate::cli::times::duration;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Check only the imports and pods of this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,

    /// How long to wait for the importer to check the sources, such as 15s
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    timeout: Duration,

    /// Output format [default: text]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// How findings are printed for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A JSON object with all findings.
    Json,
    /// The same as YAML.
    Yaml,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (chosen, cluster) = args.target.connect().await?;
    let mut facts = collect::collect(&cluster, args.namespace.as_deref(), args.timeout).await?;
    probe::probe(&cluster, &mut facts, args.timeout).await;
    facts.now = Timestamp::now();
    let findings = judge::judge(&facts, &FixCommands::of(&chosen));
    Report::of(&cluster.name, &facts, &findings).print(args.output)
}
