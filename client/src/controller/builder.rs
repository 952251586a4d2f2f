//! How a controller is put together.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, Stream, StreamExt};
use kube::api::ApiResource;
use kube::core::NamespaceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::collect::Owned;
use super::key::Key;
use super::map_handler::Others;
use super::members::Watched;
use super::metrics::Metrics;
use super::owner;
use super::queue::Queue;
use super::request::Kind;
use super::scope::Scoped;
use super::start::on_signal;
use super::stores::Stores;
use super::watch::Watch;
use crate::clusters::{Clusters, Member};

/// So many reconciliations of one cluster's objects at a time, unless said otherwise.
const CONCURRENCY: usize = 16;

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(5 * 60) };

/// Has objects of a kind reconciled in every member of a [`Clusters`].
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
    pub(super) namespace: Option<Arc<str>>,
    pub(super) is_home: Arc<dyn Fn(&Member) -> bool + Send + Sync>,
    pub(super) modify: Arc<dyn Fn(&mut K) + Send + Sync>,
    pub(super) owned: Vec<(Owned, bool, watcher::Config)>,
    pub(super) watched: Vec<Watched>,
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
    /// A controller of this kind in these clusters. `config` says which of its objects, and how they are watched.
    pub fn new(clusters: &Clusters, config: watcher::Config) -> Self
    where
        K::DynamicType: Default,
    {
        Self::new_with(clusters, config, Default::default())
    }

    /// A controller of a kind that is known at runtime alone.
    pub fn new_with(clusters: &Clusters, config: watcher::Config, dyntype: K::DynamicType) -> Self {
        let queue = Arc::new(Queue::new(CONCURRENCY));
        let resource = ApiResource::erase::<K>(&dyntype);
        Self {
            clusters: clusters.clone(),
            config,
            stores: Stores::new(dyntype.clone()),
            kind: Arc::new(Kind { dyntype, resource }),
            api: <K::Scope as Scoped>::api::<K>,
            namespace: None,
            is_home: Arc::new(|_| true),
            modify: Arc::new(|_| {}),
            owned: Vec::new(),
            watched: Vec::new(),
            keys: Vec::new(),
            resyncs: Vec::new(),
            finalizer: None,
            backoff: BACKOFF,
            leadership: None,
            graceful: Vec::new(),
            forceful: Vec::new(),
            metrics: Metrics::new(queue.clone()),
            queue,
        }
    }

    /// Watches this namespace of each member instead of all of them: for what is reconciled, what it owns and
    /// what else is watched, as the rights of a service account may not go further. Kinds that are in no namespace
    /// are not concerned.
    pub fn namespace(mut self, namespace: &str) -> Self
    where
        K::Scope: NamespaceScope,
    {
        self.namespace = Some(namespace.into());
        self
    }

    /// Reconciles the objects of those members alone. What they own is still looked for in all of them.
    ///
    /// Each member is asked for once, when it joins.
    pub fn members(mut self, is_meant: impl Fn(&Member) -> bool + Send + Sync + 'static) -> Self {
        self.is_home = Arc::new(is_meant);
        self
    }

    /// Changes each object before it is kept and reconciled: what nobody needs of it, such as its managed fields,
    /// need take no memory.
    pub fn modify(mut self, change: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        self.modify = Arc::new(change);
        self
    }

    /// Has an object reconciled when something in any member changes that belongs to it by [`Owner::mark`], and
    /// deletes that once the object is gone.
    ///
    /// Of objects of this kind, only those with an owner's label are watched, and of them only the metadata.
    ///
    /// Something is deleted only when a live look proves that its owner is gone from the very cluster that it was
    /// in. Nothing is deleted while that cluster is away, out of the set, or another one under its name.
    ///
    /// To be told of what belongs to an object, and have nothing deleted, is what [`Controller::watches`] and
    /// [`Owner::of`] do.
    ///
    /// [`Owner::mark`]: super::Owner::mark
    /// [`Owner::of`]: super::Owner::of
    pub fn owns<Child>(self, config: watcher::Config) -> Self
    where
        Child: Resource,
        Child::DynamicType: Default,
        Child::Scope: Scoped,
    {
        self.owns_with::<Child>(config, Default::default())
    }

    /// [`Controller::owns`] for a kind that is known at runtime alone.
    pub fn owns_with<Child>(mut self, mut config: watcher::Config, dyntype: Child::DynamicType) -> Self
    where
        Child: Resource,
        Child::Scope: Scoped,
    {
        let marked = owner::selector();
        config.label_selector = Some(match config.label_selector {
            Some(selector) if !selector.is_empty() => format!("{selector},{marked}"),
            _ => marked.to_owned(),
        });
        let resource = ApiResource::erase::<Child>(&dyntype);
        let owned = Owned { kind: resource.kind.as_str().into(), resource, namespace: None };
        self.owned.push((owned, Child::Scope::IS_NARROWED, config));
        self
    }

    /// Has reconciled what the mapper gives for each object of another kind, in any member, that comes, changes
    /// or goes.
    ///
    /// What an object concerned is remembered, so that it is reconciled as well when the object has changed, or
    /// went while its cluster was away. Nothing else is remembered of these objects.
    pub fn watches<Other, I>(
        self,
        config: watcher::Config,
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

    /// [`Controller::watches`] for a kind that is known at runtime alone.
    pub fn watches_with<Other, I>(
        mut self,
        config: watcher::Config,
        mapper: impl Fn(&Member, Other) -> I + Send + Sync + 'static,
        dyntype: Other::DynamicType,
    ) -> Self
    where
        Other: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        Other::DynamicType: Send + Sync + 'static,
        Other::Scope: Scoped,
        I: IntoIterator<Item = Key> + 'static,
    {
        let kind: Arc<str> = Other::kind(&dyntype).into();
        let mapper = Arc::new(mapper);
        let begin = move |watch: Watch, queue: Arc<Queue<Key>>, namespace: Option<&str>| {
            let api = Other::Scope::api::<Other>(watch.member.client(), namespace, &dyntype);
            let (member, kind) = (watch.member.clone(), watch.kind.clone());
            let sink = Others::new(member, kind, mapper.clone(), queue, watch.troubles.clone());
            watch.run(api, config.clone(), sink).boxed()
        };
        self.watched.push(Watched { kind, begin: Arc::new(begin) });
        self
    }

    /// Has an object reconciled whenever its name comes. Names of what is not there are ignored.
    pub fn reconcile_on(mut self, keys: impl Stream<Item = Key> + Send + 'static) -> Self {
        self.keys.push(keys.boxed());
        self
    }

    /// Has all objects of all members reconciled whenever something comes.
    pub fn reconcile_all_on(mut self, triggers: impl Stream<Item = ()> + Send + 'static) -> Self {
        self.resyncs.push(triggers.boxed());
        self
    }

    /// Has an object wait, when it is deleted, until nothing in any member belongs to it any more: what
    /// [`Controller::owns`] names is deleted first. `reconcile` is not called for an object that is being deleted.
    ///
    /// Without that, objects go at once, and what belongs to them follows. With it, a member that is away has them
    /// wait until it is back or leaves.
    ///
    /// For a clean-up of your own, call [`kube::runtime::finalizer()`] in `reconcile`, with [`Request::api`]; it goes
    /// with this one if they have other names.
    ///
    /// [`Request::api`]: super::Request::api
    pub fn finalizer(mut self, name: &str) -> Self {
        self.finalizer = Some(name.into());
        self
    }

    /// Reconciles so many objects of one cluster at a time, 16 unless said otherwise; 0 is no limit.
    ///
    /// Each cluster has places of its own: if they were shared, the objects of one that hangs would soon hold
    /// all of them.
    pub fn concurrency(self, limit: u16) -> Self {
        self.queue.set_limit(limit.into());
        self
    }

    /// How long [`Request::backoff`](super::Request::backoff) waits after the first failure, and at most:
    /// a second and five minutes unless said otherwise.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Backoff { min, max };
        self
    }

    /// Reconciles, collects and finalizes only while `leadership` last said `true`, which it did not yet at the
    /// beginning, and does no more when it ends. Watches run all the time.
    ///
    /// With the first `false`, all reconciliations that run are dropped, each where it waits for something. Whoever
    /// holds a Lease has such a stream; as with a `tokio::sync::watch::Receiver<bool>` that is kept true meanwhile:
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
    pub fn lead_while(mut self, leadership: impl Stream<Item = bool> + Send + 'static) -> Self {
        self.leadership = Some(leadership.boxed());
        self
    }

    /// Begins nothing new once this is over, and ends when what was begun has ended.
    pub fn graceful_shutdown_on(mut self, trigger: impl Future<Output = ()> + Send + 'static) -> Self {
        self.graceful.push(trigger.boxed());
        self
    }

    /// [`Controller::graceful_shutdown_on`] Ctrl-C or SIGTERM. With the second one, it ends at once.
    pub fn shutdown_on_signal(mut self) -> Self {
        self.graceful.push(on_signal(1).boxed());
        self.forceful.push(on_signal(2).boxed());
        self
    }

    /// What is known of the objects, cluster by cluster; empty until the controller runs.
    pub fn stores(&self) -> Stores<K> {
        self.stores.clone()
    }

    /// What is counted.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }
}
