//! `cargo bench --bench launcher`: measures pods that run in a source, and compares each figure with a limit, or with
//! the same pods and calls straight in the source, in the same run. Needs Linux and root.
//!
//! Both sides take turns, so that other load on the machine affects both. The exit code says only whether the figures
//! could be measured, not whether the goals are met. The table is on stdout, progress on stderr.

mod args;
mod fixture;
mod memory;
#[path = "../clusters/pods.rs"]
mod pods;
#[path = "../imports/progress.rs"]
mod progress;
mod starts;
#[path = "../imports/table.rs"]
mod table;
mod transfers;
#[path = "../node/units.rs"]
#[allow(dead_code)]
mod units;
#[path = "../imports/usage.rs"]
#[allow(dead_code)]
mod usage;
mod writes;

use std::process::ExitCode;

use mcsa_runtime::exit;
use mcsa_tests::{program, unless_interrupted};

use crate::args::Args;
use crate::memory::Memory;
use crate::progress::Progress;
use crate::starts::Starts;
use crate::transfers::Transfers;
use crate::writes::Writes;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    exit::report("launcher", unless_interrupted(run(&args)).await)
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    progress.phase("building the programs, and starting two clusters and a node");
    program("mcsa-launcher")?;
    let launched = fixture::start().await?;
    let idle = memory::rss(&launched)?;
    progress.phase(format!("starting {} pods on each side", args.starts));
    let starts = Starts::measure(&launched, args.starts).await?;
    progress.phase(format!("counting the writes of {} pods", args.starts));
    let writes = Writes::measure(&launched, args.starts).await?;
    progress.phase(format!("measuring {} transfers of each kind on each side", args.transfers));
    let transfers = Transfers::measure(&launched, args).await?;
    progress.phase(format!("measuring the memory with {} pods", args.pods));
    let memory = Memory::measure(&launched, idle, args.pods).await?;
    progress.done();
    let title = format!(
        "Pods of one cluster that run in another, on one machine; {} pods on each side, {} MiB through exec, a log of \
         {} MiB, {} pods at the end",
        args.starts, args.exec_mib, args.log_mib, args.pods
    );
    let mut sections = vec![starts.section()];
    sections.extend(transfers.sections());
    sections.extend([writes.section(), memory.section()]);
    let mut goals = vec![starts.goal()];
    goals.extend(transfers.goals());
    goals.extend(writes.goals());
    goals.extend(memory.goals());
    table::print(&title, "launcher", &sections, &goals);
    Ok(())
}
