//! What pods that are not the launcher's use of the quotas of a remote namespace.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use mcsa_client::clusters::Member;
use mcsa_client::contract::owner;

use super::member_watch::{Forbidden, MemberWatch};
use super::requests::{add, requests};
use super::resources::Resources;

/// Watches the pods of a remote namespace that no home pod owns. Keeps only what they request.
pub(super) struct ForeignPods {
    watch: MemberWatch<Pod>,
    requests: HashMap<String, Resources>,
    /// The list that is being read. What was known before counts until it is complete.
    listing: HashMap<String, Resources>,
}

impl ForeignPods {
    pub(super) fn new(member: Member) -> Self {
        let config = watcher::Config::default().labels(&format!("!{}", owner::UID));
        Self { watch: MemberWatch::new(member, config), requests: HashMap::new(), listing: HashMap::new() }
    }

    /// Observes one event. May be cancelled.
    pub(super) async fn observe(&mut self) {
        match self.watch.next().await {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(pod)) => drop(self.listing.insert(pod.name_any(), requests(&pod))),
            Ok(Event::InitDone) => self.requests = std::mem::take(&mut self.listing),
            Ok(Event::Apply(pod)) => drop(self.requests.insert(pod.name_any(), requests(&pod))),
            Ok(Event::Delete(pod)) => drop(self.requests.remove(&pod.name_any())),
            // Without the right to list pods, none are known.
            Err(Forbidden) => {}
        }
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
