//! The objects that are reconciled, as one cluster tells of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use prometheus_client::metrics::gauge::Gauge;

use super::collect::Collect;
use super::key::{Key, Keys};
use super::queue::Queue;
use super::stores::Stores;
use super::watch::Sink;

/// Keeps the store of one cluster, and has reconciled what changed.
pub(super) struct Parents<K>
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
    collect: Option<Arc<Collect>>,
    listed: Gauge,
}

impl<K> Parents<K>
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
        collect: Option<Arc<Collect>>,
        listed: Gauge,
    ) -> Self {
        let keys = Keys::of(cluster.clone());
        Self { cluster, keys, writer, modify, stores, queue, collect, listed }
    }

    fn gone(&mut self, object: &K) {
        let key = self.keys.key(object);
        self.queue.forget(&key);
        if let (Some(collect), Some(uid)) = (&self.collect, &object.meta().uid) {
            collect.parent_gone(&key, uid);
        }
    }

    /// Has reconciled what is not as it was, and notices what vanished out of sight. What stayed the same is
    /// left alone: to list anew is no change.
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
                        self.gone(known);
                    }
                    self.queue.push(self.keys.key(object.as_ref()));
                }
                None => self.queue.push(self.keys.key(object.as_ref())),
            }
        }
        for vanished in known.into_values() {
            self.gone(vanished);
        }
        self.stores.set_listed(&self.cluster, true);
        self.listed.set(1);
        self.queue.open(&self.cluster, false);
        if let Some(collect) = &self.collect {
            collect.sweep(&self.cluster);
        }
    }
}

fn name(object: &impl Resource) -> (Option<&str>, Option<&str>) {
    (object.meta().namespace.as_deref(), object.meta().name.as_deref())
}

impl<K> Sink<K> for Parents<K>
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    fn event(&mut self, event: Event<K>) {
        let event = event.modify(|object| (self.modify)(object));
        match &event {
            Event::Apply(object) => {
                let key = self.keys.key(object);
                self.writer.apply_watcher_event(&event);
                self.queue.push(key);
            }
            Event::Delete(object) => {
                self.writer.apply_watcher_event(&event);
                self.gone(object);
            }
            Event::Init | Event::InitApply(_) => self.writer.apply_watcher_event(&event),
            Event::InitDone => self.listed(&event),
        }
    }
}
