//! The loop that maintains one node.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Client, ResourceExt};
use mcsa_client::clusters::Member;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::health::Reachability;
use super::reporter::Reporter;
use super::sources::Sources;
use super::state::NodeState;
use super::write::{NodeApi, NodeError};
use super::{VirtualNode, desired, lease, status};

/// A kubelet's interval.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// How often annotations of imports are read: no event reports that they have changed.
const INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two writes, so that no other program can make this one write without end.
const PAUSE: Duration = Duration::from_secs(1);
/// Conflicts that are over after this back-off are not reported.
const CONFLICT_BACKOFF: Duration = Duration::from_secs(4);
/// Longest wait before a failed write is repeated.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Maintains the Node of a source, its Lease and its status, until dropped. Creates it again if it is deleted.
///
/// `members` has the members of the source's launch imports. `report` gets what can't be done: each problem once, until
/// it changes. `state` gets what is known of the Node.
pub(crate) async fn maintain(
    client: Client,
    node: VirtualNode,
    members: watch::Receiver<Vec<Member>>,
    report: impl Fn(&NodeError),
    state: &watch::Sender<NodeState>,
) -> Infallible {
    run(client, node, members, report, state, false).await
}

/// Like [`maintain`]. A node that `is_leaving` is cordoned, and not created again.
pub(super) async fn run(
    client: Client,
    node: VirtualNode,
    members: watch::Receiver<Vec<Member>>,
    report: impl Fn(&NodeError),
    state: &watch::Sender<NodeState>,
    is_leaving: bool,
) -> Infallible {
    let api = NodeApi::new(client, &node.name);
    let uid = watch::Sender::new(None);
    let lease = lease::renew(api.client(), &node.name, uid.subscribe(), Reporter::new(&report), state);
    let maintainer = Maintainer {
        api: api.clone(),
        node: node.clone(),
        is_leaving,
        sources: Sources::new(node.cluster_uid.clone()),
        observed: Observed::Unread,
        applied: None,
        status_due: Instant::now(),
        version: None,
        uid,
        state,
    };
    match select(pin!(lease), pin!(maintainer.run(members, &report))).await {
        Either::Left((never, _)) | Either::Right((never, _)) => never,
    }
}

struct Maintainer<'a> {
    api: NodeApi,
    node: VirtualNode,
    is_leaving: bool,
    sources: Sources,
    observed: Observed,
    /// The last status that was written, without times.
    applied: Option<NodeStatus>,
    status_due: Instant,
    version: Option<String>,
    /// The node's UID, while it is ours: its Lease is renewed.
    uid: watch::Sender<Option<String>>,
    state: &'a watch::Sender<NodeState>,
}

/// Once nothing observes the Node, it is unknown whose it is.
impl Drop for Maintainer<'_> {
    fn drop(&mut self) {
        NodeState::update(self.state, |state| *state = NodeState::default());
    }
}

/// The Node in the target.
enum Observed {
    /// It has to be requested.
    Unread,
    Absent,
    Found(Box<Node>),
}

