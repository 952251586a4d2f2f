//! The members of the set, and what is watched in each.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::future::BoxFuture;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::collect::{self, Children, Collect, Owned};
use super::error::Trouble;
use super::key::Key;
use super::metrics::{Metrics, Reconciliations};
use super::object_handler::Parents;
use super::queue::Queue;
use super::request::Kind;
use super::stores::Stores;
use super::watch::Watch;
use crate::clusters::{Change, Member};

/// What is watched in each member.
pub(super) struct Plan<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) api: fn(Client, Option<&str>, &K::DynamicType) -> Api<K>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) config: watcher::Config,
    pub(super) is_home: Arc<dyn Fn(&Member) -> bool + Send + Sync>,
    pub(super) modify: Arc<dyn Fn(&mut K) + Send + Sync>,
    pub(super) owned: Vec<(Owned, watcher::Config)>,
    pub(super) watched: Vec<Watched>,
    pub(super) collect: Option<Arc<Collect>>,
    pub(super) stores: Stores<K>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) metrics: Metrics,
    pub(super) troubles: mpsc::Sender<Trouble>,
}

/// A kind that concerns what is reconciled, and how a watch of it is begun.
pub(super) struct Watched {
    pub(super) kind: Arc<str>,
    pub(super) begin: Begin,
}

pub(super) type Begin =
    Arc<dyn Fn(Watch, Arc<Queue<Key>>, Option<&str>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The members that are watched.
pub(super) struct Fleet<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    plan: Plan<K>,
    joined: HashMap<Arc<str>, Joined>,
}

struct Joined {
    member: Member,
    is_home: bool,
    anew: watch::Sender<u64>,
    counts: Reconciliations,
    /// Dropped, the watches end.
    _watches: JoinSet<()>,
}

impl<K> Fleet<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    pub(super) fn new(plan: Plan<K>) -> Self {
        Self { plan, joined: HashMap::new() }
    }

    /// A member whose objects are reconciled, and where they are counted.
    pub(super) fn home(&self, cluster: &str) -> Option<(&Member, &Reconciliations)> {
        let joined = self.joined.get(cluster).filter(|joined| joined.is_home)?;
        Some((&joined.member, &joined.counts))
    }

    /// Gives the cluster whose reconciliations are to end: it is gone, or another may be in its place.
    pub(super) fn change(&mut self, change: Change) -> Option<Arc<str>> {
        match change {
            Change::Joined(member) => {
                self.join(member);
                None
            }
            Change::Changed(member) => {
                let name = member.name().clone();
                self.lead_elsewhere(member);
                Some(name)
            }
            Change::Left(member) => {
                self.leave(member.name());
                Some(member.name().clone())
            }
        }
    }

    fn join(&mut self, member: Member) {
        let Plan { kind, queue, stores, metrics, collect, namespace, .. } = &self.plan;
        let name = member.name();
        let is_home = (self.plan.is_home)(&member);
        let (anew, is_anew) = watch::channel(0);
        let begin = |kind: &Arc<str>| Watch {
            member: member.clone(),
            health: member.watch_health(),
            kind: kind.clone(),
            anew: is_anew.clone(),
            troubles: self.plan.troubles.clone(),
            events: metrics.events(name, kind),
            interruptions: metrics.interruptions(name, kind),
        };
        let mut watches = JoinSet::new();
        if is_home {
            let writer = Writer::new(kind.dyntype.clone());
            stores.insert(name.clone(), writer.as_reader());
            queue.open(name, true);
            let listed = metrics.listed(name);
            let sink = Parents::new(
                name.clone(),
                writer,
                self.plan.modify.clone(),
                stores.clone(),
                queue.clone(),
                collect.clone(),
                listed,
            );
            let api = (self.plan.api)(member.client(), namespace.as_deref(), &kind.dyntype);
            watches.spawn(begin(&self.kind()).run(api, self.plan.config.clone(), sink));
        }
        for (number, (owned, config)) in self.plan.owned.iter().enumerate() {
            let Some(collect) = collect else { continue };
            let sink = Children::new(collect.clone(), queue.clone(), name.clone(), number);
            let api = collect::api(&member, &owned.resource, owned.namespace.as_deref());
            watches.spawn(begin(&owned.kind).run(api, config.clone(), sink));
        }
        for watched in &self.plan.watched {
            watches.spawn((watched.begin)(begin(&watched.kind), queue.clone(), namespace.as_deref()));
        }
        let counts = metrics.reconciliations(name);
        let name = name.clone();
        self.joined.insert(name, Joined { member, is_home, anew, counts, _watches: watches });
    }

    /// What its watches said may have been another cluster's: nothing is reconciled by it.
    fn lead_elsewhere(&mut self, member: Member) {
        let Some(joined) = self.joined.get_mut(member.name()) else { return self.join(member) };
        // First: from here on, no list counts that was begun before.
        joined.anew.send_modify(|number| *number += 1);
        if joined.is_home {
            self.plan.queue.open(member.name(), true);
            self.plan.stores.set_listed(member.name(), false);
        }
        joined.member = member;
    }

    fn leave(&mut self, name: &Arc<str>) {
        self.joined.remove(name);
        self.plan.queue.close(name);
        self.plan.stores.remove(name);
        if let Some(collect) = &self.plan.collect {
            collect.left(name);
        }
        let owned = self.plan.owned.iter().map(|(owned, _)| owned.kind.clone());
        let watched = self.plan.watched.iter().map(|watched| watched.kind.clone());
        self.plan.metrics.forget(name, owned.chain(watched).chain([self.kind()]));
    }

    fn kind(&self) -> Arc<str> {
        self.plan.kind.resource.kind.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::super::builder::Controller;
    use super::super::fake_server::Fake;
    use super::super::queue::Ended;
    use super::*;
    use crate::clusters::Clusters;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reconciled_by_what_another_cluster_said() {
        let fake = Fake::with(&["a"]);
        let clusters = Clusters::fixed([("c1", fake.client())]);
        let controller = Controller::<ConfigMap>::new(&clusters, watcher::Config::default());
        let (queue, stores) = (controller.queue.clone(), controller.stores());
        let (troubles, _) = mpsc::channel(1);
        let mut fleet = Fleet::new(Plan {
            kind: controller.kind,
            api: controller.api,
            namespace: None,
            config: controller.config,
            is_home: controller.is_home,
            modify: controller.modify,
            owned: Vec::new(),
            watched: Vec::new(),
            collect: None,
            stores: controller.stores,
            queue: controller.queue,
            metrics: controller.metrics,
            troubles,
        });
        let member = clusters.get("c1").unwrap();
        assert_eq!(fleet.change(Change::Joined(member.clone())), None);
        let (a, _) = queue.next().await;
        queue.end(&a, Ended::Well(None));

        fake.set(&["b"]);
        queue.push(a.clone());
        assert_eq!(fleet.change(Change::Changed(member)), Some("c1".into()));
        let (b, _) = queue.next().await;
        assert_eq!(b.to_string(), "c1/default/b");
        assert!(stores.get(&a).is_none() && stores.get(&b).is_some());
    }
}
