//! Watches owned objects as a whole, and stores them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Resource;
use kube::core::PartialObjectMetaExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;

use super::child_handler::ChildHandler;
use crate::controller::call::Meta;
use crate::controller::error::catch_panic;
use crate::controller::key::{Key, Keys};
use crate::controller::object_handler::{Modify, modified};
use crate::controller::scope::Scoped;
use crate::controller::stores::Stores;
use crate::controller::target::Target;
use crate::controller::watch::{EventHandler, Panicked, Watch};

/// How children of one kind are watched and stored. Hides the kind.
pub(in crate::controller) trait StoreChildren: Send + Sync {
    /// Watches the children in one member.
    fn watch(&self, watch: Watch, config: watcher::Config, handler: ChildHandler) -> BoxFuture<'static, ()>;

    /// The store may hold objects of another cluster until it is listed again.
    fn restart(&self, cluster: &str, namespace: Option<Arc<str>>);

    fn remove(&self, cluster: &str);
}

/// The stores of [`Controller::owns_stored`](crate::controller::Controller::owns_stored).
pub(in crate::controller) struct StoredChildren<C>
where
    C: Resource + 'static,
    C::DynamicType: Eq + Hash + Clone,
{
    pub(in crate::controller) stores: Stores<C>,
    pub(in crate::controller) modify: Modify<C>,
    pub(in crate::controller) on_removed: OnRemoved<C>,
}

type OnRemoved<C> = Arc<dyn Fn(&Key, &C) + Send + Sync>;

impl<C> StoreChildren for StoredChildren<C>
where
    C: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    C::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    C::Scope: Scoped,
{
    fn watch(&self, watch: Watch, config: watcher::Config, children: ChildHandler) -> BoxFuture<'static, ()> {
        let dyntype = self.stores.dyntype().clone();
        let (cluster, namespace) = {
            let target = watch.target.borrow();
            (target.member.name().clone(), target.namespace.clone())
        };
        let writer = Writer::new(dyntype.clone());
        self.stores.insert(cluster.clone(), writer.as_reader(), namespace);
        let handler = StoringHandler {
            keys: Keys::new(cluster.clone()),
            cluster,
            writer,
            modify: self.modify.clone(),
            on_removed: self.on_removed.clone(),
            stores: self.stores.clone(),
            children,
        };
        let api = move |target: &Target| {
            C::Scope::api::<C>(target.member.client(), target.namespace.as_deref(), &dyntype)
        };
        watch.run(api, config, handler).boxed()
    }

    fn restart(&self, cluster: &str, namespace: Option<Arc<str>>) {
        self.stores.restart(cluster, namespace);
    }

    fn remove(&self, cluster: &str) {
        self.stores.remove(cluster);
    }
}

/// Updates the store of one cluster before its events are handled: a reconciliation that an event causes finds the
/// object in the store.
struct StoringHandler<C>
where
    C: Resource + Clone + 'static,
    C::DynamicType: Eq + Hash + Clone,
{
    cluster: Arc<str>,
    keys: Keys,
    writer: Writer<C>,
    modify: Modify<C>,
    on_removed: OnRemoved<C>,
    stores: Stores<C>,
    children: ChildHandler,
}

impl<C> StoringHandler<C>
where
    C: Resource + Clone + 'static,
    C::DynamicType: Eq + Hash + Clone,
{
    fn meta(&self, object: &C) -> Meta {
        object.meta().clone().into_response_partial()
    }

    /// Replaces the store with the new list. The list's objects were handled before they were in the store, so the
    /// owners of those that changed are reconciled once more.
    fn listed(&mut self) -> Result<(), Panicked> {
        let reader = self.writer.as_reader();
        let version = |object: &Arc<C>| (object.meta().uid.clone(), object.meta().resource_version.clone());
        let name = |object: &Arc<C>| (object.meta().namespace.clone(), object.meta().name.clone());
        let mut before: HashMap<_, _> =
            reader.state().into_iter().map(|object| (name(&object), object)).collect();
        self.writer.apply_watcher_event(&Event::InitDone);
        let mut result = Ok(());
        let mut changed = Vec::new();
        for object in reader.state() {
            let previous = before.remove(&name(&object));
            if previous.as_ref().map(&version) != Some(version(&object)) {
                changed.push(self.meta(&object));
            }
            if let Some(previous) = previous.filter(|previous| previous.meta().uid != object.meta().uid) {
                result = result.and(self.removed(&previous));
            }
        }
        for gone in before.into_values() {
            result = result.and(self.removed(&gone));
        }
        self.stores.set_listed(&self.cluster);
        result = result.and(self.children.handle(Event::InitDone));
        for meta in changed {
            result = result.and(self.children.handle(Event::Apply(meta)));
        }
        result
    }

    fn removed(&mut self, object: &C) -> Result<(), Panicked> {
        let key = self.keys.key(object);
        catch_panic(|| (self.on_removed)(&key, object)).map_err(|message| Panicked { key, message })
    }
}

impl<C> EventHandler<C> for StoringHandler<C>
where
    C: Resource + Clone + Send + Sync + 'static,
    C::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    fn handle(&mut self, event: Event<C>) -> Result<(), Panicked> {
        match event {
            Event::Apply(object) => {
                let object = modified(&self.modify, &mut self.keys, object)?;
                let meta = self.meta(&object);
                self.writer.apply_watcher_event(&Event::Apply(object));
                self.children.handle(Event::Apply(meta))
            }
            Event::InitApply(object) => {
                let meta = self.meta(&object);
                let key = self.keys.key(&object);
                let (object, panicked) = match modified(&self.modify, &mut self.keys, object) {
                    Ok(object) => (Some(object), Ok(())),
                    // The object still exists.
                    Err(panicked) => {
                        let stored = self.writer.as_reader().get(&self.stores.reference(&key));
                        (stored.map(Arc::unwrap_or_clone), Err(panicked))
                    }
                };
                if let Some(object) = object {
                    self.writer.apply_watcher_event(&Event::InitApply(object));
                }
                self.children.handle(Event::InitApply(meta)).and(panicked)
            }
            Event::Delete(object) => {
                let meta = self.meta(&object);
                let removed = modified(&self.modify, &mut self.keys, object.clone())
                    .and_then(|object| self.removed(&object));
                self.writer.apply_watcher_event(&Event::Delete(object));
                self.children.handle(Event::Delete(meta)).and(removed)
            }
            Event::Init => {
                self.writer.apply_watcher_event(&Event::Init);
                self.children.handle(Event::Init)
            }
            Event::InitDone => self.listed(),
        }
    }
}