impl Maintainer<'_> {
    async fn run(
        mut self,
        mut members: watch::Receiver<Vec<Member>>,
        report: &impl Fn(&NodeError),
    ) -> Infallible {
        let (reporter, watch_reporter) = (Reporter::new(report), Reporter::new(report));
        let mut nodes = pin!(watch_object(self.api.nodes(), self.api.name()).default_backoff());
        let (mut has_members, mut is_changed) = (true, false);
        let (mut due, mut earliest, mut backoff) = (Instant::now(), Instant::now(), PAUSE);
        self.sources.set(&members.borrow_and_update());
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    if !std::mem::take(&mut is_changed) {
                        // The watch may be broken, and the pod garbage collector waits only 40 seconds.
                        self.observed = Observed::Unread;
                    }
                    let result = self.reconcile().await;
                    let now = Instant::now();
                    earliest = now + PAUSE;
                    // Another writer was faster: that is nobody's problem, unless it goes on.
                    let is_conflict = result.as_ref().is_err_and(NodeError::is_conflict);
                    if !is_conflict || backoff > CONFLICT_BACKOFF {
                        reporter.report(&result);
                        NodeState::update(self.state, |state| state.is_written = result.is_ok());
                    }
                    (due, backoff) = match result {
                        Ok(()) => (now + INTERVAL, PAUSE),
                        Err(_) => (now + backoff, (backoff * 2).min(MAX_BACKOFF)),
                    };
                    continue;
                }
                event = nodes.next() => match event {
                    Some(Ok(node)) => {
                        watch_reporter.report(&Ok(()));
                        self.observe(node);
                    }
                    Some(Err(error)) => {
                        let name = self.node.name.clone();
                        watch_reporter.report::<()>(&Err(NodeError::Watch { name, error }));
                        continue;
                    }
                    None => return std::future::pending().await,
                },
                () = self.sources.changed() => {}
                changed = members.changed(), if has_members => {
                    has_members = changed.is_ok();
                    self.sources.set(&members.borrow_and_update());
                }
            }
            is_changed = true;
            due = due.min(earliest.max(Instant::now()));
        }
    }

    /// Events about what is older than the last write are ignored.
    fn observe(&mut self, node: Option<Node>) {
        match (node, &self.observed) {
            (Some(node), Observed::Found(known)) if is_older(&node, known) => {}
            (Some(node), _) => self.observed = Observed::Found(node.into()),
            (None, _) => self.observed = Observed::Absent,
        }
        // At once: the next reconciliation may have to wait.
        self.set_is_ours(matches!(&self.observed, Observed::Found(node) if desired::is_ours(node)));
    }

    /// Writes what differs. After an error, the node is read again.
    async fn reconcile(&mut self) -> Result<(), NodeError> {
        let observed = match std::mem::replace(&mut self.observed, Observed::Unread) {
            Observed::Unread => self.api.get().await.inspect_err(|_| self.set_is_ours(false))?,
            Observed::Absent => None,
            Observed::Found(node) => Some(*node),
        };
        self.set_is_ours(observed.as_ref().is_some_and(desired::is_ours));
        if let Some(node) = observed.as_ref().filter(|node| !desired::is_ours(node)) {
            let name = node.name_any();
            self.set_uid(None);
            self.set_observed(observed);
            return Err(NodeError::NameTaken { name });
        }
        let written = self.write(observed).await?;
        self.set_observed(written);
        Ok(())
    }

    /// Writes a node that is ours, or absent. Returns what is stored.
    async fn write(&mut self, observed: Option<Node>) -> Result<Option<Node>, NodeError> {
        let reachability = self.sources.reachability();
        self.set_uid(observed.as_ref().and_then(ResourceExt::uid));
        let stored = match observed {
            // It is being deleted: wait for the end.
            Some(node) if node.metadata.deletion_timestamp.is_some() => return Ok(Some(node)),
            Some(node) => match desired::patch(&node, &self.node, &reachability, self.is_leaving) {
                Some(patch) => self.api.patch(patch).await?,
                None => node,
            },
            None if self.is_leaving => return Ok(None),
            None => {
                let created = self.api.create(&desired::new(&self.node, &reachability)).await?;
                self.set_uid(created.uid());
                self.set_is_ours(desired::is_ours(&created));
                created
            }
        };
        self.write_status(stored, &reachability).await.map(Some)
    }

    /// Writes the status if it changed, or is due.
    async fn write_status(&mut self, node: Node, reachability: &Reachability) -> Result<Node, NodeError> {
        let (capacity, version) = (self.sources.capacity(), self.version().await);
        let observed = node.status.as_ref();
        let status = status::desired(&self.node, observed, reachability, &capacity, &version);
        let is_changed = self.applied.as_ref() != Some(&status) || status::differs(observed, &status);
        if !is_changed && Instant::now() < self.status_due {
            return Ok(node);
        }
        let timed = status::timed(&status, observed, Timestamp::now());
        let written = self.api.apply_status(&node.uid().unwrap_or_default(), &timed).await?;
        self.applied = Some(status);
        self.status_due = Instant::now() + STATUS_INTERVAL;
        Ok(written)
    }

    fn set_uid(&self, uid: Option<String>) {
        self.uid.send_if_modified(|known| std::mem::replace(known, uid.clone()) != uid);
    }

    fn set_is_ours(&self, is_ours: bool) {
        NodeState::update(self.state, |state| state.is_ours = is_ours);
    }

    fn set_observed(&mut self, node: Option<Node>) {
        self.observed = node.map_or(Observed::Absent, |node| Observed::Found(node.into()));
    }

    async fn version(&mut self) -> String {
        if self.version.is_none() {
            self.version = self.api.server_version().await;
        }
        status::kubelet_version(self.version.as_deref())
    }
}

/// Whether `node` is an earlier version of `known`. Versions of one object are numbers that increase.
fn is_older(node: &Node, known: &Node) -> bool {
    let version = |node: &Node| node.resource_version().and_then(|version| version.parse::<u64>().ok());
    node.uid() == known.uid() && version(node).zip(version(known)).is_some_and(|(node, known)| node < known)
}

#[cfg(test)]
mod tests;
