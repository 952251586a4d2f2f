//! What pods that this launcher did not create use of the quotas of a remote namespace.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use mcsa_client::clusters::Member;
use mcsa_client::controller::Owner;

use super::member_watch::{Forbidden, MemberWatch};
use super::requests::{add, requests};
use super::resources::Resources;

/// Watches the pods of a remote namespace that have no owner in this target. Keeps only what they request.
///
/// Launchers of other targets may use the same namespace. A selector can't tell their pods from ours, because no label
/// has the UID of the owner's cluster.
pub(super) struct ForeignPods {
    /// The UID of this target.
    cluster_uid: String,
    watch: MemberWatch<Pod>,
    requests: HashMap<String, Resources>,
    /// The list that is being read. What was known before counts until it is complete.
    listing: HashMap<String, Resources>,
}

impl ForeignPods {
    pub(super) fn new(member: Member, cluster_uid: String) -> Self {
        let watch = MemberWatch::new(member, watcher::Config::default());
        Self { cluster_uid, watch, requests: HashMap::new(), listing: HashMap::new() }
    }

    /// Observes one event. May be cancelled.
    pub(super) async fn observe(&mut self) {
        match self.watch.next().await {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(pod)) if self.is_foreign(&pod) => {
                self.listing.insert(pod.name_any(), requests(&pod));
            }
            Ok(Event::InitDone) => self.requests = std::mem::take(&mut self.listing),
            Ok(Event::Apply(pod)) if self.is_foreign(&pod) => {
                self.requests.insert(pod.name_any(), requests(&pod));
            }
            Ok(Event::InitApply(_)) => {}
            // A pod of ours may follow another one of the same name.
            Ok(Event::Apply(pod) | Event::Delete(pod)) => drop(self.requests.remove(&pod.name_any())),
            // Without the right to list pods, none are known.
            Err(Forbidden) => {}
        }
    }

    /// The scheduler at home counts the pods that have an owner there.
    fn is_foreign(&self, pod: &Pod) -> bool {
        Owner::from_metadata(&pod.metadata).is_none_or(|owner| owner.cluster_uid != self.cluster_uid)
    }

    /// The sum of their requests.
    pub(super) fn used(&self) -> Resources {
        let mut used = Resources::new();
        for requests in self.requests.values() {
            add(&mut used, requests.iter().map(|(name, amount)| (name.clone(), *amount)));
        }
        used
    }
}
