//! Identifies an object among all clusters.

use std::fmt;
use std::sync::Arc;

use kube::Resource;

use super::queue::Item;

/// The cluster, namespace and name of an object. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The member's name.
    pub cluster: Arc<str>,
    /// `None` for cluster-scoped kinds.
    pub namespace: Option<Arc<str>>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Key {
    /// The key with these parts.
    pub fn new(cluster: impl Into<Arc<str>>, namespace: Option<&str>, name: &str) -> Self {
        Self { cluster: cluster.into(), namespace: namespace.map(Arc::from), name: name.into() }
    }

    /// The key of an object in this cluster.
    pub fn from_object(cluster: impl Into<Arc<str>>, object: &impl Resource) -> Self {
        let meta = object.meta();
        Self::new(cluster, meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }
}

impl Item for Key {
    type Lane = Arc<str>;

    fn lane(&self) -> &Arc<str> {
        &self.cluster
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, namespace, name } = self;
        match namespace {
            Some(namespace) => write!(formatter, "{cluster}/{namespace}/{name}"),
            None => write!(formatter, "{cluster}/{name}"),
        }
    }
}

/// Makes the keys of one cluster. Consecutive keys with the same namespace share its string.
#[derive(Debug)]
pub(super) struct Keys {
    cluster: Arc<str>,
    namespace: Option<Arc<str>>,
}

impl Keys {
    pub(super) fn new(cluster: Arc<str>) -> Self {
        Self { cluster, namespace: None }
    }

    pub(super) fn key(&mut self, object: &impl Resource) -> Key {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().map(|namespace| match &self.namespace {
            Some(last) if **last == *namespace => last.clone(),
            _ => self.namespace.insert(namespace.into()).clone(),
        });
        let name = meta.name.as_deref().unwrap_or_default().into();
        Key { cluster: self.cluster.clone(), namespace, name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_displayed_as_a_path() {
        assert_eq!(Key::new("c2", Some("default"), "a").to_string(), "c2/default/a");
        assert_eq!(Key::new("c2", None, "a").to_string(), "c2/a");
    }
}
