//! Kinds whose objects are in namespaces, and kinds whose are not.

use kube::core::{ClusterResourceScope, DynamicResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};

mod sealed {
    pub trait Sealed {}
}

/// The scope of a kind: in namespaces, or not, or known at runtime alone.
///
/// It lets a controller be generic over all of them.
pub trait Scoped: sealed::Sealed {
    /// Whether a namespace narrows down what is asked for.
    const IS_NARROWED: bool;

    /// The API of a kind, in this namespace if there is one.
    fn api<K: Resource<Scope = Self>>(
        client: Client,
        namespace: Option<&str>,
        dyntype: &K::DynamicType,
    ) -> Api<K>;
}

impl sealed::Sealed for ClusterResourceScope {}

impl Scoped for ClusterResourceScope {
    const IS_NARROWED: bool = false;

    fn api<K: Resource<Scope = Self>>(client: Client, _: Option<&str>, dyntype: &K::DynamicType) -> Api<K> {
        Api::all_with(client, dyntype)
    }
}

impl sealed::Sealed for NamespaceResourceScope {}

impl Scoped for NamespaceResourceScope {
    const IS_NARROWED: bool = true;

    fn api<K: Resource<Scope = Self>>(
        client: Client,
        namespace: Option<&str>,
        dyntype: &K::DynamicType,
    ) -> Api<K> {
        Api::all_with(client, dyntype).constrain(namespace.unwrap_or_default())
    }
}

impl sealed::Sealed for DynamicResourceScope {}

impl Scoped for DynamicResourceScope {
    const IS_NARROWED: bool = true;

    fn api<K: Resource<Scope = Self>>(
        client: Client,
        namespace: Option<&str>,
        dyntype: &K::DynamicType,
    ) -> Api<K> {
        Api::all_with(client, dyntype).constrain(namespace.unwrap_or_default())
    }
}
