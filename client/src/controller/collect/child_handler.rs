//! Handles the events of one owned kind in one cluster.

use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::collector::Collector;
use super::index::{Name, OwnerRef, WatchId};
use crate::controller::call::Meta;
use crate::controller::key::{Key, Keys};
use crate::controller::owner::Owner;
use crate::controller::watch::{EventHandler, Panicked};

/// Enqueues the owners of changed objects, and keeps the collector's index up to date.
pub(in crate::controller) struct ChildHandler {
    collector: Arc<Collector>,
    keys: Keys,
    kind: usize,
    watch: WatchId,
}

impl ChildHandler {
    /// `kind` is an index into the collector's owned kinds.
    pub(in crate::controller) fn new(collector: Arc<Collector>, cluster: Arc<str>, kind: usize) -> Self {
        let watch = collector.index().begin_watch(cluster.clone(), kind);
        Self { collector, keys: Keys::new(cluster), kind, watch }
    }

    fn applied(&mut self, object: &Meta) {
        let child = self.keys.key(object);
        let Some(owner) =
            Owner::from_metadata(&object.metadata).filter(|owner| self.collector.is_owner_kind(owner))
        else {
            self.removed(child);
            return;
        };
        let owner = OwnerRef::from(&owner);
        let name = Name { namespace: child.namespace.clone(), name: child.name.clone() };
        let previous = self.collector.index().insert(self.watch, name, owner.clone());
        if let Some(previous) = previous {
            self.collector.reconcile(&previous);
        }
        self.collector.reconcile(&owner);
        self.collector.child_applied(self.kind, &child, &owner);
    }

    fn removed(&mut self, child: Key) {
        let name = Name { namespace: child.namespace.clone(), name: child.name.clone() };
        let owner = self.collector.index().remove(self.watch, &name);
        if let Some(owner) = owner {
            self.collector.child_removed(self.kind, &child, &owner);
            self.collector.reconcile(&owner);
        }
    }
}

impl EventHandler<Meta> for ChildHandler {
    fn handle(&mut self, event: Event<Meta>) -> Result<(), Panicked> {
        match event {
            Event::Init => self.collector.index().begin_list(self.watch),
            Event::InitApply(object) | Event::Apply(object) => self.applied(&object),
            Event::Delete(object) => {
                let child = self.keys.key(&object);
                self.removed(child);
            }
            Event::InitDone => {
                let owners = self.collector.index().end_list(self.watch);
                for owner in owners {
                    self.collector.reconcile(&owner);
                }
            }
        }
        Ok(())
    }
}

impl Drop for ChildHandler {
    fn drop(&mut self) {
        self.collector.index().end_watch(self.watch);
    }
}
