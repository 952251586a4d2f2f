//! Runs all phases in order.

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{kubernetes_version, program};

use crate::args::Args;
use crate::bare::Loops;
use crate::figures::Figures;
use crate::importer::Importer;
use crate::observer::Observer;
use crate::plan::{Group, Plan};
use crate::progress::Progress;
use crate::scene::{Access, Scene};
use crate::spent::settle;
use crate::{aims, cold, restart, round, table, trickle};

/// Least number of imports of each kind of bare loop, before and again after the cold run.
const BARE: usize = 500;

/// Runs the phases, and prints the table.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let plan = Plan::new(args);
    let mut progress = Progress::new();
    progress.phase("building the programs, and Kubernetes if it is not cached");
    program("mcsa-importer")?;
    mcsa_tests::binaries().await?;
    progress.phase(format!("starting {} clusters", plan.sources + 1));
    let scene = Scene::start(plan).await?;
    progress.phase("linking the target to each source");
    scene.link()?;
    progress.phase("creating namespaces and service accounts");
    scene.furnish().await?;
    let access = scene.access().await?;
    let observer = Observer::start(scene.target.client());
    progress.phase("waiting until the importer has refreshed the links");
    take_over_links(&scene, &access, &observer).await?;

    let figures = measure(args, &scene, &access, &observer, &mut progress).await?;
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
    table::print(&title, "importer", &figures.sections(), &aims::of(&figures));
    Ok(())
}

async fn measure(
    args: &Args,
    scene: &Scene,
    access: &Access,
    observer: &Observer,
    progress: &mut Progress,
) -> anyhow::Result<Figures> {
    let mut bare = Loops::default();
    progress.phase("running the bare loops");
    bare.run(scene, access, BARE).await?;
    progress.phase("declaring all imports, without an importer");
    scene.declare(scene.plan.imports(Group::Served, 0..scene.plan.imports)).await?;
    settle(scene).await?;
    progress.phase("running the importer from cold");
    let (importer, cold) = cold::run(scene, access, observer).await?;
    progress.phase("waiting until the importer is idle");
    let idle = cold::idle(scene, &importer).await?;
    importer.kill();
    progress.phase("restarting the importer");
    let (importer, restart) = restart::run(scene, access).await?;
    progress.phase("declaring imports one by one");
    let count = args.trickle as usize;
    let trickle = importer.explain(trickle::run(scene, observer, count).await)?;
    importer.kill();
    progress.phase("running the bare loops again");
    bare.run(scene, access, BARE).await?;
    progress.phase("running a refresh round, and declaring imports one by one during it");
    let round = round::run(scene, access, observer, count).await?;
    Ok(Figures { bare, cold, idle, restart, trickle, round })
}

/// kubemcsa mints the first token of a new link, and the importer replaces it at once. This happens before the
/// figures are measured.
async fn take_over_links(scene: &Scene, access: &Access, observer: &Observer) -> anyhow::Result<()> {
    let importer = Importer::start(&scene.target, &access.importer, "links").await?;
    let links = scene.plan.sources;
    let taken_over =
        observer.all(SYSTEM_NAMESPACE, links, "ready", |seen| seen.refresh_time().and(seen.ready));
    importer.explain(taken_over.await)?;
    importer.kill();
    Ok(())
}
