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

/// The function of [`Controller::modify`](super::Controller::modify).
pub(super) type Modify<K> = Arc<dyn Fn(&mut K) + Send + Sync>;

/// The hash of the predicate of [`Controller::predicate`](super::Controller::predicate).
pub(super) type PredicateHash<K> = Arc<dyn Fn(&K) -> Option<u64> + Send + Sync>;

/// Updates the store of one cluster, and enqueues changed objects.
pub(super) struct ObjectHandler<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    cluster: Arc<str>,
    keys: Keys,
    writer: Writer<K>,
    modify: Modify<K>,
    predicate: PredicateHash<K>,
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
        (modify, predicate): (Modify<K>, PredicateHash<K>),
        stores: Stores<K>,
        queue: Arc<Queue<Key>>,
        collector: Option<Arc<Collector>>,
        listed: Gauge,
    ) -> Self {
        let keys = Keys::new(cluster.clone());
        Self { cluster, keys, writer, modify, predicate, stores, queue, collector, listed }
    }

    fn stored(&self, key: &Key) -> Option<Arc<K>> {
        self.writer.as_reader().get(&self.stores.reference(key))
    }

    fn deleted(&mut self, object: &K) {
        let key = self.keys.key(object);
        self.queue.forget(&key);
        if let (Some(collector), Some(uid)) = (&self.collector, &object.meta().uid) {
            collector.owner_gone(&key, uid);
        }
    }

    fn is_relevant(&self, key: &Key, old: &K, new: &K) -> Result<bool, Panicked> {
        let relevant = catch_panic(|| is_relevant(&*self.predicate, old, new));
        relevant.map_err(|message| Panicked { key: key.clone(), message })
    }

    /// Enqueues an object if its change is relevant, or if the predicate panicked.
    fn enqueue(&self, key: Key, is_relevant: Result<bool, Panicked>) -> Result<(), Panicked> {
        if *is_relevant.as_ref().unwrap_or(&true) {
            self.queue.push(key);
        }
        is_relevant.map(drop)
    }

    /// Enqueues the objects that changed since the previous list, and handles those that are gone. Unchanged objects
    /// are not enqueued.
    fn listed(&mut self, event: &Event<K>) -> Result<(), Panicked> {
        let reader = self.writer.as_reader();
        let before = reader.state();
        self.writer.apply_watcher_event(event);
        let after = reader.state();
        let mut result = Ok(());
        let mut known: HashMap<_, _> = before.iter().map(|object| (name(object.as_ref()), object)).collect();
        for object in &after {
            let meta = object.meta();
            match known.remove(&name(object.as_ref())).map(|known| (known, known.meta())) {
                Some((_, old)) if old.uid == meta.uid && old.resource_version == meta.resource_version => {}
                Some((known, old)) => {
                    if old.uid != meta.uid {
                        self.deleted(known);
                    }
                    let key = self.keys.key(object.as_ref());
                    let is_relevant = self.is_relevant(&key, known, object);
                    result = result.and(self.enqueue(key, is_relevant));
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
        result
    }
}

/// Changes an object by the caller's function.
pub(super) fn modified<K: Resource>(
    modify: &Modify<K>,
    keys: &mut Keys,
    mut object: K,
) -> Result<K, Panicked> {
    let key = keys.key(&object);
    match catch_panic(|| modify(&mut object)) {
        Ok(()) => Ok(object),
        Err(message) => Err(Panicked { key, message }),
    }
}

/// Deletion and finalizers are always relevant: most predicates ignore them, and the controller acts on them.
fn is_relevant<K: Resource>(predicate: &dyn Fn(&K) -> Option<u64>, old: &K, new: &K) -> bool {
    let (old_meta, new_meta) = (old.meta(), new.meta());
    old_meta.uid != new_meta.uid
        || old_meta.deletion_timestamp != new_meta.deletion_timestamp
        || old_meta.finalizers != new_meta.finalizers
        || predicate(new).is_none_or(|hash| predicate(old) != Some(hash))
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
                let object = modified(&self.modify, &mut self.keys, object)?;
                let key = self.keys.key(&object);
                let is_relevant =
                    self.stored(&key).map_or(Ok(true), |old| self.is_relevant(&key, &old, &object));
                self.writer.apply_watcher_event(&Event::Apply(object));
                return self.enqueue(key, is_relevant);
            }
            Event::InitApply(object) => {
                let (key, uid) = (self.keys.key(&object), object.meta().uid.clone());
                let (object, panicked) = match modified(&self.modify, &mut self.keys, object) {
                    Ok(object) => (Some(Arc::new(object)), Ok(())),
                    // The object still exists.
                    Err(panicked) => (self.stored(&key), Err(panicked)),
                };
                if let Some(object) = object.filter(|object| object.meta().uid == uid) {
                    self.writer.apply_watcher_event(&Event::InitApply(Arc::unwrap_or_clone(object)));
                }
                return panicked;
            }
            Event::Delete(ref object) => {
                // The store first: the collector drops suspects whose owner is in the store.
                self.writer.apply_watcher_event(&event);
                self.deleted(object);
            }
            Event::Init => self.writer.apply_watcher_event(&event),
            Event::InitDone => return self.listed(&event),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{Predicate, predicates};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::queue::Completion;
    use super::*;

    fn object(meta: &Value) -> ConfigMap {
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    fn generation(object: &ConfigMap) -> Option<u64> {
        predicates::generation.hash_property(object)
    }

    #[rstest]
    #[case::status(json!({"resourceVersion": "2"}), false)]
    #[case::generation(json!({"generation": 2}), true)]
    #[case::no_generation(json!({"generation": null}), true)]
    #[case::finalizer(json!({"finalizers": ["example.com/a"]}), true)]
    #[case::deletion(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), true)]
    #[case::replaced(json!({"uid": "v"}), true)]
    fn a_change_is_relevant_if_the_predicate_or_the_controller_needs_it(
        #[case] change: Value,
        #[case] expected: bool,
    ) {
        let mut meta = json!({"name": "a", "uid": "u", "generation": 1, "resourceVersion": "1"});
        let old = object(&meta);
        meta.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(is_relevant(&generation, &old, &object(&meta)), expected);
        assert!(is_relevant(&|_| None, &old, &old));
    }

    #[tokio::test(start_paused = true)]
    async fn only_relevant_changes_are_enqueued_and_all_are_stored() {
        let (queue, stores, writer) = (Arc::new(Queue::new(0)), Stores::new(()), Writer::new(()));
        stores.insert("c1".into(), writer.as_reader(), None);
        queue.open(&"c1".into(), true);
        let functions: (Modify<ConfigMap>, PredicateHash<ConfigMap>) =
            (Arc::new(|_| {}), Arc::new(generation));
        let mut handler = ObjectHandler::new(
            "c1".into(),
            writer,
            functions,
            stores.clone(),
            queue.clone(),
            None,
            Gauge::default(),
        );
        let version = |generation: i64, version: &str| {
            object(&json!({"name": "a", "uid": "u", "generation": generation, "resourceVersion": version}))
        };
        let key = Key::new("c1", None, "a");
        let list = |object| vec![Event::Init, Event::InitApply(object), Event::InitDone];
        for (events, expected) in [
            (list(version(1, "1")), true),
            (vec![Event::Apply(version(1, "2"))], false),
            (vec![Event::Apply(version(2, "3"))], true),
            (list(version(2, "4")), false),
            (list(version(3, "5")), true),
        ] {
            let text = format!("{events:?}");
            events.into_iter().for_each(|event| handler.handle(event).unwrap());
            let next = queue.next().now_or_never();
            assert_eq!(next.is_some(), expected, "{text}");
            if let Some((key, _)) = next {
                queue.complete(&key, Completion::Succeeded(None));
            }
        }
        assert_eq!(stores.get(&key).unwrap().metadata.resource_version.as_deref(), Some("5"));
    }
}
