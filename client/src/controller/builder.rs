//! Configures a controller.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, Stream, StreamExt};
use kube::api::ApiResource;
use kube::runtime::{Predicate, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::collect::{OwnedKind, StoreChildren, StoredChildren};
use super::key::Key;
use super::map_handler::MapHandler;
use super::members::Owned;
use super::metrics::Metrics;
use super::object_handler::{Modify, PredicateHash};
use super::owner;
use super::queue::Queue;
use super::request::Kind;
use super::scope::Scoped;
use super::signal;
use super::stores::Stores;
use super::target::{NamespaceOf, Target};
use super::watch::{MappedKind, Watch};
use super::watch_config::{MemberFilter, WatchConfig};
use crate::clusters::{Clusters, Member};

/// Default limit of concurrent reconciliations per cluster.
const CONCURRENCY: usize = 16;

/// Reconciles the objects of one kind in every member of a [`Clusters`].
///
/// See the [module](super) for an example.
#[must_use = "a controller does nothing unless it is run"]
pub struct Controller<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) clusters: Clusters,
    pub(super) config: watcher::Config,
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) api: fn(Client, Option<&str>, &K::DynamicType) -> Api<K>,
    pub(super) namespace_of: NamespaceOf,
    pub(super) reconciles_in: MemberFilter,
    pub(super) modify: Modify<K>,
    pub(super) predicate: PredicateHash<K>,
    pub(super) owned: Vec<Owned>,
    pub(super) mapped: Vec<MappedKind>,
    pub(super) keys: Vec<BoxStream<'static, Key>>,
    pub(super) resyncs: Vec<BoxStream<'static, ()>>,
    pub(super) finalizer: Option<Arc<str>>,
    pub(super) backoff: Backoff,
    pub(super) leadership: Option<BoxStream<'static, bool>>,
    pub(super) graceful: Vec<BoxFuture<'static, ()>>,
    pub(super) forceful: Vec<BoxFuture<'static, ()>>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) stores: Stores<K>,
    pub(super) metrics: Metrics,
}

impl<K> Controller<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    K::Scope: Scoped,
{
    /// A controller for the objects of this kind that `config` selects.
    pub fn new(clusters: &Clusters, config: watcher::Config) -> Self
    where
        K::DynamicType: Default,
    {
        Self::new_with(clusters, config, Default::default())
    }

    /// [`Controller::new`] for a kind known only at runtime.
    pub fn new_with(clusters: &Clusters, config: watcher::Config, dyntype: K::DynamicType) -> Self {
        let queue = Arc::new(Queue::new(CONCURRENCY));
        let resource = ApiResource::erase::<K>(&dyntype);
        Self {
            clusters: clusters.clone(),
            config,
            stores: Stores::new(dyntype.clone()),
            kind: Arc::new(Kind { dyntype, resource }),
            api: <K::Scope as Scoped>::api::<K>,
            namespace_of: Arc::new(|_| None),
            reconciles_in: Arc::new(|_| true),
            modify: Arc::new(|_| {}),
            predicate: Arc::new(|_| None),
            owned: Vec::new(),
            mapped: Vec::new(),
            keys: Vec::new(),
            resyncs: Vec::new(),
            finalizer: None,
            backoff: Backoff::DEFAULT,
            leadership: None,
            graceful: Vec::new(),
            forceful: Vec::new(),
            metrics: Metrics::new(queue.clone()),
            queue,
        }
    }

    /// Watches only this namespace of each member. See [`Controller::namespace_of`].
    pub fn namespace(self, namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        self.namespace_of(move |_| Some(namespace.clone()))
    }

    /// Watches only the [default namespace](Member::default_namespace) of each member. See
    /// [`Controller::namespace_of`].
    pub fn default_namespaces(self) -> Self {
        self.namespace_of(|member| Some(member.default_namespace().to_owned()))
    }

