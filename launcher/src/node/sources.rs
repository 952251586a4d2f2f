//! The members of a source: their health, and what each offers.

use futures::future::select_all;
use kube::ResourceExt;
use mcsa_client::clusters::{Health, Member};
use mcsa_credentials::contract::launch::CAPACITY;
use tokio::sync::watch;

use super::capacity::{self, Capacity, Offer, Quota};
use super::foreign_pods::ForeignPods;
use super::health::{Reachability, reachability};
use super::quotas::QuotaWatch;
use super::resources::Resources;
use crate::quantity::Amount;

/// The members of one source, one for each launch import.
pub(super) struct Sources {
    /// The UID of the target.
    cluster_uid: String,
    sources: Vec<Source>,
}

struct Source {
    member: Member,
    cluster_uid: String,
    health: watch::Receiver<Health>,
    quotas: QuotaWatch,
    /// What the quotas allow. `None`: not read yet.
    hard: Option<Resources>,
    /// Watched only if there are quotas.
    foreign_pods: Option<ForeignPods>,
}

impl Sources {
    pub(super) fn new(cluster_uid: String) -> Self {
        Self { cluster_uid, sources: Vec::new() }
    }

    /// Keeps what is known of members that stay.
    pub(super) fn set(&mut self, members: &[Member]) {
        let mut known = std::mem::take(&mut self.sources);
        self.sources = members
            .iter()
            .map(|member| {
                // The namespace is part of the address, which may change.
                let namespace = member.default_namespace();
                let is_known = |source: &Source| {
                    source.member == *member && source.member.default_namespace() == namespace
                };
                match known.iter().position(is_known) {
                    Some(index) => known.swap_remove(index),
                    None => Source::new(member.clone(), self.cluster_uid.clone()),
                }
            })
            .collect();
    }

    /// Waits until the health or the quota of a member changes. May be cancelled.
    pub(super) async fn changed(&mut self) {
        if self.sources.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.sources.iter_mut().map(|source| Box::pin(source.changed()))).await;
    }

    pub(super) fn reachability(&self) -> Reachability {
        reachability(self.sources.iter().map(|source| &source.member))
    }

    pub(super) fn capacity(&self) -> Capacity {
        let offers: Vec<_> = self.sources.iter().map(Source::offer).collect();
        capacity::capacity(&offers)
    }
}

impl Source {
    fn new(member: Member, cluster_uid: String) -> Self {
        let (health, quotas) = (member.watch_health(), QuotaWatch::new(member.clone()));
        Self { member, cluster_uid, health, quotas, hard: None, foreign_pods: None }
    }

    /// Pods of others come and go: they end no wait, so they cause no more writes than there are reconciliations.
    async fn changed(&mut self) {
        loop {
            tokio::select! {
                // The sender lives as long as the member.
                _ = self.health.changed() => return,
                // The status of a quota changes with each pod.
                hard = self.quotas.changed() => if self.hard.as_ref() != Some(&hard) {
                    let watched = self.foreign_pods.take().filter(|_| !hard.is_empty());
                    let watch = || ForeignPods::new(self.member.clone(), self.cluster_uid.clone());
                    self.foreign_pods = watched.or_else(|| (!hard.is_empty()).then(watch));
                    self.hard = Some(hard);
                    return;
                },
                () = observe(&mut self.foreign_pods) => {}
            }
        }
    }

    /// What the quotas leave. `None`: not read yet.
    fn quota(&self) -> Option<Quota> {
        let hard = self.hard.clone()?;
        let used = self.foreign_pods.as_ref().map(ForeignPods::used).unwrap_or_default();
        let free = |(name, hard): (&String, &Amount)| {
            (name.clone(), *hard - used.get(name).copied().unwrap_or_default())
        };
        Some(Quota { free: hard.iter().map(free).collect(), hard })
    }

    fn offer(&self) -> Offer {
        let import = self.member.import();
        let (name, annotation) = match &import {
            Some(import) => (
                format!("{}/{}", import.namespace().unwrap_or_default(), import.name_any()),
                import.annotations().get(CAPACITY).cloned(),
            ),
            None => (self.member.name().to_string(), None),
        };
        Offer {
            import: name,
            annotation,
            remote_namespace: self.member.default_namespace().to_owned(),
            quota: self.quota(),
            lacks_access: matches!(self.member.health(), Health::Unauthorized | Health::Unavailable { .. }),
        }
    }
}

async fn observe(pods: &mut Option<ForeignPods>) {
    match pods {
        Some(pods) => pods.observe().await,
        None => std::future::pending().await,
    }
}
