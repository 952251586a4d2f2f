//! `cargo bench --bench clusters`: what a controller over several clusters costs, beside kube's own of one in the
//! same run, and how long it takes to notice what becomes of clusters.
//!
//! What controllers cost is measured upon servers that replay what a real API server has said of pods: real ones
//! would be the limit. Each controller is a process of its own, all do the same trivial reconciliation, and they
//! take turns. What becomes of clusters is measured on real ones.
//!
//! `-- --pods 2000 --rounds 2` is a quick look. Figures are no test: the exit code says only whether they could be
//! measured. The table is on stdout, progress on stderr.

mod aims;
mod args;
mod compare;
mod contestant;
mod joins;
mod losses;
mod noticed;
mod pods;
#[path = "../imports/progress.rs"]
mod progress;
mod recording;
mod replay;
mod rounds;
mod scene;
mod sections;
#[path = "../imports/table.rs"]
mod table;
mod tally;
#[path = "../imports/usage.rs"]
#[allow(dead_code)]
mod usage;
mod watchers;
#[path = "../node/words.rs"]
#[allow(dead_code)]
mod words;

use std::process::ExitCode;

use mcsa_tests::unless_interrupted;

use crate::args::Args;
use crate::progress::Progress;
use crate::recording::Recording;
use crate::rounds::Rounds;

fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::wanted() else { return ExitCode::SUCCESS };
    let ended = match &args.as_contestant {
        Some(contest) => contestant::run(contest),
        None => measure(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clusters: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure(args: &Args) -> anyhow::Result<()> {
    unless_interrupted(run(args)).await
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    progress.phase("what becomes of real clusters");
    let noticed = noticed::measure().await?;
    progress.phase(format!("a real API server tells of {} pods", args.pods));
    let recording = Recording::of(args.pods).await?;
    let size = recording.mean_size() as f64 / 1024.0;
    progress.phase(format!("{} rounds", args.rounds));
    let rounds = Rounds::measure(args, recording).await?;
    progress.done();
    let Rounds { pods, laps, many_clusters: many, .. } = rounds;
    let title = format!(
        "A controller of {pods} pods ({size:.1} KiB each) that each change {laps} times; \
         a few clusters are 2, many are {many}"
    );
    table::print(&title, "ours", &sections::of(&rounds, &noticed), &aims::of(&rounds, &noticed));
    Ok(())
}
