//! An index of objects by their owners. It holds only names and UIDs, because there may be tens of thousands.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::controller::key::Key;

/// An owner's key and UID, as its children claim them. Both must match: a child with the UID of one owner and the key
/// of another is a child of neither.
type Owner = (Key, Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WatchId(u32);

/// A child's name within its watch.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
}

#[derive(Debug)]
struct Child {
    owner: Arc<Owner>,
    /// The number of the latest list when the child was last observed.
    list: u32,
}

#[derive(Debug)]
struct Watch {
    cluster: Arc<str>,
    /// An index into the owned kinds.
    kind: usize,
    children: HashMap<Arc<Name>, Child>,
    list: u32,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    watches: HashMap<WatchId, Watch>,
    owners: HashMap<Arc<Owner>, BTreeSet<(WatchId, Arc<Name>)>>,
    last_watch: u32,
}

impl Index {
    pub(super) fn begin_watch(&mut self, cluster: Arc<str>, kind: usize) -> WatchId {
        self.last_watch += 1;
        let id = WatchId(self.last_watch);
        self.watches.insert(id, Watch { cluster, kind, children: HashMap::new(), list: 0 });
        id
    }

    pub(super) fn begin_list(&mut self, watch: WatchId) {
        if let Some(watch) = self.watches.get_mut(&watch) {
            watch.list = watch.list.wrapping_add(1);
        }
    }

    /// Removes the children that were not in the list that ends now. Returns their owners.
    pub(super) fn end_list(&mut self, id: WatchId) -> Vec<Key> {
        let Some(watch) = self.watches.get(&id) else { return Vec::new() };
        let gone = watch.children.iter().filter(|(_, child)| child.list != watch.list);
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        gone.iter().filter_map(|name| self.remove(id, name)).collect()
    }

    pub(super) fn end_watch(&mut self, id: WatchId) {
        let Some(watch) = self.watches.remove(&id) else { return };
        for (name, child) in watch.children {
            self.disown(id, name, child.owner);
        }
    }

    /// Adds or updates a child. Returns the previous owner if that was another one.
    pub(super) fn insert(&mut self, id: WatchId, name: Name, key: &Key, uid: &str) -> Option<Key> {
        let owner: Owner = (key.clone(), uid.into());
        let owner = match self.owners.get_key_value(&owner) {
            Some((known, _)) => known.clone(),
            None => Arc::new(owner),
        };
        let watch = self.watches.get_mut(&id)?;
        let name = Arc::new(name);
        let child = Child { owner: owner.clone(), list: watch.list };
        let previous = match watch.children.entry(name.clone()) {
            Entry::Occupied(mut known) => Some(known.insert(child).owner),
            Entry::Vacant(place) => {
                place.insert(child);
                None
            }
        };
        if previous.as_ref() == Some(&owner) {
            return None;
        }
        self.owners.entry(owner).or_default().insert((id, name.clone()));
        Some(self.disown(id, name, previous?))
    }

    /// Removes a child. Returns its owner.
    pub(super) fn remove(&mut self, id: WatchId, name: &Name) -> Option<Key> {
        let (name, child) = self.watches.get_mut(&id)?.children.remove_entry(name)?;
        Some(self.disown(id, name, child.owner))
    }

    fn disown(&mut self, id: WatchId, name: Arc<Name>, owner: Arc<Owner>) -> Key {
        let key = owner.0.clone();
        if let Entry::Occupied(mut children) = self.owners.entry(owner) {
            children.get_mut().remove(&(id, name));
            if children.get().is_empty() {
                children.remove();
            }
        }
        key
    }

    /// The kind and key of each child of an owner.
    pub(super) fn children(&self, key: &Key, uid: &str) -> Vec<(usize, Key)> {
        let child = |(id, name): &(WatchId, Arc<Name>)| {
            let watch = self.watches.get(id)?;
            let Name { namespace, name } = name.as_ref();
            let cluster = watch.cluster.clone();
            Some((watch.kind, Key { cluster, namespace: namespace.clone(), name: name.clone() }))
        };
        let owner: Owner = (key.clone(), uid.into());
        self.owners.get(&owner).into_iter().flatten().filter_map(child).collect()
    }

    /// The owners that their children claim to be in a cluster.
    pub(super) fn owners(&self, cluster: &str) -> Vec<(Key, Box<str>)> {
        let owners = self.owners.keys().filter(|owner| &*owner.0.cluster == cluster);
        owners.map(|owner| owner.as_ref().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name { namespace: Some("default".into()), name: name.into() }
    }

    fn owner(name: &str) -> Key {
        Key::new("c1", Some("default"), name)
    }

    fn names(index: &Index, owner: &Key) -> Vec<String> {
        index.children(owner, "uid").iter().map(|(_, key)| key.to_string()).collect()
    }

    #[test]
    fn children_are_found_by_their_owner() {
        let mut index = Index::default();
        let (p, q) = (owner("p"), owner("q"));
        let (c1, c2) = (index.begin_watch("c1".into(), 0), index.begin_watch("c2".into(), 0));
        index.insert(c1, name("a"), &p, "uid");
        index.insert(c2, name("b"), &p, "uid");
        index.insert(c2, name("c"), &q, "uid");
        assert_eq!(names(&index, &p), ["c1/default/a", "c2/default/b"]);
        assert_eq!(index.owners("c1").len(), 2);
        assert_eq!(index.owners("c2"), []);

        // The owner changes.
        assert_eq!(index.insert(c2, name("b"), &q, "uid"), Some(p.clone()));
        assert_eq!(names(&index, &p), ["c1/default/a"]);
        assert_eq!(index.remove(c1, &name("a")), Some(p.clone()));
        assert_eq!(index.remove(c1, &name("a")), None);
        assert_eq!(index.owners("c1"), [(q, "uid".into())]);
        index.end_watch(c2);
        assert!(index.owners.is_empty());
    }

    #[test]
    fn a_child_absent_from_the_next_list_is_removed() {
        let mut index = Index::default();
        let (p, q) = (owner("p"), owner("q"));
        let watch = index.begin_watch("c1".into(), 0);
        index.begin_list(watch);
        index.insert(watch, name("a"), &p, "uid");
        index.insert(watch, name("b"), &q, "uid");
        assert_eq!(index.end_list(watch), []);
        index.begin_list(watch);
        index.insert(watch, name("b"), &q, "uid");
        assert_eq!(index.end_list(watch), std::slice::from_ref(&p));
        assert_eq!([names(&index, &p).len(), names(&index, &q).len()], [0, 1]);
    }

    #[test]
    fn a_uid_under_another_key_makes_no_child() {
        let mut index = Index::default();
        let watch = index.begin_watch("c1".into(), 0);
        index.insert(watch, name("forged"), &Key::new("c3", None, "x"), "uid");
        index.insert(watch, name("a"), &owner("p"), "uid");
        assert_eq!(names(&index, &owner("p")), ["c1/default/a"]);
        assert_eq!(index.owners("c1"), [(owner("p"), "uid".into())]);
    }
}
