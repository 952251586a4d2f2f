//! The objects of one kind in one cluster that say to belong to others.

use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::index::Name;
use super::{Collect, Meta, WatchId};
use crate::controller::key::{Key, Keys};
use crate::controller::owner::Owner;
use crate::controller::queue::Queue;
use crate::controller::watch::Sink;

/// Has the owners reconciled of what changes, and keeps the index right.
pub(in crate::controller) struct Children {
    collect: Arc<Collect>,
    queue: Arc<Queue<Key>>,
    keys: Keys,
    kind: usize,
    watch: WatchId,
}

impl Children {
    /// Of a cluster and the kind at this place among those that are owned.
    pub(in crate::controller) fn new(
        collect: Arc<Collect>,
        queue: Arc<Queue<Key>>,
        cluster: Arc<str>,
        kind: usize,
    ) -> Self {
        let watch = collect.index().begin_watch(cluster.clone(), kind);
        Self { collect, queue, keys: Keys::of(cluster), kind, watch }
    }

    fn applied(&mut self, object: &Meta) {
        let child = self.keys.key(object);
        let Some(owner) = Owner::of(&object.metadata).filter(|owner| owner.is_a(&self.collect.owners)) else {
            self.gone(child);
            return;
        };
        let key = owner.key();
        let name = Name { namespace: child.namespace.clone(), name: child.name.clone() };
        let before = self.collect.index().insert(self.watch, name, &key, &owner.uid);
        if let Some(before) = before {
            self.queue.push(before);
        }
        self.queue.push(key);
        self.collect.seen(self.kind, &child, &owner);
    }

    fn gone(&mut self, child: Key) {
        let name = Name { namespace: child.namespace.clone(), name: child.name.clone() };
        let owner = self.collect.index().remove(self.watch, &name);
        if let Some(owner) = owner {
            self.collect.unseen(self.kind, &child, &owner.cluster);
            self.queue.push(owner);
        }
    }
}

impl Sink<Meta> for Children {
    fn event(&mut self, event: Event<Meta>) {
        match event {
            Event::Init => self.collect.index().begin_list(self.watch),
            Event::InitApply(object) | Event::Apply(object) => self.applied(&object),
            Event::Delete(object) => {
                let child = self.keys.key(&object);
                self.gone(child);
            }
            Event::InitDone => {
                let gone = self.collect.index().end_list(self.watch);
                for owner in gone {
                    self.queue.push(owner);
                }
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.collect.index().end_watch(self.watch);
    }
}
