//! Finds suspects, and starts a task for each that checks it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Api;
use kube::api::ApiResource;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;

use super::cluster_uids::{ClusterUids, read_uid};
use super::index::{Index, OwnerRef};
use super::orphan::{Outcome, OwnerCluster, delete_if_orphan};
use crate::clusters::{Clusters, Member};
use crate::controller::backoff::Backoff;
use crate::controller::call::{self, Meta};
use crate::controller::error::BackgroundError;
use crate::controller::key::Key;
use crate::controller::metrics::Metrics;
use crate::controller::owner::Owner;
use crate::controller::queue::{Completion, Item, Queue};
use crate::controller::stores::Presence;
use crate::controller::target::Target;
use crate::controller::tasks::Tasks;
use crate::controller::watch_config::MemberFilter;

/// Concurrent checks per pair of clusters.
const CONCURRENCY: usize = 8;

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(60), max: Duration::from_secs(15 * 60) };

/// A kind given to [`Controller::owns`](crate::controller::Controller::owns).
#[derive(Clone)]
pub(in crate::controller) struct OwnedKind {
    pub(in crate::controller) resource: ApiResource,
    pub(in crate::controller) kind: Arc<str>,
    pub(in crate::controller) is_namespaced: bool,
    pub(in crate::controller) members: MemberFilter,
}

impl OwnedKind {
    /// The API of the kind in a member, confined to a namespace unless the kind is cluster-scoped.
    pub(in crate::controller) fn api(&self, member: &Member, namespace: Option<&str>) -> Api<Meta> {
        call::api(member, &self.resource, namespace.filter(|_| self.is_namespaced))
    }
}

/// An object that may be an orphan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Suspect {
    /// The owner's cluster and the object's. If either hangs, checks of other pairs continue.
    pair: (Arc<str>, Arc<str>),
    kind: usize,
    child: Key,
}

impl Item for Suspect {
    type Lane = (Arc<str>, Arc<str>);

    fn lane(&self) -> &Self::Lane {
        &self.pair
    }
}

type FindOwner = Box<dyn Fn(&Key, &str) -> Presence + Send + Sync>;

/// Indexes objects by their owners, and deletes orphans.
pub(in crate::controller) struct Collector {
    clusters: Clusters,
    owners: ApiResource,
    owned: Vec<OwnedKind>,
    index: Mutex<Index>,
    uids: ClusterUids,
    /// The controller's queue.
    reconciled: Arc<Queue<Key>>,
    suspects: Queue<Suspect>,
    /// Suspects that were kept for lack of proof, by their cluster.
    unproven: Mutex<HashMap<Arc<str>, HashSet<Suspect>>>,
    presence: FindOwner,
    metrics: Metrics,
    errors: mpsc::Sender<BackgroundError>,
}

impl Collector {
    pub(in crate::controller) fn new(
        clusters: Clusters,
        owners: ApiResource,
        owned: Vec<OwnedKind>,
        presence: FindOwner,
        reconciled: Arc<Queue<Key>>,
        metrics: Metrics,
        errors: mpsc::Sender<BackgroundError>,
    ) -> Self {
        Self {
            clusters,
            owners,
            owned,
            index: Mutex::default(),
            uids: ClusterUids::default(),
            reconciled,
            suspects: Queue::new(CONCURRENCY),
            unproven: Mutex::default(),
            presence,
            metrics,
            errors,
        }
    }

    pub(in crate::controller) fn owner_gone(&self, key: &Key, uid: &str) {
        let owners = self.index().owners_with(uid);
        for owner in owners {
            if self.key(&owner).as_ref() == Some(key) {
                self.enqueue_children(&owner);
            }
        }
    }

    /// Enqueues the objects whose owners are absent from a cluster that was just listed.
    pub(in crate::controller) fn cluster_listed(&self, cluster: &str) {
        let owners = self.index().owners();
        for owner in owners {
            if self.locate(&owner).as_deref() == Some(cluster) && self.is_gone(&owner) {
                self.enqueue_children(&owner);
            }
        }
    }

    /// The member's name may point to another cluster: its UID is not known until [`Collector::identify`] reads it.
    pub(in crate::controller) fn cluster_changed(&self, cluster: &str) {
        self.uids.remove(cluster);
    }

