//! `cargo bench --bench links`: the duration of kubemcsa commands, beside kubectl commands that do the same, in the
//! same run.
//!
//! The exit code says only whether the figures could be measured, not whether the aims are met.

mod args;
mod many;
mod one;
mod scene;
#[path = "../imports/table.rs"]
mod table;
mod tables;
#[path = "../node/words.rs"]
#[allow(dead_code)]
mod words;

use std::process::ExitCode;

use mcsa_runtime::exit;
use mcsa_tests::{program, unless_interrupted};

use crate::args::Args;
use crate::scene::Scene;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::wanted() else { return ExitCode::SUCCESS };
    exit::report("links", unless_interrupted(run(&args)).await)
}

async fn run(args: &Args) -> anyhow::Result<()> {
    // Build it before anything is timed.
    program("kubemcsa")?;
    let mut scene = Scene::start().await?;
    let one = one::measure(&scene, args.rounds).await?;
    scene.grow(args.sources).await?;
    let many = many::measure(&scene).await?;
    let tables = tables::measure(&scene, args.links, args.rounds).await?;
    let title = format!("kubemcsa on loopback, {} real sources", args.sources);
    table::print(
        &title,
        "kubemcsa",
        &[one.section(), many.section(), tables.section()],
        &[one.aim(), many.aim(), tables.aim()],
    );
    Ok(())
}
