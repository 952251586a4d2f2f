//! Where imports are served: in all namespaces, or in the configured ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::model::key::ObjectKey;

/// All namespaces, or one. The scopes of an importer do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    All,
    Namespace(Arc<str>),
}

impl Scope {
    /// The scopes for these namespaces; none means all namespaces. The system namespace is always
    /// included: links are imports, too.
    pub fn of(namespaces: &[String]) -> BTreeSet<Self> {
        if namespaces.is_empty() {
            return [Self::All].into();
        }
        let named = namespaces.iter().map(String::as_str).chain([SYSTEM_NAMESPACE]);
        named.map(|name| Self::Namespace(name.into())).collect()
    }

    pub fn holds(&self, key: &ObjectKey) -> bool {
        self.has_namespace(key.namespace())
    }

    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespace().is_none_or(|namespace| namespace == name)
    }

    /// The namespace; `None` for all.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(name) => Some(name),
        }
    }

    /// Whether the importer becomes ready without it: a namespace that does not exist yet, or has no Role, must
    /// not block the others. The system namespace is required, because it holds the links.
    pub fn may_be_absent(&self) -> bool {
        self.namespace().is_some_and(|namespace| namespace != SYSTEM_NAMESPACE)
    }

    /// The API of a kind in this scope.
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
    fn scopes_are_distinct_and_include_the_system_namespace(
        #[case] named: &[&str],
        #[case] expected: &[Option<&str>],
    ) {
        let named: Vec<_> = named.iter().map(ToString::to_string).collect();
        let scopes = Scope::of(&named);
        assert_eq!(scopes.iter().map(Scope::namespace).collect::<Vec<_>>(), expected);
        let is_needed = |scope: &&Scope| !scope.may_be_absent();
        assert_eq!(scopes.iter().filter(is_needed).count(), 1, "only the system namespace is required");
    }
}
