//! The ServiceAccountImport controller.
//!
//! Watches of imports, Secrets, links and policies fill a cache and a queue. The leader takes due imports from the
//! queue. If policies permit the import, a reconciliation runs these steps, each a file with its own type; if they do
//! not, `revoke` deletes its Secret, provided that a policy says so.
//!
//! | step | question |
//! | --- | --- |
//! | `resolve` | which link, and does the import own the Secret? |
//! | `decide` | is a token due now, or when? |
//! | `mint` | request a token from the source |
//! | `publish` | write the Secret, in one call |
//! | `report` | write the status, emit an event |
//!
//! `decide` and `model::status` are pure functions; I/O is in the other steps.
//!
//! `check` runs the connectivity checks that `kubemcsa check` requests.

mod args;
mod cache;
mod check;
mod clock;
mod controller;
mod decide;
mod enqueue;
mod metrics;
mod mint;
mod model;
mod publish;
mod queue;
mod reconcile;
mod report;
mod resolve;
mod revoke;
mod source;
mod target;
mod watch;

use anyhow::Context;
use futures::future::OptionFuture;
use kube::Client;
use kube::client::ClientBuilder;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_runtime::lease::{self, Fence};
use mcsa_runtime::probes::Probes;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::model::scope::Scope;

pub use crate::args::Args;
pub use crate::clock::Clock;
pub use crate::controller::Controller;
pub use crate::metrics::Metrics;
pub use crate::model::failure::Reason;
pub use crate::queue::LANE_LIMIT;
pub use crate::target::Target;

const LEASE: &str = "importer";

/// Runs the importer until it receives a signal.
///
/// # Errors
/// If the target's config can't be loaded, the probe address can't be bound, or a task ends unexpectedly.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = mcsa_runtime::signals::shutdown()?;
    let config = args.cluster.config().await?;
    tracing::info!(target_server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    let candidate = args.lease.candidate(SYSTEM_NAMESPACE, LEASE);
    let fence = if candidate.is_some() { Fence::initially_closed() } else { Fence::always_open() };
    let client = Client::try_from(config.clone()).context("client for the target")?;
    let writer = ClientBuilder::try_from(config)?.with_layer(&fence.layer()).build();

    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let clock = Clock::system();
    let scopes = Scope::of(&args.namespaces);
    let controller =
        Controller::new(client.clone(), writer, scopes, fence.clone(), clock.clone(), metrics.clone());
    let (cache, health) = (controller.cache(), controller.health());
    let leads = fence.clone();
    metrics::expose(&mut registry, move || {
        cache::count::snapshot(&cache, leads.is_open(), clock.now(), &metrics)
    });
    let (alive, ready) = (health.clone(), health);
    let probes = Probes {
        alive: Box::new(move || alive.live()),
        ready: Box::new(move || ready.ready()),
        metrics: registry,
    };
    let probe_server = args.probes.listen()?.serve(probes);

    let (done, is_done) = oneshot::channel::<()>();
    let synced = controller.synced();
    let election = OptionFuture::from(candidate.map(async |candidate| {
        // A replica that can't list must not keep others from the lease.
        synced.await;
        lease::hold(client, candidate, fence, is_done).await;
    }));
    let control_loop = async {
        let signal = async {
            tracing::info!(signal = shutdown.await, "stopping");
        };
        let result = controller.run(signal).await;
        // Releases the lease, after the last reconciliation has ended.
        drop(done);
        result
    };
    tokio::select! {
        (result, _) = async { tokio::join!(control_loop, election) } => result,
        never = probe_server => match never {},
    }
}
