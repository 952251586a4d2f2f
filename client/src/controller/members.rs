//! Starts and stops the watches of each member.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::pending;
use std::hash::Hash;
use std::sync::Arc;

use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::collect::{ChildHandler, Collector, OwnedKind, StoreChildren};
use super::error::{BackgroundError, catch_panic};
use super::key::Key;
use super::metrics::{Metrics, ReconcileMetrics};
use super::object_handler::{Modify, ObjectHandler, PredicateHash};
use super::queue::Queue;
use super::request::Kind;
use super::stores::Stores;
use super::target::{NamespaceOf, Target};
use super::watch::{MappedKind, Watch};
use super::watch_config::MemberFilter;
use crate::clusters::{Change, Member};

/// An owned kind, and how it is watched.
pub(super) struct Owned {
    pub(super) kind: OwnedKind,
    pub(super) config: watcher::Config,
    /// `None`: only the metadata is watched.
    pub(super) store: Option<Arc<dyn StoreChildren>>,
}

/// What to watch in each member.
pub(super) struct Plan<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) api: fn(Client, Option<&str>, &K::DynamicType) -> Api<K>,
    pub(super) namespace_of: NamespaceOf,
    pub(super) config: watcher::Config,
    pub(super) reconciles_in: MemberFilter,
    pub(super) modify: Modify<K>,
    pub(super) predicate: PredicateHash<K>,
    pub(super) owned: Vec<Owned>,
    pub(super) mapped: Vec<MappedKind>,
    pub(super) collector: Option<Arc<Collector>>,
    pub(super) stores: Stores<K>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) metrics: Metrics,
    pub(super) errors: mpsc::Sender<BackgroundError>,
}

pub(super) struct Members<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    plan: Plan<K>,
    members: HashMap<Arc<str>, WatchedMember>,
    /// Members that are not watched, because a function of the caller panicked on them.
    refused: HashMap<Arc<str>, Refused>,
}

struct Refused {
    member: Member,
    panics: u32,
    retry: Instant,
}

/// What the caller's functions choose for a member.
struct Choice {
    is_reconciled: bool,
    namespace: Option<String>,
    /// For each of [`Plan::owned`], whether it is watched.
    owned: Vec<bool>,
    /// For each of [`Plan::mapped`], whether it is watched.
    mapped: Vec<bool>,
}

struct WatchedMember {
    member: Member,
    is_reconciled: bool,
    target: watch::Sender<Target>,
    metrics: ReconcileMetrics,
    /// The watches end when this is dropped. They catch panics of the caller's code.
    _watches: JoinSet<()>,
}

