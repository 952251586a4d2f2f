//! Runs all phases in order.

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{kubernetes_version, program};

use crate::args::Args;
use crate::baseline::BaselineLoops;
use crate::cpu_time::wait_until_idle;
use crate::figures::Figures;
use crate::fixture::{Access, Fixture};
use crate::importer::Importer;
use crate::observer::Observer;
use crate::plan::{Group, Plan};
use crate::progress::Progress;
use crate::usage::Memory;
use crate::{cold, goals, large, restart, round, table, trickle};

/// Minimum number of imports for each kind of baseline loop, before the cold start and again at the end.
const BASELINE_IMPORTS: usize = 500;

/// Runs the phases, and prints the table.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let plan = Plan::new(args);
    let mut progress = Progress::new();
    progress.phase("building the programs, and Kubernetes if it is not cached");
    program("mcsa-importer")?;
    mcsa_tests::binaries().await?;
    progress.phase(format!("starting {} clusters", plan.sources + 1));
    let fixture = Fixture::start(plan).await?;
    progress.phase("linking the target to each source");
    fixture.link()?;
    progress.phase("creating namespaces and service accounts");
    fixture.create_accounts().await?;
    let access = fixture.access().await?;
    let observer = Observer::start(fixture.target.client());
    progress.phase("waiting until the importer has replaced the links' tokens");
    take_over_links(&fixture, &access, &observer).await?;

    let figures = measure(args, &fixture, &access, &observer, &mut progress).await?;
    progress.done();
    let kind = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let title = format!(
        "{} imports of {} source{}, with tokens of {} s; {kind}, Kubernetes {}",
        plan.imports,
        plan.sources,
        if plan.sources == 1 { "" } else { "s" },
        plan.expiration_seconds,
        kubernetes_version(),
    );
    table::print(&title, "importer", &figures.sections(), &goals::of(&figures));
    Ok(())
}

async fn measure(
    args: &Args,
    fixture: &Fixture,
    access: &Access,
    observer: &Observer,
    progress: &mut Progress,
) -> anyhow::Result<Figures> {
    let mut baseline = BaselineLoops::default();
    progress.phase("running the baseline loops");
    baseline.run(fixture, access, BASELINE_IMPORTS).await?;
    progress.phase("creating all imports, without an importer");
    fixture.create_imports(fixture.plan.imports(Group::Served, 0..fixture.plan.imports)).await?;
    wait_until_idle(fixture).await?;
    progress.phase("measuring a cold start of the importer");
    let (importer, cold) = cold::run(fixture, access, observer).await?;
    progress.phase("waiting until the importer is idle");
    let idle = cold::idle(fixture, &importer).await?;
    importer.kill();
    progress.phase("restarting the importer");
    let (importer, restart) = restart::run(fixture, access).await?;
    progress.phase("creating imports one by one");
    let count = args.trickle as usize;
    let trickle = importer.with_log(trickle::run(fixture, observer, count).await)?;
    progress.phase("creating imports of the largest size");
    let before_large = Memory::of(importer.id())?;
    importer.with_log(large::run(fixture, observer).await)?;
    let large = Memory::of(importer.id())?;
    importer.kill();
    progress.phase("running the baseline loops again");
    baseline.run(fixture, access, BASELINE_IMPORTS).await?;
    progress.phase("running a refresh round, and creating imports one by one during it");
    let round = round::run(fixture, access, observer, count).await?;
    Ok(Figures { baseline, cold, idle, restart, before_large, large, trickle, round })
}

/// kubemcsa mints the first token of a new link, and the importer replaces it at once. This must happen before anything
/// is measured.
async fn take_over_links(fixture: &Fixture, access: &Access, observer: &Observer) -> anyhow::Result<()> {
    let importer = Importer::start(&fixture.target, &access.importer, "links").await?;
    let links = fixture.plan.sources;
    let taken_over = observer.wait_for_all(SYSTEM_NAMESPACE, links, "ready", |observed| {
        observed.refresh_time().and(observed.ready)
    });
    importer.with_log(taken_over.await)?;
    importer.kill();
    Ok(())
}
