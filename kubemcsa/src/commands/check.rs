//! `kubemcsa check`: finds what a person would need an hour for.
//!
//! look → ask → judge → report. What follows from the facts is a pure function; of the target nothing is
//! changed but one annotation on the import of each link, by which the importer is asked.

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

use self::fix::Mend;
use self::report::Report;
use crate::cli::flags::TargetArgs;
use crate::cli::times::duration;

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Look at the imports and pods of this namespace alone [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,

    /// How long the importer may take to say whether it reaches the sources, such as 15s
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    timeout: Duration,

    /// How to print what was found [default: text]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// How findings are printed for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object with all findings.
    Json,
    /// The same in YAML.
    Yaml,
}

/// Checks. Problems are an error; warnings are not.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (chosen, cluster) = args.target.connect().await?;
    let mut facts = collect::collect(&cluster, args.namespace.as_deref(), args.timeout).await?;
    probe::probe(&cluster, &mut facts, args.timeout).await;
    facts.now = Timestamp::now();
    let findings = judge::judge(&facts, &Mend::of(&chosen));
    Report::of(&cluster.name, &facts, &findings).print(args.output)
}
