//! An index of objects by their owners. It holds only names and UIDs, because there may be tens of thousands.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::controller::key::Key;
use crate::controller::owner::Owner;

/// An owner, as its children claim it. A child with the UID of one owner and the name of another is a child of neither.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnerRef {
    /// The name that the cluster had when the owner was recorded.
    pub(super) cluster: Arc<str>,
    pub(super) cluster_uid: Box<str>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) name: Arc<str>,
    pub(super) uid: Box<str>,
}

impl OwnerRef {
    /// The owner's key if this is its cluster.
    pub(super) fn key_in(&self, cluster: Arc<str>) -> Key {
        Key { cluster, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl From<&Owner> for OwnerRef {
    fn from(owner: &Owner) -> Self {
        let Key { cluster, namespace, name } = owner.key();
        let (cluster_uid, uid) = (owner.cluster_uid.as_str().into(), owner.uid.as_str().into());
        Self { cluster, cluster_uid, namespace, name, uid }
    }
}

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
    owner: Arc<OwnerRef>,
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

/// An owner and its children.
#[derive(Debug)]
struct Family {
    owner: Arc<OwnerRef>,
    children: BTreeSet<(WatchId, Arc<Name>)>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    watches: HashMap<WatchId, Watch>,
    /// Owners by UID. Those with the same UID differ in what their children claim besides.
    owners: HashMap<Box<str>, Vec<Family>>,
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
    pub(super) fn end_list(&mut self, id: WatchId) -> Vec<Arc<OwnerRef>> {
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
    pub(super) fn insert(&mut self, id: WatchId, name: Name, owner: OwnerRef) -> Option<Arc<OwnerRef>> {
        let watch = self.watches.get_mut(&id)?;
        let families = self.owners.entry(owner.uid.clone()).or_default();
        let number = families.iter().position(|family| *family.owner == owner).unwrap_or(families.len());
        if number == families.len() {
            families.push(Family { owner: Arc::new(owner), children: BTreeSet::new() });
        }
        let family = &mut families[number];
        let (name, owner) = (Arc::new(name), family.owner.clone());
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
        family.children.insert((id, name.clone()));
        Some(self.disown(id, name, previous?))
    }

    /// Removes a child. Returns its owner.
    pub(super) fn remove(&mut self, id: WatchId, name: &Name) -> Option<Arc<OwnerRef>> {
        let (name, child) = self.watches.get_mut(&id)?.children.remove_entry(name)?;
        Some(self.disown(id, name, child.owner))
    }

    fn disown(&mut self, id: WatchId, name: Arc<Name>, owner: Arc<OwnerRef>) -> Arc<OwnerRef> {
        if let Entry::Occupied(mut families) = self.owners.entry(owner.uid.clone()) {
            let child = (id, name);
            families.get_mut().retain_mut(|family| {
                family.owner != owner || {
                    family.children.remove(&child);
                    !family.children.is_empty()
                }
            });
            if families.get().is_empty() {
                families.remove();
            }
        }
        owner
    }

    /// The owner of a child.
    pub(super) fn owner_of(&self, kind: usize, child: &Key) -> Option<Arc<OwnerRef>> {
        let name = Name { namespace: child.namespace.clone(), name: child.name.clone() };
        let mut watches =
            self.watches.values().filter(|watch| watch.kind == kind && watch.cluster == child.cluster);
        watches.find_map(|watch| watch.children.get(&name)).map(|child| child.owner.clone())
    }

    /// The kind and key of each child of an owner.
    pub(super) fn children(&self, owner: &OwnerRef) -> Vec<(usize, Key)> {
        let child = |(id, name): &(WatchId, Arc<Name>)| {
            let watch = self.watches.get(id)?;
            let Name { namespace, name } = name.as_ref();
            let cluster = watch.cluster.clone();
            Some((watch.kind, Key { cluster, namespace: namespace.clone(), name: name.clone() }))
        };
        let families = self.owners.get(&owner.uid).into_iter().flatten();
        let family = families.filter(|family| *family.owner == *owner);
        family.flat_map(|family| &family.children).filter_map(child).collect()
    }

    /// All owners.
    pub(super) fn owners(&self) -> Vec<Arc<OwnerRef>> {
        self.owners.values().flatten().map(|family| family.owner.clone()).collect()
    }

    /// The owners that have this UID.
    pub(super) fn owners_with(&self, uid: &str) -> Vec<Arc<OwnerRef>> {
        self.owners.get(uid).into_iter().flatten().map(|family| family.owner.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name { namespace: Some("default".into()), name: name.into() }
    }

    fn owner(name: &str) -> OwnerRef {
        OwnerRef {
            cluster: "c1".into(),
            cluster_uid: "cluster".into(),
            namespace: Some("default".into()),
            name: name.into(),
            uid: "uid".into(),
        }
    }

    fn names(index: &Index, owner: &OwnerRef) -> Vec<String> {
        index.children(owner).iter().map(|(_, key)| key.to_string()).collect()
    }

    #[test]
    fn children_are_found_by_their_owner() {
        let mut index = Index::default();
        let (p, q) = (owner("p"), owner("q"));
        let (c1, c2) = (index.begin_watch("c1".into(), 0), index.begin_watch("c2".into(), 0));
        index.insert(c1, name("a"), p.clone());
        index.insert(c2, name("b"), p.clone());
        index.insert(c2, name("c"), q.clone());
        assert_eq!(names(&index, &p), ["c1/default/a", "c2/default/b"]);
        assert_eq!(index.owners().len(), 2);
        assert_eq!(index.owners_with("uid").len(), 2);
        assert_eq!(index.owners_with("other"), []);
        let b = Key::new("c2", Some("default"), "b");
        assert_eq!(index.owner_of(0, &b).as_deref(), Some(&p));
        assert_eq!(index.owner_of(1, &b), None);

        // The owner changes.
        assert_eq!(index.insert(c2, name("b"), q.clone()).as_deref(), Some(&p));
        assert_eq!(names(&index, &p), ["c1/default/a"]);
        assert_eq!(index.remove(c1, &name("a")).as_deref(), Some(&p));
        assert_eq!(index.remove(c1, &name("a")), None);
        assert_eq!(index.owners(), [Arc::new(q)]);
        index.end_watch(c2);
        assert!(index.owners.is_empty());
    }

    #[test]
    fn a_child_absent_from_the_next_list_is_removed() {
        let mut index = Index::default();
        let (p, q) = (owner("p"), owner("q"));
        let watch = index.begin_watch("c1".into(), 0);
        index.begin_list(watch);
        index.insert(watch, name("a"), p.clone());
        index.insert(watch, name("b"), q.clone());
        assert_eq!(index.end_list(watch), []);
        index.begin_list(watch);
        index.insert(watch, name("b"), q.clone());
        assert_eq!(index.end_list(watch), [Arc::new(p.clone())]);
        assert_eq!([names(&index, &p).len(), names(&index, &q).len()], [0, 1]);
    }

    #[test]
    fn a_uid_under_another_name_makes_no_child() {
        let mut index = Index::default();
        let watch = index.begin_watch("c1".into(), 0);
        index.insert(watch, name("forged"), owner("x"));
        index.insert(watch, name("a"), owner("p"));
        assert_eq!(names(&index, &owner("p")), ["c1/default/a"]);
    }
}
