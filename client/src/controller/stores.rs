//! The reconciled objects of all clusters.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};

use super::key::Key;

/// The stores of a controller, one per cluster. Clones are cheap, and share the stores.
pub struct Stores<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    dyntype: K::DynamicType,
    stores: Arc<RwLock<BTreeMap<Arc<str>, ClusterStore<K>>>>,
}

struct ClusterStore<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    /// The namespace that is watched. `None`: all namespaces.
    namespace: Option<Arc<str>>,
    is_listed: bool,
}

/// Whether a cluster's store has an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Present,
    /// Also if an object of that name has another UID.
    Absent,
    /// The cluster is not listed yet.
    Unknown,
    /// The cluster is not a member, or its objects or those of the namespace are not reconciled.
    NoStore,
}

impl<K> Stores<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    pub(super) fn new(dyntype: K::DynamicType) -> Self {
        Self { dyntype, stores: Arc::default() }
    }

    /// Stores for [`Controller::owns_stored`](super::Controller::owns_stored).
    pub fn empty() -> Self
    where
        K::DynamicType: Default,
    {
        Self::new(K::DynamicType::default())
    }

    /// The object of this key, as last observed. It may have changed or been deleted since.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.cluster(&key.cluster)?.get(&self.reference(key))
    }

    /// The store of a cluster. `None` if the cluster is not a member, or its objects are not reconciled.
    ///
    /// The store is no longer updated once the cluster leaves. A cluster that joins under the same name has another
    /// store.
    pub fn cluster(&self, name: &str) -> Option<Store<K>> {
        self.read().get(name).map(|known| known.store.clone())
    }

    /// Whether the store of a cluster has all its objects: the first list is complete, and the cluster's address has not
    /// changed since.
    pub fn is_listed(&self, name: &str) -> bool {
        self.read().get(name).is_some_and(|known| known.is_listed)
    }

    /// The store of each cluster, by name.
    pub fn clusters(&self) -> Vec<(Arc<str>, Store<K>)> {
        self.read().iter().map(|(name, known)| (name.clone(), known.store.clone())).collect()
    }

    /// All objects of all clusters, as last observed, with their keys.
    pub fn objects(&self) -> Vec<(Key, Arc<K>)> {
        let stores = self.clusters();
        let objects = stores.iter().flat_map(|(name, store)| {
            let objects = store.state().into_iter();
            objects.map(|object| (Key::from_object(name.clone(), object.as_ref()), object))
        });
        objects.collect()
    }

    pub(super) fn presence(&self, key: &Key, uid: &str) -> Presence {
        let stores = self.read();
        let Some(known) = stores.get(&key.cluster) else { return Presence::NoStore };
        if let (Some(watched), Some(namespace)) = (&known.namespace, &key.namespace)
            && watched != namespace
        {
            return Presence::NoStore;
        }
        if !known.is_listed {
            return Presence::Unknown;
        }
        let object = known.store.get(&self.reference(key));
        match object.is_some_and(|object| object.meta().uid.as_deref() == Some(uid)) {
            true => Presence::Present,
            false => Presence::Absent,
        }
    }

    pub(super) fn insert(&self, cluster: Arc<str>, store: Store<K>, namespace: Option<Arc<str>>) {
        let known = ClusterStore { store, namespace, is_listed: false };
        self.write().insert(cluster, known);
    }

    /// Until the cluster is listed again, its store may hold objects of another cluster or namespace.
    pub(super) fn restart(&self, cluster: &str, namespace: Option<Arc<str>>) {
        if let Some(known) = self.write().get_mut(cluster) {
            known.namespace = namespace;
            known.is_listed = false;
        }
    }

    pub(super) fn set_listed(&self, cluster: &str) {
        if let Some(known) = self.write().get_mut(cluster) {
            known.is_listed = true;
        }
    }

    pub(super) fn remove(&self, cluster: &str) {
        self.write().remove(cluster);
    }

    pub(super) fn dyntype(&self) -> &K::DynamicType {
        &self.dyntype
    }

    pub(super) fn reference(&self, key: &Key) -> ObjectRef<K> {
        let reference = ObjectRef::new_with(&key.name, self.dyntype.clone());
        match &key.namespace {
            Some(namespace) => reference.within(namespace),
            None => reference,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, ClusterStore<K>>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, ClusterStore<K>>> {
        self.stores.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Stores<K>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    fn clone(&self) -> Self {
        Self { dyntype: self.dyntype.clone(), stores: self.stores.clone() }
    }
}
