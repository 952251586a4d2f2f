//! What the watches of a member watch.

use std::sync::Arc;

use crate::clusters::Member;

/// Chooses the namespace that is watched in a member. `None`: all namespaces.
pub(super) type NamespaceOf = Arc<dyn Fn(&Member) -> Option<String> + Send + Sync>;

/// The current revision of a member, and the namespace that is watched in it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) member: Member,
    /// `None`: all namespaces.
    pub(super) namespace: Option<Arc<str>>,
    /// Increases when the member changes. Lists of an earlier revision may come from another cluster or namespace.
    pub(super) revision: u64,
}

impl Target {
    pub(super) fn new(member: Member, namespace: Option<String>) -> Self {
        Self { member, namespace: namespace.map(Arc::from), revision: 0 }
    }

    /// Replaces the member with a later revision of it.
    pub(super) fn update(&mut self, member: Member, namespace: Option<String>) {
        let revision = self.revision + 1;
        *self = Self { revision, ..Self::new(member, namespace) };
    }
}
