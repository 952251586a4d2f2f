//! Runs a virtual node for each source that has launch imports.

mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::clusters::{Clusters, Member};
use mcsa_credentials::contract::launch::{FIELD_MANAGER, NODE_LABEL, NODE_MANAGED_BY, SELECTOR};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use mcsa_runtime::lease::Fence;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::controller;
use crate::event::Events;
use crate::node::{self, NodeError, NodeState, Platform, VirtualNode};
use crate::remote_events;
use crate::source::{Source, is_import_of};
use crate::usage::Usage;

/// How long to wait before an API server is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// All sources. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Writes only while this replica leads.
    client: Client,
    clusters: Clusters,
    /// The namespaces whose pods may use Argo's Secrets.
    argo_namespaces: Arc<BTreeSet<String>>,
    /// Whether the launches of Argo's Secrets are members, if there are any.
    secrets_synced: watch::Receiver<bool>,
    fence: Fence,
    events: Events,
    /// Where the API server reaches this process.
    endpoint: SocketAddr,
    running: Arc<Mutex<BTreeMap<Arc<str>, Running>>>,
}

struct Running {
    source: Arc<Source>,
    members: watch::Sender<Vec<Member>>,
    node: watch::Receiver<NodeState>,
}

impl Sources {
    pub(crate) fn new(
        client: Client,
        clusters: Clusters,
        argo_namespaces: BTreeSet<String>,
        secrets_synced: watch::Receiver<bool>,
        fence: Fence,
        endpoint: SocketAddr,
    ) -> Self {
        let events = Events::new(client.clone());
        let (argo_namespaces, running) = (Arc::new(argo_namespaces), Arc::default());
        Self { client, clusters, argo_namespaces, secrets_synced, fence, events, endpoint, running }
    }

