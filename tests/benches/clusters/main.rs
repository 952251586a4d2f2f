//! `cargo bench --bench clusters`: measures the cost of a controller of several clusters, compares it with kube's
//! controller of one, in the same run, and measures how soon the controller detects changes of clusters, and what many
//! contexts and many imports cost.
//!
//! The cost is measured with servers that replay a real API server's lists and events of pods, because real API servers
//! would be the bottleneck. All controllers have the same trivial `reconcile`, and run one after the other, each in a
//! process of its own. Changes of clusters, and sets of many contexts and imports, are measured on real clusters.
//!
//! `-- --pods 2000 --rounds 2` is a quick run. The exit code says only whether the figures could be measured, not
//! whether the goals are met. The table is on stdout, progress on stderr.

mod args;
mod compare;
mod contexts;
mod controller_process;
mod counter;
mod detection;
mod fixture;
mod goals;
mod imports_fixture;
mod imports_process;
mod joins;
mod many_imports;
#[path = "../imports/one_import.rs"]
#[allow(dead_code)]
mod one_import;
mod outages;
mod pods;
#[path = "../imports/progress.rs"]
mod progress;
mod recording;
#[path = "../links/repeated.rs"]
mod repeated;
mod replay;
mod rounds;
mod sections;
#[path = "../imports/table.rs"]
mod table;
#[path = "../node/units.rs"]
#[allow(dead_code)]
mod units;
#[path = "../imports/usage.rs"]
#[allow(dead_code)]
mod usage;
mod watchers;

use std::process::ExitCode;

use mcsa_tests::unless_interrupted;

use crate::args::Args;
use crate::contexts::ManyContexts;
use crate::many_imports::ManyImports;
use crate::progress::Progress;
use crate::recording::Recording;
use crate::rounds::Rounds;

fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    let ended = match (&args.as_controller, &args.as_reader_of_imports) {
        (Some(options), _) => controller_process::run(options),
        (None, Some(kubeconfig)) => imports_process::run(kubeconfig, args.kube),
        (None, None) => measure(&args),
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
    progress.phase("measuring a set of many contexts");
    let contexts = ManyContexts::measure().await?;
    progress.phase(format!("measuring {} imports of {} clusters", args.imports, args.clusters));
    let imports = ManyImports::measure(args).await?;
    progress.phase("measuring how soon changes of real clusters are detected");
    let detections = detection::measure().await?;
    progress.phase(format!("recording {} pods of a real API server", args.pods));
    let recording = Recording::of(args.pods).await?;
    let size = recording.mean_size() as f64 / 1024.0;
    progress.phase(format!("measuring {} rounds", args.rounds));
    let rounds = Rounds::measure(args, recording).await?;
    progress.done();
    let Rounds { pods, laps, many_clusters: many, .. } = rounds;
    let title = format!(
        "A controller of {pods} pods ({size:.1} KiB each) that each change {laps} times; \
         a few clusters are 2, many are {many}"
    );
    let mut sections = sections::of(&rounds, &detections);
    sections.extend([contexts.section(), imports.section()]);
    let mut goals = goals::of(&rounds, &detections);
    goals.extend(contexts.goals());
    goals.extend(imports.goals());
    table::print(&title, "ours", &sections, &goals);
    Ok(())
}