    /// Confines the controller to one namespace of each member. `choose` returns it, or `None` for all namespaces of
    /// that member. By default, all namespaces of all members are watched. Replaces earlier choices.
    ///
    /// This applies to the reconciled kind, to the kinds of [`Controller::owns`] and [`Controller::watches`], and to
    /// garbage collection and finalizers. Children whose owner is in another namespace of a member are left to other
    /// controllers. Cluster-scoped kinds are not affected.
    ///
    /// `choose` is called when a member joins and each time it changes: its default namespace may be another one. This
    /// watches all namespaces of the program's own cluster, and of each other cluster the one of its service account:
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::Pod;
    /// # use kube::runtime::watcher;
    /// # use mcsa_client::{clusters::Clusters, controller::Controller};
    /// # fn example(clusters: &Clusters) -> Controller<Pod> {
    /// Controller::<Pod>::new(clusters, watcher::Config::default())
    ///     .namespace_of(|member| (!member.is_local()).then(|| member.default_namespace().to_owned()))
    /// # }
    /// ```
    pub fn namespace_of(
        mut self,
        choose: impl Fn(&Member) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.namespace_of = Arc::new(choose);
        self
    }

    /// Reconciles only the objects of members for which `filter` returns true. Kinds of [`Controller::owns`] and
    /// [`Controller::watches`] are watched in all members, unless a [`WatchConfig`] selects some.
    ///
    /// `filter` is called once for each member, when it joins.
    pub fn members(mut self, filter: impl Fn(&Member) -> bool + Send + Sync + 'static) -> Self {
        self.reconciles_in = Arc::new(filter);
        self
    }

    /// Changes each object before it is stored and reconciled, for example to drop its managed fields and save
    /// memory. It must not change the object's name, namespace or UID.
    pub fn modify(mut self, change: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        self.modify = Arc::new(change);
        self
    }

    /// Reconciles an object only when `predicate` returns another value for it than before, for example only when its
    /// generation changes, not its status:
    ///
    /// ```
    /// # use k8s_openapi::api::apps::v1::Deployment;
    /// # use kube::runtime::{predicates, watcher};
    /// # use mcsa_client::{clusters::Clusters, controller::Controller};
    /// # fn example(clusters: &Clusters) -> Controller<Deployment> {
    /// Controller::<Deployment>::new(clusters, watcher::Config::default()).predicate(predicates::generation)
    /// # }
    /// ```
    ///
    /// The store has the latest version anyway. Objects for which `predicate` returns `None` are reconciled at each
    /// change, and all objects when they are added, deleted, or get or lose a finalizer. Replaces an earlier predicate:
    /// use [`Predicate::combine`] for several.
    pub fn predicate(mut self, predicate: impl Predicate<K> + Send + Sync + 'static) -> Self {
        self.predicate = Arc::new(move |object| predicate.hash_property(object));
        self
    }

    /// Reconciles the owner of an object of kind `Child` when the child, in any member, is created, changed or deleted.
    /// Deletes the child once its owner is gone. [`Owner::apply_to`] records the owner of a child.
    ///
    /// Watches only the metadata of objects with an owner label.
    ///
    /// A child is deleted only if live requests prove that its owner is gone, and that they reached the cluster in
    /// which the owner was. That cluster is known by its UID, also if the member has another name now. Children are
    /// kept while it is unreachable or is not a member.
    ///
    /// An object that no longer matches the selector of the controller still exists. Its children are neither updated
    /// nor deleted until it matches again or is deleted. To delete them, select a label with any value, and let
    /// `reconcile` delete the children when the value says so (see the example `copy_configmap`).
    ///
    /// To reconcile owners without deleting children, use [`Controller::watches`] with [`Owner::from_metadata`].
    ///
    /// [`Owner::apply_to`]: super::Owner::apply_to
    /// [`Owner::from_metadata`]: super::Owner::from_metadata
    pub fn owns<Child>(self, config: impl Into<WatchConfig>) -> Self
    where
        Child: Resource,
        Child::DynamicType: Default,
        Child::Scope: Scoped,
    {
        self.owns_with::<Child>(config, Default::default())
    }

