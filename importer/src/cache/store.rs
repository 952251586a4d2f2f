//! The objects that a watch reports.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The objects of one kind, from one watch or several disjoint ones. The end of a relist removes the
/// objects of that watch that were not listed again.
#[derive(Debug)]
pub(super) struct Store<K, V> {
    /// Boxed, because the values are large and a third of a hash map's slots are empty.
    objects: HashMap<K, Box<V>>,
    unlisted: HashSet<K>,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { objects: HashMap::new(), unlisted: HashSet::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Store<K, V> {
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
        self.mark_listed(&key);
        self.objects.insert(key, Box::new(value)).map(|before| *before)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.mark_listed(key);
        self.objects.remove(key).map(|gone| *gone)
    }

    /// Begins a relist of the objects that match.
    pub(super) fn begin_relist(&mut self, matches: impl Fn(&K) -> bool) {
        self.unlisted.extend(self.objects.keys().filter(|key| matches(key)).cloned());
    }

    /// Records that the object is up to date.
    pub(super) fn mark_listed(&mut self, key: &K) {
        self.unlisted.remove(key);
    }

    /// Keeps a deleted object until the end of the next relist.
    pub(super) fn mark_lost(&mut self, key: K) {
        self.unlisted.insert(key);
    }

    /// Whether an object that matches was not listed, or is lost.
    pub(super) fn has_unlisted(&self, matches: impl Fn(&K) -> bool) -> bool {
        self.unlisted.iter().any(matches)
    }

    /// Removes and returns the objects that match and were not listed.
    pub(super) fn end_relist(&mut self, matches: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let gone: Vec<K> = self.unlisted.extract_if(matches).collect();
        self.unlisted.shrink_to_fit();
        gone.iter().filter_map(|key| self.objects.remove_entry(key)).map(|(key, gone)| (key, *gone)).collect()
    }
}
