//! The objects that one watch tells of.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The objects of one watch. During a relist, what is not listed again is forgotten at its end.
#[derive(Debug)]
pub(super) struct Mirror<K, V> {
    /// Boxed: a third of a hash map's places is empty, and these are large.
    objects: HashMap<K, Box<V>>,
    unlisted: HashSet<K>,
    is_synced: bool,
}

impl<K, V> Default for Mirror<K, V> {
    fn default() -> Self {
        Self { objects: HashMap::new(), unlisted: HashSet::new(), is_synced: false }
    }
}

impl<K: Clone + Eq + Hash, V> Mirror<K, V> {
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.objects.get(key).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.objects.get_mut(key).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.objects.iter().map(|(key, value)| (key, value.as_ref()))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.objects.values_mut().map(Box::as_mut)
    }

    pub(super) fn set(&mut self, key: K, value: V) -> Option<V> {
        self.keep(&key);
        self.objects.insert(key, Box::new(value)).map(|before| *before)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.objects.remove(key).map(|gone| *gone)
    }

    /// A relist begins.
    pub(super) fn begin(&mut self) {
        self.unlisted = self.objects.keys().cloned().collect();
    }

    /// This one is still there.
    pub(super) fn keep(&mut self, key: &K) {
        self.unlisted.remove(key);
    }

    /// Forgets what was not listed, and says what that was.
    pub(super) fn end(&mut self) -> Vec<(K, V)> {
        self.is_synced = true;
        std::mem::take(&mut self.unlisted)
            .into_iter()
            .filter_map(|key| self.objects.remove_entry(&key))
            .map(|(key, gone)| (key, *gone))
            .collect()
    }
}
