//! `cargo bench --bench imports -- --imports 10000 --sources 10`: measures the cost of the importer on real API
//! servers, and compares each figure with a limit or a comparable figure of the same run.
//!
//! The exit code says only whether the figures could be measured, not whether the goals are met.

mod args;
mod baseline;
mod calls;
mod client;
mod cold;
mod cpu_time;
mod figures;
mod fixture;
mod goals;
mod importer;
mod importer_with_clock;
mod large;
mod observer;
mod one_import;
mod phases;
mod plan;
mod progress;
mod restart;
mod round;
mod table;
mod trickle;
mod usage;

use std::process::ExitCode;

use mcsa_runtime::exit;
use mcsa_tests::unless_interrupted;

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    exit::report("imports", unless_interrupted(run(args)).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    match &args.as_importer {
        Some(kubeconfig) => importer_with_clock::serve(kubeconfig).await,
        None => phases::run(&args).await,
    }
}
