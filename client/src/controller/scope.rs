//! Namespaced and cluster-scoped kinds.

use kube::core::{ClusterResourceScope, DynamicResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};

mod sealed {
    pub trait Sealed {}
}

/// The scope of a kind: namespaced, cluster-scoped, or known only at runtime. Makes [`Controller`](super::Controller)
/// generic over all three.
pub trait Scoped: sealed::Sealed {
    /// Whether objects of the kind may be in a namespace.
    const IS_NAMESPACED: bool;

    /// The API of a kind, confined to a namespace if one is given and the kind is not cluster-scoped.
    fn api<K: Resource<Scope = Self>>(
        client: Client,
        namespace: Option<&str>,
        dyntype: &K::DynamicType,
    ) -> Api<K>;
}

impl sealed::Sealed for ClusterResourceScope {}

impl Scoped for ClusterResourceScope {
    const IS_NAMESPACED: bool = false;

    fn api<K: Resource<Scope = Self>>(client: Client, _: Option<&str>, dyntype: &K::DynamicType) -> Api<K> {
        Api::all_with(client, dyntype)
    }
}

impl sealed::Sealed for NamespaceResourceScope {}

impl Scoped for NamespaceResourceScope {
    const IS_NAMESPACED: bool = true;

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
    const IS_NAMESPACED: bool = true;

    fn api<K: Resource<Scope = Self>>(
        client: Client,
        namespace: Option<&str>,
        dyntype: &K::DynamicType,
    ) -> Api<K> {
        Api::all_with(client, dyntype).constrain(namespace.unwrap_or_default())
    }
}
