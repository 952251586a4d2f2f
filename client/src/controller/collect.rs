//! Objects whose owners in other clusters are gone.
//!
//! What looks like an orphan (its owner was deleted, or is not where it should be once its cluster has been
//! listed) is a suspect. Each suspect is looked at live, and deleted only on proof ([`proof`]). What can't be
//! proven is left, and looked at again: after minutes, and when the owner's cluster is listed anew.

mod child_handler;
mod index;
mod orphan;
mod proof;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ApiResource;
use tokio::sync::{mpsc, watch};

pub(super) use self::child_handler::Children;
use self::index::{Index, WatchId};
use self::orphan::Outcome;
pub(super) use self::orphan::{Meta, answered, api, as_seen};
use super::backoff::Backoff;
use super::error::Trouble;
use super::key::Key;
use super::metrics::Metrics;
use super::owner::Owner;
use super::queue::{Ended, Item, Queue};
use super::stores::Presence;
use super::tasks::Runs;
use crate::clusters::Clusters;

/// How many suspects are looked at at a time, for each pair of clusters.
const AT_A_TIME: usize = 8;

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(60), max: Duration::from_secs(15 * 60) };

/// A kind whose objects may belong to those that are reconciled.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) resource: ApiResource,
    pub(super) kind: Arc<str>,
    /// The namespace that its watches and lists are confined to.
    pub(super) namespace: Option<Arc<str>>,
}

/// An object that may be an orphan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Suspect {
    /// The owner's cluster and the object's: whichever of the two hangs, it holds up no other pair.
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

/// Who knows which objects belong to whom, and deletes orphans.
pub(super) struct Collect {
    clusters: Clusters,
    owners: ApiResource,
    owned: Vec<Owned>,
    index: Mutex<Index>,
    suspects: Queue<Suspect>,
    /// By the cluster that they are in.
    unproven: Mutex<HashMap<Arc<str>, HashSet<Suspect>>>,
    presence: FindOwner,
    metrics: Metrics,
    troubles: mpsc::Sender<Trouble>,
}

impl Collect {
    pub(super) fn new(
        clusters: Clusters,
        owners: ApiResource,
        owned: Vec<Owned>,
        presence: FindOwner,
        metrics: Metrics,
        troubles: mpsc::Sender<Trouble>,
    ) -> Self {
        Self {
            clusters,
            owners,
            owned,
            index: Mutex::default(),
            suspects: Queue::new(AT_A_TIME),
            unproven: Mutex::default(),
            presence,
            metrics,
            troubles,
        }
    }

    /// An object is gone, which may have owned others.
    pub(super) fn parent_gone(&self, key: &Key, uid: &str) {
        let children = self.index().children(key, uid);
        for (kind, child) in children {
            self.suspect(key.cluster.clone(), kind, child);
        }
    }

    /// A cluster has told all of its objects: whose owner is not among them is a suspect.
    pub(super) fn sweep(&self, cluster: &str) {
        let owners = self.index().owners(cluster);
        for (key, uid) in owners {
            if (self.presence)(&key, &uid) == Presence::Absent {
                self.parent_gone(&key, &uid);
            }
        }
    }

    /// A cluster is in the set no more.
    pub(super) fn left(&self, cluster: &str) {
        self.suspects.close_where(|(_, child)| **child == *cluster);
        self.unproven().remove(cluster);
        let owners = self.index().owners(cluster);
        for (key, uid) in owners {
            self.parent_gone(&key, &uid);
        }
    }

    /// Deletes orphans, but while another replica does.
    pub(super) async fn run(self: Arc<Self>, mut leads: watch::Receiver<bool>) {
        let mut runs = Runs::default();
        loop {
            let is_leading = *leads.borrow_and_update();
            if !is_leading {
                runs.abort_all();
            }
            tokio::select! {
                Ok(()) = leads.changed() => {}
                Some((suspect, ended)) = runs.next() => {
                    let ended = ended.unwrap_or(Ended::Dropped);
                    self.suspects.end(&suspect, ended);
                }
                (suspect, failures) = self.suspects.next(), if is_leading => {
                    let look = self.clone().look_at(suspect.clone(), failures);
                    runs.start(suspect, look);
                }
                // Nobody will ever say again that this replica leads.
                else => return,
            }
        }
    }

    async fn look_at(self: Arc<Self>, suspect: Suspect, failures: u32) -> Ended {
        let Some(owned) = self.owned.get(suspect.kind) else { return Ended::Well(None) };
        let child = &suspect.child;
        let outcome = match self.clusters.get(&suspect.pair.0) {
            Some(_) => {
                let is_ours = |owner: &Owner| self.is_ours(owner);
                orphan::settle(&self.clusters, &self.owners, &owned.resource, child, is_ours).await
            }
            // There may be thousands of these: they are worth no call.
            None => Outcome::Unproven("its owner's cluster is not in the set".into()),
        };
        let again = Ended::Failed(Some(BACKOFF.after(failures)));
        let ended = match outcome {
            Outcome::Settled => Ended::Well(None),
            // It is not among what is watched, so that nothing tells when it goes.
            Outcome::Owned => Ended::Well(Some(BACKOFF.max)),
            Outcome::Deleted => {
                tracing::info!(kind = &*owned.kind, %child, "its owner is gone: deleted");
                self.metrics.orphan_deleted(&child.cluster);
                Ended::Well(None)
            }
            Outcome::Unproven(problem) => {
                tracing::debug!(kind = &*owned.kind, %child, problem, "its owner may be gone: left alone");
                again
            }
            Outcome::Undeleted(problem) => {
                let trouble = Trouble::Collect { kind: owned.kind.clone(), key: child.clone(), problem };
                drop(self.troubles.try_send(trouble));
                again
            }
        };
        self.note(&suspect, matches!(ended, Ended::Failed(_)));
        ended
    }

    fn suspect(&self, cluster: Arc<str>, kind: usize, child: Key) {
        let pair = (cluster, child.cluster.clone());
        self.suspects.open(&pair, false);
        self.suspects.push(Suspect { pair, kind, child });
    }

    /// An object was seen that says to belong to that owner.
    fn seen(&self, kind: usize, child: &Key, owner: &Owner) {
        let is_suspect = match (self.presence)(&owner.key(), &owner.uid) {
            Presence::Absent => true,
            // It is looked at when its owner's cluster is listed.
            Presence::Present | Presence::Unknown => false,
            Presence::NoStore => self.clusters.get(&owner.cluster).is_none(),
        };
        if is_suspect {
            self.suspect(owner.cluster.as_str().into(), kind, child.clone());
        }
    }

    /// Owners in a member whose objects are not reconciled here are another controller's.
    fn is_ours(&self, owner: &Owner) -> bool {
        let is_home = (self.presence)(&owner.key(), &owner.uid) != Presence::NoStore;
        is_home || self.clusters.get(&owner.cluster).is_none()
    }

    fn unseen(&self, kind: usize, child: &Key, owner: &Arc<str>) {
        let suspect = Suspect { pair: (owner.clone(), child.cluster.clone()), kind, child: child.clone() };
        self.suspects.forget(&suspect);
        self.note(&suspect, false);
    }

    /// Notes whether a suspect is one that can't be settled.
    fn note(&self, suspect: &Suspect, is_unproven: bool) {
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

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unproven(&self) -> MutexGuard<'_, HashMap<Arc<str>, HashSet<Suspect>>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
