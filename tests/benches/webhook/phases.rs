//! Runs all phases in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use mcsa_tests::{kubernetes_version, program};
use tokio::time::sleep;

use crate::args::Args;
use crate::comparison::Comparison;
use crate::figures::Figures;
use crate::fixture::Fixture;
use crate::footprint::Footprint;
use crate::other_load::OtherLoad;
use crate::peak_memory::PeakMemory;
use crate::progress::Progress;
use crate::reviews::{ExpectedResponse, Reviews};
use crate::rounds::{Load, Subject, run_alternating};
use crate::server::{Addresses, CertificateSource, Server};
use crate::tls::Authority;
use crate::usage::Memory;
use crate::{api_server, goals, highest_rate, restarts, rotations, strangers, table};

/// Number of concurrent reviews when the rate is not fixed.
const CONCURRENCY: usize = 16;

/// How long a server is idle before its memory is measured.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// Runs the phases, and prints the table. A phase that fails doesn't affect the others.
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
    progress.phase("running the webhook while all imports are created");
    let (empty, watched) = measure_during_creation(args, fixture).await?;
    progress.phase("starting the webhook and the baseline, and waiting until they are idle");
    let authority = Authority::new()?;
    let folder = tempfile::tempdir_in(fixture.cluster.dir())?;
    let subjects = subjects(args, fixture, folder.path(), &authority).await?;
    sleep(IDLE_TIME).await;
    let ids = subjects.map(|subject| subject.server.id());
    let before = Comparison { webhook: Memory::of(ids.webhook)?, baseline: Memory::of(ids.baseline)? };
    let peak = ids.map(|&id| PeakMemory::of(id));

    progress.phase(format!("sending {} reviews per second", args.rate));
    let other_load = OtherLoad::start(fixture, ids)?;
    let steady =
        run_alternating(&subjects, Load::Rate(args.rate.into()), reviews, args.round(), args.rounds).await?;
    let other_load = other_load.finish(fixture, ids)?;
    let during = peak.map(PeakMemory::kib);
    progress.phase(format!("sending {CONCURRENCY} concurrent reviews"));
    let full =
        run_alternating(&subjects, Load::Concurrent(CONCURRENCY), reviews, args.round() / 2, args.rounds)
            .await?;
    progress.phase("finding the highest rate of reviews");
    let highest_rate = highest_rate::run(&subjects, reviews, args.rate.into()).await?;
    progress.phase("creating pods in the API server");
    let from_api_server =
        api_server::run(fixture, &subjects.baseline.server, &authority, args.all_rounds() / 2).await;
    let overloaded = peak.map(PeakMemory::kib);
    sleep(IDLE_TIME).await;
    let after = Comparison { webhook: Memory::of(ids.webhook)?, baseline: Memory::of(ids.baseline)? };
    subjects.webhook.server.terminate().await?;

    progress.phase("sending reviews while the certificate is rotated");
    let rotations = rotations::run(args, fixture, subjects.baseline.server, reviews, &authority).await;
    progress.phase("sending reviews while two replicas are restarted in turn");
    let restarts = restarts::run(args, fixture, reviews).await;
    progress.phase("creating pods while strangers hold connections");
    let strangers = strangers::run(fixture, IDLE_TIME).await;
    let footprint = Footprint { empty, watched, before, during, overloaded, after };
    Ok(Figures {
        other_load,
        steady,
        full,
        highest_rate,
        from_api_server,
        footprint,
        rotations,
        restarts,
        strangers,
    })
}

/// Returns the memory of a webhook without imports, and after it observed that each import was created and became
/// ready.
async fn measure_during_creation(args: &Args, fixture: &Fixture) -> anyhow::Result<(Memory, Memory)> {
    let addresses = Addresses::free()?;
    let webhook = Server::webhook(fixture, "early", addresses, addresses, CertificateSource::Own).await?;
    sleep(IDLE_TIME).await;
    let empty = Memory::of(webhook.id())?;
    fixture.create_imports(args.imports as usize).await?;
    sleep(IDLE_TIME).await;
    let watched = Memory::of(webhook.id())?;
    webhook.terminate().await?;
    Ok((empty, watched))
}

async fn subjects(
    args: &Args,
    fixture: &Fixture,
    folder: &Path,
    authority: &Authority,
) -> anyhow::Result<Comparison<Subject>> {
    let addresses = Addresses::free()?;
    let webhook = Server::webhook(fixture, "steady", addresses, addresses, CertificateSource::Own).await?;
    let baseline = Server::baseline(fixture, &authority.issue(folder)?, authority).await?;
    let subject = |server, expected| Subject::new(args.connections, server, expected, Duration::MAX);
    Ok(Comparison {
        webhook: subject(webhook, ExpectedResponse::Patch),
        baseline: subject(baseline, ExpectedResponse::NoPatch),
    })
}
