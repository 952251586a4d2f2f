//! Runs all phases in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use mcsa_tests::{kubernetes_version, program};
use tokio::time::sleep;

use crate::args::Args;
use crate::both::Both;
use crate::figures::Figures;
use crate::fixture::Fixture;
use crate::footprint::Footprint;
use crate::memory::Highest;
use crate::noise::Noise;
use crate::progress::Progress;
use crate::reviews::{Answer, Reviews};
use crate::rounds::{Load, Side, take_turns};
use crate::server::{Identity, Place, Server};
use crate::tls::Authority;
use crate::usage::Memory;
use crate::{api_server, climb, goals, restarts, swaps, table};

/// Number of concurrent reviews where the rate is not fixed.
const CONCURRENCY: usize = 16;

/// How long a server is idle before its memory is measured.
const REST: Duration = Duration::from_secs(3);

/// Runs the phases, and prints the table. A phase that fails does not affect the others.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    progress.phase("building the programs, and Kubernetes if it is not cached");
    program("mcsa-webhook")?;
    mcsa_tests::binaries().await?;
    progress.phase("starting a cluster");
    let fixture = Fixture::start().await?;
    let reviews = Arc::new(Reviews::new(args.imports as usize));
    let [smallest, middle, largest] = reviews.sizes();
    eprintln!("reviews of {smallest:.1} to {largest:.1} KB, half of them up to {middle:.1}");
    let figures = measure(args, &fixture, &reviews, &mut progress).await?;
    progress.done();
    let kind = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let title = format!(
        "{} imports, reviews of {smallest:.1} to {largest:.1} KB (half of them up to {middle:.1}), {} connections; \
         {kind}, Kubernetes {}",
        args.imports,
        args.connections,
        kubernetes_version(),
    );
    table::print(&title, "webhook", &figures.sections(), &goals::of(&figures));
    let failures: Vec<_> = figures.failures().collect();
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("; ")) }
}

async fn measure(
    args: &Args,
    fixture: &Fixture,
    reviews: &Arc<Reviews>,
    progress: &mut Progress,
) -> anyhow::Result<Figures> {
    progress.phase("running the webhook while all imports are declared");
    let (empty, watched) = while_declared(args, fixture).await?;
    progress.phase("starting the webhook and the limit, and waiting until they are idle");
    let authority = Authority::new()?;
    let folder = tempfile::tempdir_in(fixture.cluster.dir())?;
    let sides = sides(args, fixture, folder.path(), &authority).await?;
    sleep(REST).await;
    let ids = sides.map(|side| side.server.id());
    let before = Both { webhook: Memory::of(ids.webhook)?, limit: Memory::of(ids.limit)? };
    let highest = ids.map(|&id| Highest::of(id));

    progress.phase(format!("sending {} reviews per second", args.rate));
    let noise = Noise::begin(fixture, ids)?;
    let steady = take_turns(&sides, Load::Rate(args.rate.into()), reviews, args.round(), args.rounds).await?;
    let noise = noise.end(fixture, ids)?;
    let during = highest.map(Highest::kib);
    progress.phase(format!("{CONCURRENCY} reviews at a time"));
    let full = take_turns(&sides, Load::AtATime(CONCURRENCY), reviews, args.round() / 2, args.rounds).await?;
    progress.phase("sending more and more reviews per second");
    let highest_rate = climb::run(&sides, reviews, args.rate.into()).await?;
    progress.phase("creating pods in the API server");
    let from_api_server =
        api_server::run(fixture, &sides.limit.server, &authority, args.all_rounds() / 2).await;
    let overloaded = highest.map(Highest::kib);
    sleep(REST).await;
    let after = Both { webhook: Memory::of(ids.webhook)?, limit: Memory::of(ids.limit)? };
    sides.webhook.server.terminate().await?;

    progress.phase("sending reviews while the certificate is swapped");
    let swaps = swaps::run(args, fixture, sides.limit.server, reviews, &authority).await;
    progress.phase("sending reviews while one of two replicas is restarted");
    let restarts = restarts::run(args, fixture, reviews).await;
    let footprint = Footprint { empty, watched, before, during, overloaded, after };
    Ok(Figures { noise, steady, full, highest_rate, from_api_server, footprint, swaps, restarts })
}

/// The memory of a webhook without imports, and after it observed that each import was created and became ready.
async fn while_declared(args: &Args, fixture: &Fixture) -> anyhow::Result<(Memory, Memory)> {
    let place = Place::free()?;
    let webhook = Server::webhook(fixture, "early", place, place, Identity::Own).await?;
    sleep(REST).await;
    let empty = Memory::of(webhook.id())?;
    fixture.declare(args.imports as usize).await?;
    sleep(REST).await;
    let watched = Memory::of(webhook.id())?;
    webhook.terminate().await?;
    Ok((empty, watched))
}

async fn sides(
    args: &Args,
    fixture: &Fixture,
    folder: &Path,
    authority: &Authority,
) -> anyhow::Result<Both<Side>> {
    let place = Place::free()?;
    let webhook = Server::webhook(fixture, "steady", place, place, Identity::Own).await?;
    let limit = Server::limit(fixture, &authority.issue(folder)?, authority).await?;
    let side = |server, answer| Side::new(args.connections, server, answer, Duration::MAX);
    Ok(Both { webhook: side(webhook, Answer::Patch), limit: side(limit, Answer::Nothing) })
}
