//! The admission webhook: mounts the Secrets of the ServiceAccountImports that a pod's annotation names, in every
//! container, and lets pods that ask for it run in the clusters of their namespace's launch imports. Translates the
//! fields `cluster` and `namespace` of templates of Argo Workflows into annotations of the pods.
//!
//! A request passes through `listener` (`activity`: idle connections) → `server` (`body`: reads the review) →
//! `review` (`admission`: parses it; `pod`: the parsed pod; `annotation`: the imports that it names;
//! `imports`: looks them up; `patch`: the volumes and mounts to add; `placement`: the clusters in which it may run;
//! `scheduling`: the tolerations and node affinity to add; `workflow`: the annotations of templates; `argo`: the
//! namespaces whose pods may run without launch imports; `requested_import`: a new import, which gets a warning if no
//! policy permits it). `certificates` maintains the serving certificate and the webhook configuration. `watch_activity`
//! measures how old the cache may be, `readiness` reports what is missing, and `metrics` exposes both.

mod activity;
mod admission;
mod annotation;
mod argo;
mod args;
mod body;
mod certificates;
mod imports;
mod json;
mod listener;
mod message;
mod metrics;
pub mod patch;
mod patch_builder;
mod placement;
pub mod pod;
mod readiness;
mod requested_import;
mod review;
mod scheduling;
mod server;
mod watch_activity;
mod workflow;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use mcsa_runtime::probes::{self, Probes};
use mcsa_runtime::signals;
use prometheus_client::registry::Registry;
use tokio::time::sleep;
use tracing::info;

use argo::ArgoNamespaces;
pub use args::Args;
use certificates::CertificateController;
use imports::Imports;
use listener::Listener;
use metrics::{Metrics, Snapshot};
use readiness::Readiness;
use server::Server;
use watch_activity::WatchActivity;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it can't start, or if a task fails that should run until shutdown.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    args.argo.warn_if_useless();
    let config = args.cluster.config().await?;
    let activity = WatchActivity::default();
    let watcher = activity.client(config.clone())?;
    let client = Client::try_from(config)?;
    let imports = Arc::new(Imports::new(client.clone(), ArgoNamespaces::new(&args.argo)));

    let readiness = Arc::new(Readiness::default());
    let certificates = CertificateController::new(&args, client.clone(), readiness.clone())?;

    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let snapshot = {
        let (imports, readiness, expiry) = (imports.clone(), readiness.clone(), certificates.expiry());
        move || Snapshot {
            parts: readiness.parts(),
            imports: imports.count(),
            cache_age: activity.age(),
            certificate_expiry: *expiry.borrow(),
        }
    };
    metrics::expose(&mut registry, snapshot);
    let ready = readiness.clone();
    let probes =
        Probes { alive: Box::new(|| Ok(())), ready: Box::new(move || ready.check()), metrics: registry };
    let probe_server = args.probes.listen()?.serve(probes);

    let listener = probes::listen(args.listen).with_context(|| format!("can't listen at {}", args.listen))?;
    let address = listener.local_addr()?;
    let router = server::router(Server::new(imports.clone(), metrics));
    let listener = Listener::start(listener, certificates.tls(), router)?;
    info!(version = env!("CARGO_PKG_VERSION"), %address, "listening");

    let delay = Duration::from_secs(args.shutdown_delay.into());
    let shut_down = async {
        info!(signal = shutdown.await, "stopping");
        readiness.stop();
        // Keep serving API servers that still route here. A second signal ends the delay.
        let second_signal = signals::shutdown()?;
        tokio::select! {
            () = sleep(delay) => {}
            signal = second_signal => info!(signal, "stopping now"),
        }
        listener.shut_down().await
    };
    // All but the first run until shutdown; if one fails, the process ends.
    tokio::select! {
        result = shut_down => result?,
        result = certificates.run() => match result? {},
        result = imports.watch(watcher, &readiness) => match result? {},
        never = imports.policies.watch(client.clone()) => match never {},
        never = imports.argo.watch(client) => match never {},
        never = probe_server => match never {},
    }
    info!("stopped");
    Ok(())
}