    pub(in crate::controller) fn cluster_left(&self, cluster: &str) {
        self.suspects.close_where(|(_, child)| **child == *cluster);
        self.unproven().remove(cluster);
        let mut owners = self.index().owners();
        owners.retain(|owner| *owner.cluster == *cluster || self.locate(owner).as_deref() == Some(cluster));
        self.uids.remove(cluster);
        for owner in owners {
            if self.is_gone(&owner) {
                self.enqueue_children(&owner);
            }
        }
    }

    /// Reads the UID of a member's cluster, and again when the member changes. Needed for members with owners.
    pub(in crate::controller) async fn identify(self: Arc<Self>, mut target: watch::Receiver<Target>) {
        loop {
            let Target { member, revision, .. } = target.borrow_and_update().clone();
            tokio::select! {
                uid = read_uid(&member) => {
                    self.identified(&target, revision, uid);
                    if target.changed().await.is_err() {
                        return;
                    }
                }
                Ok(()) = target.changed() => {}
            }
        }
    }

    fn identified(&self, target: &watch::Receiver<Target>, revision: u64, uid: String) {
        // Borrowed until the UID is recorded: afterwards, the member may change or leave.
        let current = target.borrow();
        if current.revision != revision {
            return;
        }
        let name = current.member.name();
        self.uids.insert(name.clone(), uid.clone());
        let owners = self.index().owners();
        for owner in owners.into_iter().filter(|owner| *owner.cluster_uid == *uid || owner.cluster == *name) {
            if owner.cluster != *name {
                self.reconcile(&owner);
            }
            if self.is_gone(&owner) {
                self.enqueue_children(&owner);
            }
        }
    }

    /// Checks suspects while this replica leads. Returns only if it can never lead again.
    pub(in crate::controller) async fn run(self: Arc<Self>, mut leading: watch::Receiver<bool>) {
        let mut checks = Tasks::default();
        loop {
            let is_leading = *leading.borrow_and_update();
            if !is_leading {
                checks.abort_all();
            }
            tokio::select! {
                Ok(()) = leading.changed() => {}
                Some(((suspect, failures), result)) = checks.next() => {
                    let completion = result.unwrap_or_else(|error| failed(&error, failures));
                    self.suspects.complete(&suspect, completion);
                }
                (suspect, failures) = self.suspects.next(), if is_leading => {
                    let check = self.clone().check(suspect.clone(), failures);
                    checks.start((suspect, failures), check);
                }
                else => return,
            }
        }
    }

    async fn check(self: Arc<Self>, suspect: Suspect, failures: u32) -> Completion {
        let Some(owned) = self.owned.get(suspect.kind) else { return Completion::Succeeded(None) };
        let child = &suspect.child;
        let owner = self.index().owner_of(suspect.kind, child);
        // Without a request: the watches of the owner's cluster report when the owner is gone.
        let Some(owner) = owner.filter(|owner| self.is_gone(owner)) else {
            self.record_unproven(&suspect, false);
            return Completion::Succeeded(None);
        };
        let cluster = self.locate(&owner);
        if *cluster.as_ref().unwrap_or(&owner.cluster) != suspect.pair.0 {
            self.record_unproven(&suspect, false);
            self.enqueue(&owner, suspect.kind, child.clone());
            return Completion::Succeeded(None);
        }
        let outcome = match cluster {
            Some(_) => {
                let find = |owner: &Owner| self.cluster_of(owner);
                delete_if_orphan(&self.clusters, &self.owners, &owned.resource, child, find).await
            }
            // No request: there may be thousands of such suspects.
            None => Outcome::Unproven("the owner's cluster is not a member".into()),
        };
        let retry = retry(failures);
        let completion = match outcome {
            Outcome::Unowned => Completion::Succeeded(None),
            // The owner is not in the store, so no event reports its deletion.
            Outcome::Owned => Completion::Succeeded(Some(BACKOFF.max)),
            Outcome::Deleted => {
                tracing::info!(kind = &*owned.kind, %child, "deleted an orphan: its owner is gone");
                self.metrics.orphan_deleted(&child.cluster);
                Completion::Succeeded(None)
            }
            Outcome::Unproven(problem) => {
                tracing::debug!(kind = &*owned.kind, %child, problem, "kept a possible orphan");
                retry
            }
            Outcome::DeleteFailed(problem) => {
                let error =
                    BackgroundError::Collect { kind: owned.kind.clone(), key: child.clone(), problem };
                drop(self.errors.try_send(error));
                retry
            }
        };
        self.record_unproven(&suspect, matches!(completion, Completion::Failed(_)));
        completion
    }

