//! The controller of one source: watches its home pods and remote pods, and reconciles them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use futures::{FutureExt, Stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher;
use mcsa_client::clusters::{Clusters, Health, Member};
use mcsa_client::controller::{self, Controller, Key, Stores, WatchConfig};
use mcsa_runtime::errors;
use mcsa_runtime::lease::{Fence, LeaseLost};
use tokio::sync::{mpsc, watch};

use crate::argo;
use crate::argo::leftovers::Leftovers;
use crate::argo::steps::Steps;
use crate::event::Events;
use crate::home_pod::Error;
use crate::metrics::SourceMetrics;
use crate::node::NodeState;
use crate::reconcile::reconcile;
use crate::source::{Source, home_of, is_import_of};
use crate::states::States;
use crate::{mirror, prune};

/// Concurrent reconciliations of a source. Most take two calls.
const CONCURRENCY: u16 = 64;

const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest and the longest delay before a pod is tried again.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Builds the controller of a source, and the state that its reconciliations share.
pub(crate) fn build(
    cluster: &Arc<str>,
    clusters: &Clusters,
    argo_namespaces: &Arc<BTreeSet<String>>,
    (fence, node): (&Fence, watch::Receiver<NodeState>),
    events: &Events,
) -> (Controller<Pod>, Arc<Source>) {
    let (remote, states) = (Stores::empty(), Arc::new(States::default()));
    let (steps, leftovers) = (Arc::new(Steps::default()), Arc::new(Leftovers::default()));
    let on_node = watcher::Config::default().fields(&format!("spec.nodeName={cluster}"));
    let of_source = is_import_of(cluster.clone());
    let of_imports = WatchConfig::from(watcher::Config::default()).members(of_source);
    let controller = Controller::new(clusters, on_node);
    let observed = steps.clone();
    let keep_last = keep_last_state(states.clone(), clusters.clone(), controller.stores());
    let controller = controller
        .members(Member::is_local)
        .namespace_of(|member| (!member.is_local()).then(|| member.default_namespace().to_owned()))
        .modify(move |home| {
            prune::home(home);
            observed.observe(home);
        })
        .owns_stored(of_imports, &remote, prune::remote, keep_last)
        .reconcile_on(argo::watch::reports(clusters, cluster.clone(), steps.clone(), leftovers.clone()))
        .reconcile_all_on(recoveries(clusters, cluster.clone()))
        .run_while_leading(leadership(fence.clone(), node))
        .concurrency(CONCURRENCY)
        .backoff(BACKOFF[0], BACKOFF[1]);
    let source = Source {
        cluster: cluster.clone(),
        clusters: clusters.clone(),
        argo_namespaces: argo_namespaces.clone(),
        fence: fence.clone(),
        events: events.clone(),
        home: controller.stores(),
        remote,
        states,
        steps,
        leftovers,
        metrics: Arc::new(SourceMetrics::default()),
        usage: Arc::default(),
    };
    (controller, Arc::new(source))
}

/// Runs the controller until `stop` is true. Then running reconciliations finish.
pub(crate) async fn run(controller: Controller<Pod>, source: Arc<Source>, mut stop: watch::Receiver<bool>) {
    let (cluster, swept) = (source.cluster.clone(), source.clone());
    let results = controller.graceful_shutdown_on(async move { stopped(&mut stop).await }).run(
        reconcile,
        |request, _, _| request.backoff(),
        source,
    );
    let log = |result: Result<_, controller::Error<Error>>| {
        if let Err(error) = result {
            log(&cluster, &error);
        }
        std::future::ready(())
    };
    tokio::select! {
        () = results.for_each(log) => {}
        () = sweep(&swept) => {}
    }
}

/// Drops what is remembered of home pods that are gone, and deletes what is left of their steps.
async fn sweep(source: &Source) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let uids: HashSet<_> = source.home.objects().iter().filter_map(|(_, pod)| pod.uid()).collect();
        source.states.retain(|uid| uids.contains(uid));
        source.steps.retain(&uids);
        argo::sweep::sweep(source, &uids).await;
    }
}

/// Keeps the last state of a remote pod that is gone, until it is mirrored.
fn keep_last_state(
    states: Arc<States>,
    clusters: Clusters,
    home: Stores<Pod>,
) -> impl Fn(&Key, &Pod) + Send + Sync + 'static {
    move |key, remote| {
        let Some(member) = clusters.get(&key.cluster) else { return };
        let Some(home) = home_of(&home, &member, remote) else { return };
        if let Some(uid) = home.uid().filter(|_| !mirror::is_terminal(&home)) {
            states.set_last_remote(&uid, remote.clone());
        }
    }
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

/// Yields whether to reconcile, at each change: this replica leads, and the node is the launcher's. The pods of a real node
/// of that name are its kubelet's.
fn leadership(fence: Fence, node: watch::Receiver<NodeState>) -> impl Stream<Item = bool> + Send + 'static {
    stream::unfold((fence, node, false), |(fence, mut node, leads)| async move {
        if leads {
            tokio::select! {
                () = fence.closed() => {}
                result = node.wait_for(|node| !node.is_ours) => drop(result.ok()?),
            }
        } else {
            while !(fence.is_open() && node.borrow().is_ours) {
                fence.opened().await;
                drop(node.wait_for(|node| node.is_ours).await.ok()?);
            }
        }
        Some((!leads, (fence, node, !leads)))
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
                // If the channel is full, a reconciliation of all pods is due already.
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
