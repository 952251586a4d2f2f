//! Finds suspects, and starts a task for each that checks it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Api;
use kube::api::ApiResource;
use tokio::sync::{mpsc, watch};

use super::index::Index;
use super::orphan::{Outcome, delete_if_orphan};
use crate::clusters::{Clusters, Member};
use crate::controller::backoff::Backoff;
use crate::controller::call::{self, Meta};
use crate::controller::error::BackgroundError;
use crate::controller::key::Key;
use crate::controller::metrics::Metrics;
use crate::controller::owner::Owner;
use crate::controller::queue::{Completion, Item, Queue};
use crate::controller::stores::Presence;
use crate::controller::tasks::Tasks;

/// Concurrent checks per pair of clusters.
const CONCURRENCY: usize = 8;

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(60), max: Duration::from_secs(15 * 60) };

/// A kind given to [`Controller::owns`](crate::controller::Controller::owns).
#[derive(Clone, Debug)]
pub(in crate::controller) struct OwnedKind {
    pub(in crate::controller) resource: ApiResource,
    pub(in crate::controller) kind: Arc<str>,
    pub(in crate::controller) is_namespaced: bool,
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
        metrics: Metrics,
        errors: mpsc::Sender<BackgroundError>,
    ) -> Self {
        Self {
            clusters,
            owners,
            owned,
            index: Mutex::default(),
            suspects: Queue::new(CONCURRENCY),
            unproven: Mutex::default(),
            presence,
            metrics,
            errors,
        }
    }

    pub(in crate::controller) fn owner_gone(&self, key: &Key, uid: &str) {
        let children = self.index().children(key, uid);
        for (kind, child) in children {
            self.enqueue(key.cluster.clone(), kind, child);
        }
    }

    /// Enqueues the objects whose owners are absent from a cluster that was just listed.
    pub(in crate::controller) fn cluster_listed(&self, cluster: &str) {
        let owners = self.index().owners(cluster);
        for (key, uid) in owners {
            if (self.presence)(&key, &uid) == Presence::Absent {
                self.owner_gone(&key, &uid);
            }
        }
    }

    pub(in crate::controller) fn cluster_left(&self, cluster: &str) {
        self.suspects.close_where(|(_, child)| **child == *cluster);
        self.unproven().remove(cluster);
        let owners = self.index().owners(cluster);
        for (key, uid) in owners {
            self.owner_gone(&key, &uid);
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
                Some((suspect, completion)) = checks.next() => {
                    self.suspects.complete(&suspect, completion.unwrap_or(Completion::Aborted));
                }
                (suspect, failures) = self.suspects.next(), if is_leading => {
                    let check = self.clone().check(suspect.clone(), failures);
                    checks.start(suspect, check);
                }
                else => return,
            }
        }
    }

    async fn check(self: Arc<Self>, suspect: Suspect, failures: u32) -> Completion {
        let Some(owned) = self.owned.get(suspect.kind) else { return Completion::Succeeded(None) };
        let child = &suspect.child;
        let outcome = match self.clusters.get(&suspect.pair.0) {
            Some(_) => {
                let is_ours = |owner: &Owner| self.is_ours(owner);
                delete_if_orphan(&self.clusters, &self.owners, &owned.resource, child, is_ours).await
            }
            // No request: there may be thousands of such suspects.
            None => Outcome::Unproven("the owner's cluster is not a member".into()),
        };
        let retry = Completion::Failed(Some(BACKOFF.after(failures)));
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

    fn enqueue(&self, cluster: Arc<str>, kind: usize, child: Key) {
        let pair = (cluster, child.cluster.clone());
        self.suspects.open(&pair, false);
        self.suspects.push(Suspect { pair, kind, child });
    }

    pub(super) fn child_applied(&self, kind: usize, child: &Key, owner: &Owner) {
        let is_suspect = match (self.presence)(&owner.key(), &owner.uid) {
            Presence::Absent => true,
            // `cluster_listed` decides once the owner's cluster is listed.
            Presence::Present | Presence::Unknown => false,
            Presence::NoStore => self.clusters.get(&owner.cluster).is_none(),
        };
        if is_suspect {
            self.enqueue(owner.cluster.as_str().into(), kind, child.clone());
        }
    }

    pub(super) fn child_removed(&self, kind: usize, child: &Key, owner_cluster: &Arc<str>) {
        let pair = (owner_cluster.clone(), child.cluster.clone());
        let suspect = Suspect { pair, kind, child: child.clone() };
        self.suspects.forget(&suspect);
        self.record_unproven(&suspect, false);
    }

    pub(super) fn is_owner_kind(&self, owner: &Owner) -> bool {
        owner.is_a(&self.owners)
    }

    /// An owner in a member without a store belongs to another controller.
    fn is_ours(&self, owner: &Owner) -> bool {
        let has_store = (self.presence)(&owner.key(), &owner.uid) != Presence::NoStore;
        has_store || self.clusters.get(&owner.cluster).is_none()
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