    fn enqueue(&self, owner: &OwnerRef, kind: usize, child: Key) {
        let pair = self.pair(owner, &child);
        // Temporary: children may claim owners in any number of clusters.
        self.suspects.push_to_temporary_lane(Suspect { pair, kind, child });
    }

    fn enqueue_children(&self, owner: &OwnerRef) {
        let children = self.index().children(owner);
        for (kind, child) in children {
            self.enqueue(owner, kind, child);
        }
    }

    fn pair(&self, owner: &OwnerRef, child: &Key) -> (Arc<str>, Arc<str>) {
        let owner_cluster = self.locate(owner).unwrap_or_else(|| owner.cluster.clone());
        (owner_cluster, child.cluster.clone())
    }

    /// Enqueues an owner to be reconciled.
    pub(super) fn reconcile(&self, owner: &OwnerRef) {
        if let Some(key) = self.key(owner) {
            self.reconciled.push(key);
        }
    }

    pub(super) fn child_applied(&self, kind: usize, child: &Key, owner: &OwnerRef) {
        if self.is_gone(owner) {
            self.enqueue(owner, kind, child.clone());
        }
    }

    pub(super) fn child_removed(&self, kind: usize, child: &Key, owner: &OwnerRef) {
        let suspect = Suspect { pair: self.pair(owner, child), kind, child: child.clone() };
        self.suspects.forget(&suspect);
        self.record_unproven(&suspect, false);
    }

    pub(super) fn is_owner_kind(&self, owner: &Owner) -> bool {
        owner.is_a(&self.owners)
    }

    /// The member that is the owner's cluster.
    fn locate(&self, owner: &OwnerRef) -> Option<Arc<str>> {
        let is_member = |name: &str| self.clusters.get(name).is_some();
        self.uids.locate(&owner.cluster, &owner.cluster_uid, is_member)
    }

    fn key(&self, owner: &OwnerRef) -> Option<Key> {
        Some(owner.key_in(self.locate(owner)?))
    }

    /// Whether an owner is not in the store of its cluster, or its cluster is not a member. This proves nothing.
    /// [`Collector::cluster_listed`] decides once the cluster is listed.
    fn is_gone(&self, owner: &OwnerRef) -> bool {
        self.key(owner).is_none_or(|key| (self.presence)(&key, &owner.uid) == Presence::Absent)
    }

    /// The cluster of an owner. One in a member without a store belongs to another controller.
    fn cluster_of(&self, owner: &Owner) -> OwnerCluster {
        let owner = OwnerRef::from(owner);
        let Some(key) = self.key(&owner) else { return OwnerCluster::NotAMember };
        if (self.presence)(&key, &owner.uid) == Presence::NoStore {
            return OwnerCluster::NotOurs;
        }
        self.clusters.get(&key.cluster).map_or(OwnerCluster::NotAMember, OwnerCluster::Member)
    }

    fn record_unproven(&self, suspect: &Suspect, is_unproven: bool) {
        let cluster = &suspect.child.cluster;
        let mut unproven = self.unproven();
        if is_unproven {
            unproven.entry(cluster.clone()).or_default().insert(suspect.clone());
        } else if !unproven.get_mut(cluster).is_some_and(|known| known.remove(suspect)) {
            return;
        }
        if self.clusters.get(cluster).is_some() {
            self.metrics.unproven_orphans(cluster, unproven.get(cluster).map_or(0, HashSet::len));
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unproven(&self) -> MutexGuard<'_, HashMap<Arc<str>, HashSet<Suspect>>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn retry(failures: u32) -> Completion {
    Completion::Failed(Some(BACKOFF.after(failures)))
}

/// How a check completes that did not return. An aborted one is due once this replica leads again.
fn failed(error: &JoinError, failures: u32) -> Completion {
    if !error.is_panic() {
        return Completion::Aborted;
    }
    tracing::error!("checking a possible orphan panicked: checking it again later");
    retry(failures)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_check_that_panics_backs_off() {
        let error = tokio::spawn(async { panic!("broken") }).await.unwrap_err();
        assert!(matches!(failed(&error, 0), Completion::Failed(Some(delay)) if delay >= BACKOFF.min / 2));
        let task = tokio::spawn(pending::<()>());
        task.abort();
        assert_eq!(failed(&task.await.unwrap_err(), 0), Completion::Aborted);
    }
}
