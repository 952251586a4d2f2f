//! `cargo bench --bench node`: the whole path on a real node, from images, each figure beside a limit or a comparable
//! figure of the same run. Needs Linux and root.
//!
//! The exit code says only whether the figures could be measured, not whether the goals are met.

mod args;
mod journey;
mod memory;
mod refresh;
mod sections;
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
    // Build it before anything is timed.
    program("kubemcsa")?;
    let (journey, installed) = journey::run(|| Installation::start_clusters(Node::builder("c1"))).await?;
    let rest = Memory::of(&installed.node)?;
    let starts = starts::measure(&installed, args.rounds).await?;
    let refreshes = refresh::measure(&installed, args.refreshes).await?;
    starts::declare(&installed, args.imports).await.context("declaring many imports")?;
    let full = Memory::of(&installed.node)?;
    let sections = [
        sections::images(images),
        sections::journey(&journey),
        sections::starts(&starts),
        sections::refreshes(&refreshes),
        sections::memory(&rest, &full),
    ];
    let title =
        format!("One node, two pods each of importer and webhook, {} imports in the end", args.imports);
    table::print(&title, "here", &sections, &sections::goals(images));
    Ok(())
}
