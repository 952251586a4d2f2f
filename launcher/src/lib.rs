//! Runs pods of this cluster in others.
//!
//! For each source cluster that has launch imports, there is a virtual node. The scheduler binds pods to it, and the
//! launcher runs them in the source, as a kubelet runs them in a container runtime. A pod passes through these steps,
//! each a file:
//!
//! | step | question |
//! | --- | --- |
//! | `resolve` | which launch import runs the pod, and in which namespace? |
//! | `forge` | what does the remote pod look like? |
//! | `create` | create it once, and never again |
//! | `mirror` | which status does the home pod get? |
//! | `finish` | delete the remote pod of a deleted home pod, then the home pod |
//!
//! `forge` and `mirror` are pure functions; I/O is in the other steps.
//!
//! Beside them, `node` maintains the Node object, and `endpoint` serves what the API server asks of a kubelet: logs,
//! exec, attach and port-forward. `usage` is what metrics-server asks for, and `argo` brings the outputs of workflow steps
//! home. `argo_secrets` runs pods with the Secrets of Argo Workflows instead of launch imports.

mod argo;
mod argo_secrets;
mod args;
mod controller;
mod count;
mod create;
mod endpoint;
mod error_response;
mod event;
mod finish;
mod forge;
mod home_pod;
mod launch_import;
mod metrics;
mod mirror;
mod node;
mod prune;
mod quantity;
mod reconcile;
mod record;
mod remote_events;
mod remote_pod;
mod report;
mod resolve;
mod source;
mod sources;
mod states;
mod usage;

use std::time::Duration;

use anyhow::Context;
use futures::future::OptionFuture;
use kube::Client;
use kube::client::ClientBuilder;
use mcsa_client::argo::Reader;
use mcsa_client::clusters::{Clusters, Imports};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::{LAUNCHER, SELECTOR};
use mcsa_runtime::lease::{self, Fence};
use mcsa_runtime::probes::Probes;
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

pub use crate::args::Args;
use crate::endpoint::Endpoint;
use crate::source::HOME;
use crate::sources::Sources;

/// How long a candidate waits for Argo's Secrets: a leader that does not know them would report that pods have no launch
/// import, and could create a pod elsewhere than its predecessor. Not for ever, because pods of launch imports need no
/// Secret.
const SECRETS_DEADLINE: Duration = Duration::from_secs(30);

/// Runs the launcher until it receives a signal.
///
/// # Errors
/// If the target's config can't be loaded, an address can't be bound, or a task ends unexpectedly.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = mcsa_runtime::signals::shutdown()?;
    args.argo.warn_if_useless();
    let config = args.cluster.config().await?;
    tracing::info!(target_server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    let candidate = args.lease.candidate(SYSTEM_NAMESPACE, LAUNCHER);
    let fence = if candidate.is_some() { Fence::initially_closed() } else { Fence::always_open() };
    let client = Client::try_from(config.clone()).context("client for the target")?;
    let writer = ClientBuilder::try_from(config)?.with_layer(&fence.layer()).build();

    let imports = Imports::in_all_namespaces(&client).labels(SELECTOR);
    let clusters = Clusters::builder().local(HOME, writer.clone()).imports(imports).start()?;
    let endpoint = Endpoint::bind(&args.endpoint)?;
    let address = (endpoint.node_address(), endpoint.local_address().port()).into();
    let (secrets_synced, are_synced) = watch::channel(args.argo.controller_namespace().is_none());
    let argo_namespaces = args.argo.namespaces();
    let reader = Reader::default();
    let reader = if args.argo_allow_insecure { reader.allow_insecure() } else { reader };
    let secrets = argo_secrets::run(args.argo, reader, client.clone(), clusters.clone(), secrets_synced);
    let sources =
        Sources::new(writer, clusters.clone(), argo_namespaces, are_synced.clone(), fence.clone(), address);

    let mut registry = Registry::default();
    endpoint.counters().register(&mut registry);
    let counted = sources.clone();
    metrics::expose(&mut registry, move || counted.snapshot());
    let home = clusters.local().context("this cluster is not a member")?;
    let probes = Probes {
        alive: Box::new(|| Ok(())),
        ready: Box::new(move || match home.health().is_unavailable() {
            true => Err("the API server does not respond".to_owned()),
            false => Ok(()),
        }),
        metrics: registry,
    };
    let probe_server = args.probes.listen()?.serve(probes);
    let looked_up = sources.clone();
    let look_up = move |namespace: &str, pod: &str| looked_up.look_up(namespace, pod);
    let running = sources.clone();
    let endpoint = endpoint.serve(client.clone(), look_up, move |node: &str| running.usage(node));

    let (done, is_done) = oneshot::channel::<()>();
    let (stop, stopped) = watch::channel(false);
    let synced = clusters.clone();
    let election = OptionFuture::from(candidate.map(async |candidate| {
        let mut is_done = is_done;
        // A replica that can't list must not keep others from the lease.
        tokio::select! {
            () = wait_until_synced(&synced, are_synced) => {}
            _ = &mut is_done => return,
        }
        lease::hold(client, candidate, fence, is_done).await;
    }));
    let control_loop = async {
        sources.run(stopped).await;
        // Releases the lease, after the last reconciliation has ended.
        drop(done);
    };
    let signal = async {
        tracing::info!(signal = shutdown.await, "stopping");
        stop.send_replace(true);
    };
    tokio::select! {
        _ = async { tokio::join!(control_loop, election, signal) } => Ok(()),
        result = endpoint => match result? {},
        never = probe_server => match never {},
        never = secrets => match never {},
    }
}

/// Waits for the launch imports, and for a limited time for Argo's Secrets.
async fn wait_until_synced(clusters: &Clusters, mut secrets_synced: watch::Receiver<bool>) {
    clusters.wait_until_synced().await;
    let secrets = secrets_synced.wait_for(|synced| *synced);
    if timeout(SECRETS_DEADLINE, secrets).await.is_err() {
        tracing::warn!("Secrets of Argo Workflows can't be listed; not waiting for them any longer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_candidate_waits_for_the_secrets_but_not_for_ever() {
        let clusters = Clusters::fixed::<&str>([]);
        let (synced, are_synced) = watch::channel(false);
        let wait = |deadline| timeout(deadline, wait_until_synced(&clusters, are_synced.clone()));
        let second = Duration::from_secs(1);
        assert!(wait(SECRETS_DEADLINE - second).await.is_err());
        assert!(wait(SECRETS_DEADLINE + second).await.is_ok());
        synced.send_replace(true);
        assert!(wait(second).await.is_ok());
    }
}
