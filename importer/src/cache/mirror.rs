//! The objects that one watch tells of.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The objects of one kind, of one watch or of several that have nothing in common. During a relist,
/// what is not listed again is forgotten at its end, and no object of another watch is.
#[derive(Debug)]
pub(super) struct Mirror<K, V> {
    /// Boxed: a third of a hash map's places is empty, and these are large.
    objects: HashMap<K, Box<V>>,
    unlisted: HashSet<K>,
}

impl<K, V> Default for Mirror<K, V> {
    fn default() -> Self {
        Self { objects: HashMap::new(), unlisted: HashSet::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Mirror<K, V> {
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
        self.keep(key);
        self.objects.remove(key).map(|gone| *gone)
    }

    /// A relist begins of those that are meant.
    pub(super) fn begin(&mut self, is_meant: impl Fn(&K) -> bool) {
        self.unlisted.extend(self.objects.keys().filter(|key| is_meant(key)).cloned());
    }

    /// Of this one, all is known.
    pub(super) fn keep(&mut self, key: &K) {
        self.unlisted.remove(key);
    }

    /// This one is not there any more, and is kept until the end of a relist.
    pub(super) fn lose(&mut self, key: K) {
        self.unlisted.insert(key);
    }

    /// Whether one of those that are meant was not listed, or was lost.
    pub(super) fn lacks(&self, is_meant: impl Fn(&K) -> bool) -> bool {
        self.unlisted.iter().any(is_meant)
    }

    /// Forgets those that are meant and were not listed, and says what that was.
    pub(super) fn end(&mut self, is_meant: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let gone: Vec<K> = self.unlisted.extract_if(is_meant).collect();
        // Between relists, it would be room for nothing.
        self.unlisted.shrink_to_fit();
        gone.iter().filter_map(|key| self.objects.remove_entry(key)).map(|(key, gone)| (key, *gone)).collect()
    }
}