    /// [`Controller::owns`] for a kind known only at runtime.
    pub fn owns_with<Child>(self, config: impl Into<WatchConfig>, dyntype: Child::DynamicType) -> Self
    where
        Child: Resource,
        Child::Scope: Scoped,
    {
        self.owned::<Child>(config.into(), &dyntype, None)
    }

    /// [`Controller::owns`], and stores the children, so that `reconcile` can read them without a request.
    ///
    /// They are watched as a whole, and `stores` has them, by member. `modify` changes each child before it is stored,
    /// as [`Controller::modify`] does. When a reconciliation starts because of a child, the child is in the store, or
    /// is gone from it. Just before a child is removed from the store, `on_removed` is called with its key and its last
    /// observed state: for a deletion that the watch reports, this is the state in which it was deleted.
    pub fn owns_stored<Child>(
        self,
        config: impl Into<WatchConfig>,
        stores: &Stores<Child>,
        modify: impl Fn(&mut Child) + Send + Sync + 'static,
        on_removed: impl Fn(&Key, &Child) + Send + Sync + 'static,
    ) -> Self
    where
        Child: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        Child::DynamicType: Default + Eq + Hash + Clone + Send + Sync + 'static,
        Child::Scope: Scoped,
    {
        let (modify, on_removed) = (Arc::new(modify), Arc::new(on_removed));
        let stored = StoredChildren { stores: stores.clone(), modify, on_removed };
        self.owned::<Child>(config.into(), &Default::default(), Some(Arc::new(stored)))
    }

    fn owned<Child>(
        mut self,
        config: WatchConfig,
        dyntype: &Child::DynamicType,
        store: Option<Arc<dyn StoreChildren>>,
    ) -> Self
    where
        Child: Resource,
        Child::Scope: Scoped,
    {
        let WatchConfig { mut config, members } = config;
        let owned = owner::selector();
        config.label_selector = Some(match config.label_selector {
            Some(selector) if !selector.is_empty() => format!("{selector},{owned}"),
            _ => owned.to_owned(),
        });
        let resource = ApiResource::erase::<Child>(dyntype);
        let kind = resource.kind.as_str().into();
        let kind = OwnedKind { kind, resource, is_namespaced: Child::Scope::IS_NAMESPACED, members };
        self.owned.push(Owned { kind, config, store });
        self
    }

    /// Reconciles the objects that `mapper` returns for an object of another kind, in any member, when that object is
    /// created, changed or deleted.
    ///
    /// When an object changes, its previous keys are reconciled, too, and when it was deleted while its cluster was
    /// unreachable. Only the keys of these objects are stored.
    pub fn watches<Other, I>(
        self,
        config: impl Into<WatchConfig>,
        mapper: impl Fn(&Member, Other) -> I + Send + Sync + 'static,
    ) -> Self
    where
        Other: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        Other::DynamicType: Default + Clone + Send + Sync + 'static,
        Other::Scope: Scoped,
        I: IntoIterator<Item = Key> + 'static,
    {
        self.watches_with(config, mapper, Other::DynamicType::default())
    }

    /// [`Controller::watches`] for a kind known only at runtime.
    pub fn watches_with<Other, I>(
        mut self,
        config: impl Into<WatchConfig>,
        mapper: impl Fn(&Member, Other) -> I + Send + Sync + 'static,
        dyntype: Other::DynamicType,
    ) -> Self
    where
        Other: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        Other::DynamicType: Send + Sync + 'static,
        Other::Scope: Scoped,
        I: IntoIterator<Item = Key> + 'static,
    {
        let WatchConfig { config, members } = config.into();
        let kind: Arc<str> = Other::kind(&dyntype).into();
        let (mapper, dyntype) = (Arc::new(mapper), Arc::new(dyntype));
        let watch = move |watch: Watch, queue: Arc<Queue<Key>>| {
            let handler = MapHandler::new(watch.target.clone(), mapper.clone(), queue);
            let dyntype = dyntype.clone();
            let api = move |target: &Target| {
                let namespace = target.namespace.as_deref();
                Other::Scope::api::<Other>(target.member.client(), namespace, &dyntype)
            };
            watch.run(api, config.clone(), handler).boxed()
        };
        self.mapped.push(MappedKind { kind, members, watch: Arc::new(watch) });
        self
    }