impl<K> Members<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    pub(super) fn new(plan: Plan<K>) -> Self {
        Self { plan, members: HashMap::new(), refused: HashMap::new() }
    }

    /// A member and its metrics, if its objects are reconciled.
    pub(super) fn reconciled(&self, cluster: &str) -> Option<(&Member, &ReconcileMetrics)> {
        let watched = self.members.get(cluster).filter(|watched| watched.is_reconciled)?;
        Some((&watched.member, &watched.metrics))
    }

    /// Returns the cluster whose reconciliations must be aborted: it left, or its name may point to another cluster.
    pub(super) fn apply(&mut self, change: Change) -> Option<Arc<str>> {
        match change {
            Change::Joined(member) => {
                self.join(member);
                None
            }
            Change::Updated(member) => {
                let name = member.name().clone();
                self.restart(member);
                Some(name)
            }
            Change::Left(member) => {
                self.refused.remove(member.name());
                self.leave(member.name());
                Some(member.name().clone())
            }
        }
    }

    /// Waits until a refused member is due to be tried again.
    pub(super) async fn retry_due(&self) {
        match self.refused.values().map(|refused| refused.retry).min() {
            Some(retry) => sleep_until(retry).await,
            None => pending().await,
        }
    }

    /// Tries the refused members that are due.
    pub(super) fn retry(&mut self) {
        let now = Instant::now();
        let due = self.refused.values().filter(|refused| refused.retry <= now);
        let due: Vec<_> = due.map(|refused| refused.member.clone()).collect();
        due.into_iter().for_each(|member| self.join(member));
    }

    fn refuse(&mut self, member: Member, message: String) {
        let cluster = member.name().clone();
        drop(
            self.plan.errors.try_send(BackgroundError::ChoicePanicked { cluster: cluster.clone(), message }),
        );
        let panics = self.refused.get(&cluster).map_or(0, |refused| refused.panics + 1);
        let retry = Instant::now() + Backoff::DEFAULT.after(panics);
        self.refused.insert(cluster, Refused { member, panics, retry });
    }

    fn choose(&self, member: &Member) -> Result<Choice, String> {
        catch_panic(|| Choice {
            is_reconciled: (self.plan.reconciles_in)(member),
            namespace: (self.plan.namespace_of)(member),
            owned: self.plan.owned.iter().map(|owned| (owned.kind.members)(member)).collect(),
            mapped: self.plan.mapped.iter().map(|mapped| (mapped.members)(member)).collect(),
        })
    }

    fn join(&mut self, member: Member) {
        let Choice { is_reconciled, namespace, owned, mapped } = match self.choose(&member) {
            Ok(choice) => choice,
            Err(message) => return self.refuse(member, message),
        };
        self.refused.remove(member.name());
        let Plan { kind, queue, stores, metrics, collector, .. } = &self.plan;
        let name = member.name();
        let target = Target::new(member.clone(), namespace);
        let namespace = target.namespace.clone();
        let target = watch::Sender::new(target);
        let watch = |kind: &Arc<str>| Watch {
            health: member.watch_health(),
            kind: kind.clone(),
            target: target.subscribe(),
            errors: self.plan.errors.clone(),
            events: metrics.events(name, kind),
            interruptions: metrics.interruptions(name, kind),
        };
        let mut watches = JoinSet::new();
        if is_reconciled {
            let writer = Writer::new(kind.dyntype.clone());
            stores.insert(name.clone(), writer.as_reader(), namespace);
            queue.open(name, true);
            let listed = metrics.listed(name);
            let handler = ObjectHandler::new(
                name.clone(),
                writer,
                (self.plan.modify.clone(), self.plan.predicate.clone()),
                stores.clone(),
                queue.clone(),
                collector.clone(),
                listed,
            );
            let (api, kind) = (self.plan.api, kind.clone());
            let api = move |target: &Target| {
                api(target.member.client(), target.namespace.as_deref(), &kind.dyntype)
            };
            watches.spawn(watch(&self.kind()).run(api, self.plan.config.clone(), handler));
        }
        if let Some(collector) = collector.as_ref().filter(|_| is_reconciled) {
            watches.spawn(collector.clone().identify(target.subscribe()));
        }
        let owned = self.plan.owned.iter().enumerate().zip(owned).filter(|(_, is_watched)| *is_watched);
        for ((number, Owned { kind, config, store }), _) in owned {
            let Some(collector) = collector else { continue };
            let (watch, config) = (watch(&kind.kind), config.clone());
            let handler = ChildHandler::new(collector.clone(), name.clone(), number);
            if let Some(store) = store {
                watches.spawn(store.watch(watch, config, handler));
            } else {
                let kind = kind.clone();
                let api = move |target: &Target| kind.api(&target.member, target.namespace.as_deref());
                watches.spawn(watch.run(api, config, handler));
            }
        }
        for (mapped, _) in self.plan.mapped.iter().zip(mapped).filter(|(_, is_watched)| *is_watched) {
            watches.spawn((mapped.watch)(watch(&mapped.kind), queue.clone()));
        }
        let metrics = metrics.reconciliations(name);
        let name = name.clone();
        self.members
            .insert(name, WatchedMember { member, is_reconciled, target, metrics, _watches: watches });
    }

    /// Lists again before any object is reconciled, because the store may hold another cluster's objects.
    fn restart(&mut self, member: Member) {
        let namespace = match catch_panic(|| (self.plan.namespace_of)(&member)) {
            Ok(namespace) => namespace,
            Err(message) => {
                self.leave(member.name());
                return self.refuse(member, message);
            }
        };
        let Some(watched) = self.members.get_mut(member.name()) else { return self.join(member) };
        let target_namespace = namespace.clone();
        let namespace: Option<Arc<str>> = namespace.map(Arc::from);
        // Do this first: it invalidates lists that have started.
        watched.target.send_modify(|target| target.update(member.clone(), target_namespace));
        if watched.is_reconciled {
            self.plan.queue.open(member.name(), true);
            self.plan.stores.restart(member.name(), namespace.clone());
        }
        for store in self.plan.owned.iter().filter_map(|owned| owned.store.as_ref()) {
            store.restart(member.name(), namespace.clone());
        }
        if let Some(collector) = &self.plan.collector {
            collector.cluster_changed(member.name());
        }
        watched.member = member;
    }

    fn leave(&mut self, name: &Arc<str>) {
        if let Some(watched) = self.members.remove(name) {
            // Its tasks end later: what they still report is outdated.
            watched.target.send_modify(|target| target.revision += 1);
        }
        self.plan.queue.close(name);
        self.plan.stores.remove(name);
        for store in self.plan.owned.iter().filter_map(|owned| owned.store.as_ref()) {
            store.remove(name);
        }
        if let Some(collector) = &self.plan.collector {
            collector.cluster_left(name);
        }
        let owned = self.plan.owned.iter().map(|owned| owned.kind.kind.clone());
        let mapped = self.plan.mapped.iter().map(|mapped| mapped.kind.clone());
        self.plan.metrics.remove(name, owned.chain(mapped).chain([self.kind()]));
    }

    fn kind(&self) -> Arc<str> {
        self.plan.kind.resource.kind.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::super::builder::Controller;
    use super::super::fake_server::FakeServer;
    use super::super::queue::Completion;
    use super::super::stores::Presence;
    use super::*;
    use crate::clusters::Clusters;

    fn members(controller: Controller<ConfigMap>) -> Members<ConfigMap> {
        let (errors, _) = mpsc::channel(1);
        Members::new(Plan {
            kind: controller.kind,
            api: controller.api,
            namespace_of: controller.namespace_of,
            config: controller.config,
            reconciles_in: controller.reconciles_in,
            modify: controller.modify,
            predicate: controller.predicate,
            owned: Vec::new(),
            mapped: Vec::new(),
            collector: None,
            stores: controller.stores,
            queue: controller.queue,
            metrics: controller.metrics,
            errors,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn objects_of_the_previous_cluster_are_not_reconciled() {
        let server = FakeServer::with(&["a"]);
        let clusters = Clusters::fixed([("c1", server.client())]);
        let controller = Controller::<ConfigMap>::new(&clusters, watcher::Config::default());
        let (queue, stores) = (controller.queue.clone(), controller.stores());
        let mut members = members(controller);
        let member = clusters.get("c1").unwrap();
        assert_eq!(members.apply(Change::Joined(member.clone())), None);
        let (a, _) = queue.next().await;
        queue.complete(&a, Completion::Succeeded(None));

        server.set(&["b"]);
        queue.push(a.clone());
        assert_eq!(members.apply(Change::Updated(member)), Some("c1".into()));
        let (b, _) = queue.next().await;
        assert_eq!(b.to_string(), "c1/default/b");
        assert!(stores.get(&a).is_none() && stores.get(&b).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_updated_member_is_watched_in_its_new_namespace() {
        let server = FakeServer::with(&["a"]);
        let clusters = Clusters::fixed([("c1", server.client())]);
        let namespace = Arc::new(Mutex::new("default"));
        let chosen = namespace.clone();
        let controller = Controller::<ConfigMap>::new(&clusters, watcher::Config::default())
            .namespace_of(move |_| Some((*chosen.lock().unwrap()).to_owned()));
        let (queue, stores) = (controller.queue.clone(), controller.stores());
        let mut members = members(controller);
        let member = clusters.get("c1").unwrap();
        members.apply(Change::Joined(member.clone()));
        let (a, _) = queue.next().await;
        queue.complete(&a, Completion::Succeeded(None));
        assert_eq!(stores.presence(&a, "a"), Presence::Present);

        *namespace.lock().unwrap() = "other";
        members.apply(Change::Updated(member));
        server.requested("GET /api/v1/namespaces/other/configmaps").await;
        assert_eq!(stores.presence(&a, "a"), Presence::NoStore);
    }
}
