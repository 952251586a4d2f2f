//! `cargo bench --bench argo`: measures workflows of an unmodified Argo whose steps run in another cluster, and
//! compares each figure with the same workflow at home, in the same run. Needs Linux and root.
//!
//! - Scenario A of `examples/argo`: the duration in one cluster and in two, limited by the room of their nodes.
//! - Scenario B of `examples/argo`: the duration with one of three steps in the source.
//! - Steps that do nothing, one after another: the cost of a step in the source.
//! - Many steps at the same time, whose results the last step gets.
//!
//! Home and source have a real node each, on this machine, and one Argo controller, at home, runs the workflows of both
//! sides. Its requeue time is 1 s (the default is 10 s), and its executor, argoexec, is built with a signal file of ours.
//! The two forms of a workflow differ only in where its steps run, and in scenario A in the annotation, which the form for
//! one cluster lacks. Both sides take turns in scenario B and the sequential steps; scenario A and the many steps run once
//! on each. The exit code says only whether the figures could be measured, not whether the goals are met; a workflow that
//! does not succeed is an error. The table is on stdout, progress on stderr.

mod args;
mod both;
mod chain;
mod clusters;
mod data;
mod fan_out;
#[path = "../imports/progress.rs"]
mod progress;
mod room;
#[path = "../imports/table.rs"]
mod table;
#[path = "../node/units.rs"]
#[allow(dead_code)]
mod units;
mod workflow;

use std::process::ExitCode;

use mcsa_runtime::exit;
use mcsa_tests::{program, unless_interrupted};

use crate::args::Args;
use crate::chain::Chain;
use crate::data::Data;
use crate::fan_out::FanOut;
use crate::progress::Progress;
use crate::room::Room;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    exit::report("argo", unless_interrupted(run(&args)).await)
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    progress.phase("building the programs, and starting two clusters with a node each, and Argo");
    program("mcsa-launcher")?;
    let clusters = clusters::start().await?;
    progress.phase("running a first step in each cluster");
    chain::warm_up(&clusters).await?;
    progress.phase("running scenario A in one cluster and in two");
    let room = Room::measure(&clusters, args.seconds).await?;
    progress.phase(format!("running scenario B {} times on each side", args.rounds));
    let data = Data::measure(&clusters, args.rounds).await?;
    let phase =
        format!("running {} steps, one after another, {} times on each side", chain::STEPS, args.rounds);
    progress.phase(phase);
    let chain = Chain::measure(&clusters, args.rounds).await?;
    progress.phase(format!("running {} steps on each side", args.steps));
    let fan_out = FanOut::measure(&clusters, args.steps).await?;
    progress.done();
    let title = format!(
        "Workflows of one cluster whose steps run in another, on one machine; steps of {} s in scenario A, {} rounds \
         of scenario B and of {} sequential steps, {} steps at the end",
        args.seconds,
        args.rounds,
        chain::STEPS,
        args.steps
    );
    let sections = [room.section(), data.section(), chain.section(), fan_out.section()];
    let goals = [room.goal(), data.goal(), chain.goal(), fan_out.goal()];
    table::print(&title, "with source", &sections, &goals);
    Ok(())
}
