//! The names that importer, webhook, command line and consumers agree on.
//!
//! They are those of the first multicluster-service-account (2018-2020), so that its manifests
//! keep working, and what has been added since. None of them may change.

/// API group of the `ServiceAccountImport`, and prefix of our labels and annotations.
pub const GROUP: &str = "multicluster.admiralty.io";

/// Namespace of the importer, the webhook and the links in a target, and of the links' identities
/// in a source.
pub const SYSTEM_NAMESPACE: &str = "multicluster-service-account";

/// Label of a namespace (value [`ENABLED`]) whose annotated pods the webhook serves.
pub const NAMESPACE_LABEL: &str = "multicluster-service-account";

/// Value of [`NAMESPACE_LABEL`].
pub const ENABLED: &str = "enabled";

/// On a pod, an annotation: the imports to mount, separated by commas. On a Secret, a label: the
/// import that it belongs to, itself, or, over 63 characters, its beginning and a hash.
pub const IMPORT_NAME: &str = "multicluster.admiralty.io/service-account-import.name";

/// On a pod, an annotation: with the value `"true"`, the variable `KUBECONFIG` of its containers is to
/// name the kubeconfigs of its imports.
pub const KUBECONFIG_ENV: &str = "multicluster.admiralty.io/kubeconfig-env";

/// Where a pod finds its imports: a folder for each, named after the import.
pub const MOUNT_ROOT: &str = "/var/run/secrets/admiralty.io/serviceaccountimports";

/// Label (value `"true"`) of a Secret that is a link, and of the import that keeps it fresh.
pub const LINK_LABEL: &str = "multicluster.admiralty.io/link";

/// On an import's Secret and on a link: the UID of the source's `kube-system` namespace, which
/// stands for the cluster's identity.
pub const CLUSTER_UID: &str = "multicluster.admiralty.io/cluster-uid";

/// On an import's Secret: the source's name, as the import says it.
pub const CLUSTER_NAME: &str = "multicluster.admiralty.io/cluster-name";

/// How an object in one cluster says that it belongs to one in another.
pub mod owner {
    /// Annotation: the owner, whole, as JSON.
    pub const ANNOTATION: &str = "multicluster.admiralty.io/owner";
    /// Label: the cluster's name, as it can be a label's value.
    pub const CLUSTER: &str = "owner.multicluster.admiralty.io/cluster";
    /// Label: the namespace, absent for owners that are in none.
    pub const NAMESPACE: &str = "owner.multicluster.admiralty.io/namespace";
    /// Label: the name, as it can be a label's value.
    pub const NAME: &str = "owner.multicluster.admiralty.io/name";
    /// Label: the UID, by which all that belongs to an owner is selected.
    pub const UID: &str = "owner.multicluster.admiralty.io/uid";
}

/// The keys of an import's Secret.
pub mod key {
    /// URL of the source's API server.
    pub const SERVER: &str = "server";
    /// PEM bundle that the API server's certificate is verified with; absent where the system's
    /// own roots do it.
    pub const CA: &str = "ca.crt";
    /// The service account's namespace.
    pub const NAMESPACE: &str = "namespace";
    /// The bearer token.
    pub const TOKEN: &str = "token";
    /// A kubeconfig that names its neighbours `token` and `ca.crt`: for use from the mount.
    pub const CONFIG: &str = "config";
    /// A kubeconfig that holds everything: for readers of the Secret.
    pub const KUBECONFIG: &str = "kubeconfig";
}