    /// Runs until `stop` is true and all reconciliations have finished.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let mut changes = self.clusters.watch();
        let mut stopped = stop.clone();
        tokio::select! {
            () = self.start_left_over(&mut tasks, &stop) => {}
            () = controller::stopped(&mut stopped) => {}
        }
        loop {
            tokio::select! {
                Some(_) = changes.next() => self.update(&mut tasks, &stop),
                // A source ended because it had no launch import. It may have one by now.
                Some(ended) = tasks.join_next() => {
                    resume_panic(ended);
                    self.update(&mut tasks, &stop);
                }
                () = controller::stopped(&mut stopped) => break,
            }
        }
        while let Some(ended) = tasks.join_next().await {
            resume_panic(ended);
        }
    }

    /// Starts the sources that have a node from earlier, and perhaps no launch import any more.
    async fn start_left_over(&self, tasks: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        self.clusters.wait_until_synced().await;
        let nodes = Api::<Node>::all(self.client.clone());
        loop {
            match with_deadline(nodes.list_metadata(&ListParams::default().labels(NODE_LABEL))).await {
                Ok(nodes) => {
                    let is_ours = |node: &PartialObjectMeta<Node>| {
                        node.annotations().get(NODE_MANAGED_BY).is_some_and(|by| by == FIELD_MANAGER)
                    };
                    let names = nodes.into_iter().filter(is_ours).map(|node| Arc::from(node.name_any()));
                    names.for_each(|name| self.start(name, tasks, stop));
                    return self.update(tasks, stop);
                }
                Err(error) => tracing::warn!(error = errors::line(&error), "can't list nodes; retrying"),
            }
            sleep(RETRY).await;
        }
    }

    /// Starts new sources, and updates the launch imports of all.
    fn update(&self, tasks: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let mut members: BTreeMap<Arc<str>, Vec<Member>> = BTreeMap::new();
        for member in self.clusters.members() {
            if let Some(import) = member.import() {
                members.entry(import.spec.cluster_name.as_str().into()).or_default().push(member);
            }
        }
        for name in members.keys() {
            self.start(name.clone(), tasks, stop);
        }
        for (name, running) in self.lock().iter() {
            let current = members.remove(name).unwrap_or_default();
            running.members.send_if_modified(|known| {
                let is_changed = *known != current;
                *known = current;
                is_changed
            });
        }
    }

    fn start(&self, cluster: Arc<str>, tasks: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let mut running = self.lock();
        if running.contains_key(&cluster) {
            return;
        }
        let (state, node) = watch::channel(NodeState::default());
        let leadership = (&self.fence, node.clone());
        let (controller, source) =
            controller::build(&cluster, &self.clusters, &self.argo_namespaces, leadership, &self.events);
        let (members, members_watch) = watch::channel(Vec::new());
        running.insert(cluster.clone(), Running { source: source.clone(), members, node });
        drop(running);
        let (sources, mut stop) = (self.clone(), stop.clone());
        let usage = source.usage.clone();
        let repeat_events = remote_events::repeat(source.clone());
        let control = controller::run(controller, source, stop.clone());
        tasks.spawn(async move {
            let mut control = std::pin::pin!(control);
            tokio::select! {
                () = sources.maintain_node((&cluster, &usage), members_watch, &state) => {}
                () = repeat_events => {}
                () = &mut control => {}
                () = controller::stopped(&mut stop) => control.await,
            }
            sources.lock().remove(&cluster);
        });
    }

    /// Maintains the source's node while this replica leads. Returns once the source has no launch import, and its node
    /// is deleted.
    async fn maintain_node(
        &self,
        (cluster, usage): (&str, &Usage),
        members: watch::Receiver<Vec<Member>>,
        state: &watch::Sender<NodeState>,
    ) {
        loop {
            self.fence.opened().await;
            tokio::select! {
                () = self.maintain_while_leading(cluster, members.clone(), state) => return,
                () = self.fence.closed() => usage.reset().await,
            }
        }
    }

    async fn maintain_while_leading(
        &self,
        cluster: &str,
        mut members: watch::Receiver<Vec<Member>>,
        state: &watch::Sender<NodeState>,
    ) {
        let (name, cluster_uid, endpoint) = (cluster.to_owned(), self.cluster_uid().await, self.endpoint);
        let node = VirtualNode { name, cluster_uid, endpoint, platform: Platform::default() };
        let report = |problem: &NodeError| {
            tracing::warn!(
                node = cluster,
                error = errors::line(problem),
                "can't maintain the node; retrying"
            );
        };
        loop {
            if self.has_imports(cluster).await {
                tokio::select! {
                    never = node::maintain(self.client.clone(), node.clone(), members.clone(), report, state) => {
                        match never {}
                    }
                    () = self.loses_imports(cluster, members.clone()) => {}
                }
            }
            tokio::select! {
                () = node::remove(self.client.clone(), node.clone(), report, state) => return,
                _ = members.wait_for(|members| !members.is_empty()) => {}
            }
        }
    }

    /// The UID of this cluster.
    async fn cluster_uid(&self) -> String {
        loop {
            // The local member never leaves.
            let Some(home) = self.clusters.local() else { return std::future::pending().await };
            match with_deadline(home.cluster_uid()).await {
                Ok(uid) => return uid.to_owned(),
                Err(error) => {
                    tracing::warn!(error = errors::line(&error), "can't get namespace kube-system; retrying");
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Waits until the source has no launch import any more.
    async fn loses_imports(&self, cluster: &str, mut members: watch::Receiver<Vec<Member>>) {
        while self.has_imports(cluster).await {
            // Without members, only requests tell whether an import still exists.
            let _ = timeout(RETRY, members.changed()).await;
        }
    }

    /// Whether the source has a launch import, even one that can't be used: its Secret may be missing for a while.
    /// Until Argo's Secrets are listed, any source may have one.
    async fn has_imports(&self, cluster: &str) -> bool {
        // In this order: the launches of the Secrets join before they are synced.
        let is_synced = *self.secrets_synced.borrow();
        if !is_synced || self.clusters.members().iter().any(is_import_of(cluster.into())) {
            return true;
        }
        let imports = Api::<ServiceAccountImport>::all(self.client.clone());
        let selected = ListParams::default().labels(SELECTOR);
        match with_deadline(imports.list(&selected)).await {
            Ok(imports) => imports.iter().any(|import| import.spec.cluster_name == cluster),
            Err(error) => {
                tracing::warn!(cluster, error = errors::line(&error), "can't list launch imports");
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the process, which is restarted: without its task, a source would stand still unnoticed.
fn resume_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}
