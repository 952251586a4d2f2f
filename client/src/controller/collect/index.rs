//! Which objects say that they belong to whom: names alone, as there may be tens of thousands.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::controller::key::Key;

/// Stands for all that is said of an owner, so that who names one owner's UID and another's name is not taken
/// for a child of either. It is for finding what to look at, and proves nothing.
pub(super) type OwnerId = u128;

/// One watch of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::controller) struct WatchId(pub(super) u32);

/// A child's name within what one watch sees.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
}

#[derive(Debug)]
struct Child {
    owner: OwnerId,
    /// The list in which it was last seen, or after which it came.
    list: u32,
}

#[derive(Debug)]
struct Watched {
    cluster: Arc<str>,
    /// The place of the kind among those that are owned.
    kind: usize,
    children: HashMap<Arc<Name>, Child>,
    list: u32,
}

#[derive(Debug)]
struct Owner {
    key: Key,
    uid: Box<str>,
    children: usize,
}

/// Which objects say that they belong to whom.
#[derive(Debug, Default)]
pub(super) struct Index {
    watches: HashMap<WatchId, Watched>,
    owners: HashMap<OwnerId, Owner>,
    by_owner: BTreeSet<(OwnerId, WatchId, Arc<Name>)>,
    last_watch: u32,
    hashers: [RandomState; 2],
}

impl Index {
    pub(super) fn begin_watch(&mut self, cluster: Arc<str>, kind: usize) -> WatchId {
        self.last_watch += 1;
        let id = WatchId(self.last_watch);
        self.watches.insert(id, Watched { cluster, kind, children: HashMap::new(), list: 0 });
        id
    }

    pub(super) fn begin_list(&mut self, watch: WatchId) {
        if let Some(watched) = self.watches.get_mut(&watch) {
            watched.list = watched.list.wrapping_add(1);
        }
    }

    /// Drops what was not in the list that ends here; gives the owners of that.
    pub(super) fn end_list(&mut self, watch: WatchId) -> Vec<Key> {
        let Some(watched) = self.watches.get(&watch) else { return Vec::new() };
        let gone = watched.children.iter().filter(|(_, child)| child.list != watched.list);
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        gone.iter().filter_map(|name| self.remove(watch, name)).collect()
    }

    /// Drops all that a watch has seen.
    pub(super) fn end_watch(&mut self, watch: WatchId) {
        let Some(watched) = self.watches.remove(&watch) else { return };
        for (name, child) in watched.children {
            self.disown(watch, name, child.owner);
        }
    }

    /// A child is there, and belongs to that owner; gives whom it belonged to before, if to another.
    pub(super) fn insert(&mut self, watch: WatchId, name: Name, key: &Key, uid: &str) -> Option<Key> {
        let owner = self.id(key, uid);
        let watched = self.watches.get_mut(&watch)?;
        let list = watched.list;
        let name = Arc::new(name);
        let before = match watched.children.entry(name.clone()) {
            Entry::Occupied(mut known) => {
                known.get_mut().list = list;
                if known.get().owner == owner {
                    return None;
                }
                Some(std::mem::replace(&mut known.get_mut().owner, owner))
            }
            Entry::Vacant(place) => {
                place.insert(Child { owner, list });
                None
            }
        };
        let before = before.and_then(|before| self.disown(watch, name.clone(), before));
        let known = || Owner { key: key.clone(), uid: uid.into(), children: 0 };
        self.owners.entry(owner).or_insert_with(known).children += 1;
        self.by_owner.insert((owner, watch, name));
        before
    }

    /// A child is gone, or belongs to nobody; gives whom it belonged to.
    pub(super) fn remove(&mut self, watch: WatchId, name: &Name) -> Option<Key> {
        let (name, child) = self.watches.get_mut(&watch)?.children.remove_entry(name)?;
        self.disown(watch, name, child.owner)
    }

    fn disown(&mut self, watch: WatchId, name: Arc<Name>, owner: OwnerId) -> Option<Key> {
        self.by_owner.remove(&(owner, watch, name));
        let Entry::Occupied(mut known) = self.owners.entry(owner) else { return None };
        known.get_mut().children -= 1;
        let key = known.get().key.clone();
        if known.get().children == 0 {
            known.remove();
        }
        Some(key)
    }

    /// What belongs to an owner: where it is, and the place of its kind.
    pub(super) fn children(&self, key: &Key, uid: &str) -> Vec<(usize, Key)> {
        let owner = self.id(key, uid);
        let first = (owner, WatchId(0), Arc::new(Name { namespace: None, name: "".into() }));
        let of_owner = self.by_owner.range(first..).take_while(|(other, ..)| *other == owner);
        let child = |(_, watch, name): &(OwnerId, WatchId, Arc<Name>)| {
            let watched = self.watches.get(watch)?;
            let Name { namespace, name } = name.as_ref();
            let cluster = watched.cluster.clone();
            Some((watched.kind, Key { cluster, namespace: namespace.clone(), name: name.clone() }))
        };
        of_owner.filter_map(child).collect()
    }

    /// All owners that are said to be in a cluster.
    pub(super) fn owners(&self, cluster: &str) -> Vec<(Key, Box<str>)> {
        let owners = self.owners.values().filter(|owner| &*owner.key.cluster == cluster);
        owners.map(|owner| (owner.key.clone(), owner.uid.clone())).collect()
    }

    fn id(&self, key: &Key, uid: &str) -> OwnerId {
        let [high, low] = self.hashers.each_ref().map(|hasher| OwnerId::from(hasher.hash_one((key, uid))));
        high << 64 | low
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

        // It belongs to another now.
        assert_eq!(index.insert(c2, name("b"), &q, "uid"), Some(p.clone()));
        assert_eq!(names(&index, &p), ["c1/default/a"]);
        assert_eq!(index.remove(c1, &name("a")), Some(p.clone()));
        assert_eq!(index.remove(c1, &name("a")), None);
        assert_eq!(index.owners("c1"), [(q, "uid".into())]);
        index.end_watch(c2);
        assert!(index.owners.is_empty() && index.by_owner.is_empty());
    }

    #[test]
    fn what_is_not_listed_again_is_gone() {
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
    fn a_borrowed_uid_makes_no_child() {
        let mut index = Index::default();
        let watch = index.begin_watch("c1".into(), 0);
        index.insert(watch, name("forged"), &Key::new("c3", None, "x"), "uid");
        index.insert(watch, name("a"), &owner("p"), "uid");
        assert_eq!(names(&index, &owner("p")), ["c1/default/a"]);
        assert_eq!(index.owners("c1"), [(owner("p"), "uid".into())]);
    }
}
