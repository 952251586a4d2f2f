//! The controller of one source: watches its home pods and remote pods, and reconciles them.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use futures::{FutureExt, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use mcsa_client::clusters::{Clusters, Health, Member};
use mcsa_client::controller::{self, Controller, Stores, WatchConfig};
use mcsa_runtime::errors;
use mcsa_runtime::lease::{Fence, LeaseLost};
use tokio::sync::{mpsc, watch};

use crate::event::Events;
use crate::last_states::LastStates;
use crate::prune;
use crate::reconcile::{Error, reconcile};
use crate::source::Source;

/// Concurrent reconciliations of a source. Most take two calls.
const CONCURRENCY: u16 = 64;

/// The shortest and the longest delay before a pod is tried again.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// The controller of a source, before it runs, and what its reconciliations share.
pub(crate) fn build(
    cluster: &Arc<str>,
    clusters: &Clusters,
    fence: &Fence,
    events: &Events,
) -> (Controller<Pod>, Arc<Source>) {
    let (remote, last_states) = (Stores::empty(), LastStates::default());
    let on_node = watcher::Config::default().fields(&format!("spec.nodeName={cluster}"));
    let of_source = is_import_of(cluster.clone());
    let observed = last_states.clone();
    let remove_unused = move |pod: &mut Pod| {
        prune::remote(pod);
        observed.observe(pod);
    };
    let controller = Controller::new(clusters, on_node)
        .members(Member::is_local)
        .namespace_of(|member| (!member.is_local()).then(|| member.default_namespace().to_owned()))
        .modify(prune::home)
        .owns_stored(WatchConfig::from(watcher::Config::default()).members(of_source), &remote, remove_unused)
        .reconcile_all_on(recoveries(clusters, cluster.clone()))
        .run_while_leading(leadership(fence.clone()))
        .concurrency(CONCURRENCY)
        .backoff(BACKOFF[0], BACKOFF[1]);
    let source = Source {
        cluster: cluster.clone(),
        clusters: clusters.clone(),
        fence: fence.clone(),
        events: events.clone(),
        home: controller.stores(),
        remote,
        last_states,
        written: Default::default(),
    };
    (controller, Arc::new(source))
}

/// Runs the controller until `stop` is true. Then running reconciliations finish.
pub(crate) async fn run(controller: Controller<Pod>, source: Arc<Source>, mut stop: watch::Receiver<bool>) {
    let cluster = source.cluster.clone();
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let results =
        controller.graceful_shutdown_on(stopped).run(reconcile, |request, _, _| request.backoff(), source);
    let log = |result: Result<_, controller::Error<Error>>| {
        if let Err(error) = result {
            log(&cluster, &error);
        }
        std::future::ready(())
    };
    results.for_each(log).await;
}

/// Waits until `stop` is true, or its sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn log(cluster: &str, error: &controller::Error<Error>) {
    let line = errors::line(error);
    if LeaseLost::caused(error) {
        tracing::debug!(cluster, error = line, "reconciliation abandoned");
    } else {
        tracing::warn!(cluster, error = line, "retrying");
    }
}

/// Selects the launch imports of a source.
pub(crate) fn is_import_of(cluster: Arc<str>) -> impl Fn(&Member) -> bool + Clone + Send + Sync + 'static {
    move |member| member.import().is_some_and(|import| *import.spec.cluster_name == *cluster)
}

/// Yields whether this replica leads, at each change.
fn leadership(fence: Fence) -> impl Stream<Item = bool> + Send + 'static {
    stream::unfold((fence, false), |(fence, leads)| async move {
        match leads {
            true => fence.closed().await,
            false => fence.opened().await,
        }
        Some((!leads, (fence, !leads)))
    })
}

/// Yields when a launch import of the source joins, and when the source is available again: pods that wait need no
/// back-off then.
fn recoveries(clusters: &Clusters, cluster: Arc<str>) -> impl Stream<Item = ()> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(1);
    let is_of_source = is_import_of(cluster);
    let tasks = clusters.for_each_member(move |member| {
        let (sender, is_of_source) = (sender.clone(), is_of_source(&member));
        async move {
            if !is_of_source {
                return;
            }
            loop {
                // Full: all pods are about to be reconciled anyway.
                let _ = sender.try_send(());
                let mut health = member.watch_health();
                let unavailable = health.wait_for(Health::is_unavailable).await.is_ok();
                if !unavailable {
                    return;
                }
                member.wait_until_available().await;
            }
        }
    });
    let received = stream::poll_fn(move |context| receiver.poll_recv(context));
    stream::select(received, tasks.into_stream().filter_map(|()| std::future::ready(None)))
}
