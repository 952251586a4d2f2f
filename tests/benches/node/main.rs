//! `cargo bench --bench node`: measures the whole path on a real node, from images to pods that call the source, and
//! compares each figure with a limit or a comparable figure of the same run. Needs Linux and root.
//!
//! The exit code says only whether the figures could be measured, not whether the goals are met.

mod args;
mod memory;
mod refresh;
mod sections;
mod setup;
mod starts;
#[path = "../imports/table.rs"]
mod table;
mod units;

use std::process::ExitCode;

use anyhow::Context;
use mcsa_runtime::exit;
use mcsa_tests::{Installation, Node, images, program, unless_interrupted};

use crate::args::Args;
use crate::memory::Memory;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    exit::report("node", unless_interrupted(run(&args)).await)
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let images = images().await?;
    // Build kubemcsa before the first measurement.
    program("kubemcsa")?;
    let (setup, installed) = setup::run(|| Installation::start_clusters(Node::builder("c1"))).await?;
    let few_imports = Memory::of(&installed.node)?;
    let starts = starts::measure(&installed, args.rounds).await?;
    let refreshes = refresh::measure(&installed, args.refreshes).await?;
    starts::create_imports(&installed, args.imports).await.context("creating many imports")?;
    let all_imports = Memory::of(&installed.node)?;
    let sections = [
        sections::images(images),
        sections::setup(&setup),
        sections::starts(&starts),
        sections::refreshes(&refreshes),
        sections::memory(&few_imports, &all_imports),
    ];
    let title =
        format!("One node, two pods each of importer and webhook, {} imports at the end", args.imports);
    table::print(&title, "measured", &sections, &sections::goals(images));
    Ok(())
}
