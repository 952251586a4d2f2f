//! Handles the events of the reconciled kind in one cluster.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use prometheus_client::metrics::gauge::Gauge;

use super::collect::Collector;
use super::error::catch_panic;
use super::key::{Key, Keys};
use super::queue::Queue;
use super::stores::Stores;
use super::watch::{EventHandler, Panicked};

/// Updates the store of one cluster, and enqueues changed objects.
pub(super) struct ObjectHandler<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    cluster: Arc<str>,
    keys: Keys,
    writer: Writer<K>,
    modify: Arc<dyn Fn(&mut K) + Send + Sync>,
    stores: Stores<K>,
    queue: Arc<Queue<Key>>,
    collector: Option<Arc<Collector>>,
    listed: Gauge,
}

impl<K> ObjectHandler<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) fn new(
        cluster: Arc<str>,
        writer: Writer<K>,
        modify: Arc<dyn Fn(&mut K) + Send + Sync>,
        stores: Stores<K>,
        queue: Arc<Queue<Key>>,
        collector: Option<Arc<Collector>>,
        listed: Gauge,
    ) -> Self {
        let keys = Keys::new(cluster.clone());
        Self { cluster, keys, writer, modify, stores, queue, collector, listed }
    }

    fn modified(&mut self, mut object: K) -> Result<K, Panicked> {
        let key = self.keys.key(&object);
        match catch_panic(|| (self.modify)(&mut object)) {
            Ok(()) => Ok(object),
            Err(message) => Err(Panicked { key, message }),
        }
    }

    fn deleted(&mut self, object: &K) {
        let key = self.keys.key(object);
        self.queue.forget(&key);
        if let (Some(collector), Some(uid)) = (&self.collector, &object.meta().uid) {
            collector.owner_gone(&key, uid);
        }
    }

    /// Enqueues the objects that changed since the previous list, and handles those that are gone. Unchanged objects
    /// are not enqueued.
    fn listed(&mut self, event: &Event<K>) {
        let reader = self.writer.as_reader();
        let before = reader.state();
        self.writer.apply_watcher_event(event);
        let after = reader.state();
        let mut known: HashMap<_, _> = before.iter().map(|object| (name(object.as_ref()), object)).collect();
        for object in &after {
            let meta = object.meta();
            match known.remove(&name(object.as_ref())).map(|known| (known, known.meta())) {
                Some((_, old)) if old.uid == meta.uid && old.resource_version == meta.resource_version => {}
                Some((known, old)) => {
                    if old.uid != meta.uid {
                        self.deleted(known);
                    }
                    self.queue.push(self.keys.key(object.as_ref()));
                }
                None => self.queue.push(self.keys.key(object.as_ref())),
            }
        }
        for gone in known.into_values() {
            self.deleted(gone);
        }
        self.stores.set_listed(&self.cluster);
        self.listed.set(1);
        self.queue.open(&self.cluster, false);
        if let Some(collector) = &self.collector {
            collector.cluster_listed(&self.cluster);
        }
    }
}

fn name(object: &impl Resource) -> (Option<&str>, Option<&str>) {
    (object.meta().namespace.as_deref(), object.meta().name.as_deref())
}

impl<K> EventHandler<K> for ObjectHandler<K>
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    fn handle(&mut self, event: Event<K>) -> Result<(), Panicked> {
        match event {
            Event::Apply(object) => {
                let object = self.modified(object)?;
                let key = self.keys.key(&object);
                self.writer.apply_watcher_event(&Event::Apply(object));
                self.queue.push(key);
            }
            Event::InitApply(object) => {
                let (key, uid) = (self.keys.key(&object), object.meta().uid.clone());
                let (object, panicked) = match self.modified(object) {
                    Ok(object) => (Some(Arc::new(object)), Ok(())),
                    // The object still exists.
                    Err(panicked) => (self.stores.get(&key), Err(panicked)),
                };
                if let Some(object) = object.filter(|object| object.meta().uid == uid) {
                    self.writer.apply_watcher_event(&Event::InitApply(Arc::unwrap_or_clone(object)));
                }
                return panicked;
            }
            Event::Delete(object) => {
                self.deleted(&object);
                self.writer.apply_watcher_event(&Event::Delete(object));
            }
            Event::Init => self.writer.apply_watcher_event(&event),
            Event::InitDone => self.listed(&event),
        }
        Ok(())
    }
}
