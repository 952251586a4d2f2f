//! All phases, in their order.

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

/// At least over this many imports goes each kind of bare loop, before and again after the cold run.
const BARE: usize = 500;

/// Runs them, and prints the table.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let plan = Plan::new(args);
    let mut progress = Progress::new();
    progress.phase("building the programs, and Kubernetes if this machine has not done so before");
    program("mcsa-importer")?;
    mcsa_tests::binaries().await?;
    progress.phase(format!("starting {} clusters", plan.sources + 1));
    let scene = Scene::start(plan).await?;
    progress.phase("linking the target to each source");
    scene.link()?;
    progress.phase("making namespaces and service accounts");
    scene.furnish().await?;
    let access = scene.access().await?;
    let observer = Observer::start(scene.target.client());
    progress.phase("having the importer take over the links");
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
    progress.phase("the bare loops");
    bare.run(scene, access, BARE).await?;
    progress.phase("declaring all imports, which nobody serves yet");
    scene.declare(scene.plan.imports(Group::Served, 0..scene.plan.imports)).await?;
    settle(scene).await?;
    progress.phase("the importer, from cold");
    let (importer, cold) = cold::run(scene, access, observer).await?;
    progress.phase("the importer, idle");
    let idle = cold::idle(scene, &importer).await?;
    importer.kill();
    progress.phase("the importer, started again");
    let (importer, restart) = restart::run(scene, access).await?;
    progress.phase("imports that are declared one by one");
    let count = args.trickle as usize;
    let trickle = importer.explain(trickle::run(scene, observer, count).await)?;
    importer.kill();
    progress.phase("the bare loops again");
    bare.run(scene, access, BARE).await?;
    progress.phase("a refresh round, and in it imports that are declared one by one");
    let round = round::run(scene, access, observer, count).await?;
    Ok(Figures { bare, cold, idle, restart, trickle, round })
}

/// A new link's first token is minted by kubemcsa, and replaced by the importer at once: that is not
/// to be counted with the imports'.
async fn take_over_links(scene: &Scene, access: &Access, observer: &Observer) -> anyhow::Result<()> {
    let importer = Importer::start(&scene.target, &access.importer, "links").await?;
    let links = scene.plan.sources;
    let taken_over =
        observer.all(SYSTEM_NAMESPACE, links, "ready", |seen| seen.refresh_time().and(seen.ready));
    importer.explain(taken_over.await)?;
    importer.kill();
    Ok(())
}