    /// Reconciles the object of each key in the stream. Keys of objects that do not exist are ignored.
    pub fn reconcile_on(mut self, keys: impl Stream<Item = Key> + Send + 'static) -> Self {
        self.keys.push(keys.boxed());
        self
    }

    /// Reconciles all objects of all members for each item in the stream.
    pub fn reconcile_all_on(mut self, triggers: impl Stream<Item = ()> + Send + 'static) -> Self {
        self.resyncs.push(triggers.boxed());
        self
    }

    /// Adds this finalizer to each object, and removes it from a deleted object once no member has a child of the
    /// object. The children of the [`Controller::owns`] kinds are deleted first. `reconcile` is not called for
    /// objects that are being deleted.
    ///
    /// Without a finalizer, an object is deleted at once, and its children afterwards. With it, deletion waits for
    /// unreachable members until they respond again or leave, and for clusters that have not joined since the start
    /// ([`Clusters::wait_until_synced`]). Children in clusters that join later are orphans.
    ///
    /// For a clean-up of your own, call [`kube::runtime::finalizer()`] in `reconcile` with [`Request::api`] and
    /// another finalizer name.
    ///
    /// [`Request::api`]: super::Request::api
    pub fn finalizer(mut self, name: &str) -> Self {
        self.finalizer = Some(name.into());
        self
    }

    /// Limits how many objects of one cluster are reconciled at the same time. The default is 16; 0 means no limit.
    ///
    /// The limit is per cluster, because objects of a cluster that hangs would soon exhaust a shared limit.
    pub fn concurrency(self, limit: u16) -> Self {
        self.queue.set_limit(limit.into());
        self
    }

    /// Sets the shortest and the longest delay of [`Request::backoff`](super::Request::backoff). The defaults are one
    /// second and five minutes.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Backoff { min, max };
        self
    }

    /// Reconciles, deletes orphans and finalizes only while the latest item of `leadership` is true. Starts as a
    /// follower, and stops leading when the stream ends. Watches always run.
    ///
    /// When the stream yields `false`, running reconciliations are dropped at their next `.await`. For example, this
    /// makes a stream of a `tokio::sync::watch::Receiver<bool>` that is true while this replica holds a Lease:
    ///
    /// ```
    /// # fn example(leading: tokio::sync::watch::Receiver<bool>) -> impl futures::Stream<Item = bool> + Send {
    /// futures::stream::unfold((leading, true), |(mut leading, is_first)| async move {
    ///     if !is_first {
    ///         leading.changed().await.ok()?;
    ///     }
    ///     let is_leading = *leading.borrow_and_update();
    ///     Some((is_leading, (leading, false)))
    /// })
    /// # }
    /// ```
    pub fn run_while_leading(mut self, leadership: impl Stream<Item = bool> + Send + 'static) -> Self {
        self.leadership = Some(leadership.boxed());
        self
    }

    /// Once `trigger` resolves, starts no new reconciliation, and ends when the running ones have finished.
    pub fn graceful_shutdown_on(mut self, trigger: impl Future<Output = ()> + Send + 'static) -> Self {
        self.graceful.push(trigger.boxed());
        self
    }

    /// Shuts down gracefully on SIGINT (Ctrl-C) or SIGTERM, as [`Controller::graceful_shutdown_on`] does. A second
    /// signal ends the controller at once.
    pub fn shutdown_on_signal(mut self) -> Self {
        self.graceful.push(signal::received(1).boxed());
        self.forceful.push(signal::received(2).boxed());
        self
    }

    /// The stores of the reconciled objects. They are empty until the controller runs.
    pub fn stores(&self) -> Stores<K> {
        self.stores.clone()
    }

    /// The controller's metrics.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }
}
