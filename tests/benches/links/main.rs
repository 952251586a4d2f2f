//! `cargo bench --bench links`: measures the duration of kubemcsa commands, and compares them with kubectl commands
//! that do the same, in the same run.
//!
//! The exit code says only whether the figures could be measured, not whether the goals are met.

mod args;
mod fixture;
mod list_links;
mod many_contexts;
mod many_sources;
mod one_source;
mod repeated;
#[path = "../imports/table.rs"]
mod table;
#[path = "../node/units.rs"]
#[allow(dead_code)]
mod units;
#[path = "../imports/usage.rs"]
#[allow(dead_code)]
mod usage;

use std::process::ExitCode;

use mcsa_runtime::exit;
use mcsa_tests::{program, unless_interrupted};

use crate::args::Args;
use crate::fixture::Fixture;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    exit::report("links", unless_interrupted(run(&args)).await)
}

async fn run(args: &Args) -> anyhow::Result<()> {
    // Build kubemcsa before the first measurement.
    program("kubemcsa")?;
    let mut fixture = Fixture::start().await?;
    let one = one_source::measure(&fixture, args.rounds).await?;
    fixture.start_sources(args.sources).await?;
    let many = many_sources::measure(&fixture).await?;
    let list = list_links::measure(&fixture, args.links, args.rounds).await?;
    let contexts = many_contexts::measure(&fixture, args.rounds).await?;
    let title = format!("kubemcsa on loopback, {} real sources", args.sources);
    table::print(
        &title,
        "kubemcsa",
        &[one.section(), many.section(), list.section(), contexts.section()],
        &[one.goal(), many.goal(), list.goal(), contexts.goal()],
    );
    Ok(())
}
