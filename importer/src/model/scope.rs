//! Where imports are served: in all namespaces, or in those that were named.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::model::key::ObjectKey;

/// What is listed and watched at once. No two of one importer have an object in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All namespaces.
    All,
    /// One namespace.
    Namespace(Arc<str>),
}

impl Scope {
    /// Those of an importer that is confined to these namespaces, or to none. The system namespace is
    /// always among them: links are imports, too.
    pub fn of(namespaces: &[String]) -> BTreeSet<Self> {
        if namespaces.is_empty() {
            return [Self::All].into();
        }
        let named = namespaces.iter().map(String::as_str).chain([SYSTEM_NAMESPACE]);
        named.map(|name| Self::Namespace(name.into())).collect()
    }

    /// Whether an object of this name is in it.
    pub fn holds(&self, key: &ObjectKey) -> bool {
        self.namespace().is_none_or(|namespace| namespace == key.namespace())
    }

    /// Its namespace, if it is one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(name) => Some(name),
        }
    }

    /// Whether nothing else waits for it while it can't be listed: a namespace that is not there yet, or
    /// whose Role is missing, is in no other's way. Without links, however, nothing could be done.
    pub fn may_be_absent(&self) -> bool {
        self.namespace().is_some_and(|namespace| namespace != SYSTEM_NAMESPACE)
    }

    /// The objects in it.
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::All => Api::all(client),
            Self::Namespace(name) => Api::namespaced(client, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], &[None])]
    #[case(&["b", "a", "b"], &[Some("a"), Some("b"), Some(SYSTEM_NAMESPACE)])]
    #[case(&[SYSTEM_NAMESPACE], &[Some(SYSTEM_NAMESPACE)])]
    fn each_namespace_once_and_the_system_s_own(#[case] named: &[&str], #[case] expected: &[Option<&str>]) {
        let named: Vec<_> = named.iter().map(ToString::to_string).collect();
        let scopes = Scope::of(&named);
        assert_eq!(scopes.iter().map(Scope::namespace).collect::<Vec<_>>(), expected);
        let is_needed = |scope: &&Scope| !scope.may_be_absent();
        assert_eq!(scopes.iter().filter(is_needed).count(), 1, "where the links are");
    }
}
