//! Names that the system and its consumers share. None of them may change.
//!
//! They include the names of the first multicluster-service-account (2018-2020), so that its manifests keep working.

/// API group of `ServiceAccountImport`, and prefix of our labels and annotations.
pub const GROUP: &str = "multicluster.admiralty.io";

/// The system namespace. In a target, it has the importer, the webhook and the links; in a source, the service accounts
/// of the links.
pub const SYSTEM_NAMESPACE: &str = "multicluster-service-account";

/// Label of a namespace: with the value [`ENABLED`], the webhook mounts imports into its annotated pods.
pub const NAMESPACE_LABEL: &str = "multicluster-service-account";

/// Value of [`NAMESPACE_LABEL`].
pub const ENABLED: &str = "enabled";

/// Annotation of a pod: the imports to mount, separated by commas. Label of a Secret: the import that owns it; names of
/// more than 63 characters are shortened, with a hash.
pub const IMPORT_NAME: &str = "multicluster.admiralty.io/service-account-import.name";

/// Annotation of a pod: with the value `"true"`, the webhook sets the variable `KUBECONFIG` of the containers to the
/// kubeconfigs of the pod's imports.
pub const KUBECONFIG_ENV: &str = "multicluster.admiralty.io/kubeconfig-env";

/// Where imports are mounted in a pod: one folder per import, with its name.
pub const MOUNT_ROOT: &str = "/var/run/secrets/admiralty.io/serviceaccountimports";

/// Label (value `"true"`) of a Secret that is a link, and of the import that refreshes it.
pub const LINK_LABEL: &str = "multicluster.admiralty.io/link";

/// Annotation of an import's Secret and of a link: the UID of the source's `kube-system` namespace, which identifies
/// the cluster.
pub const CLUSTER_UID: &str = "multicluster.admiralty.io/cluster-uid";

/// Annotation of an import's Secret: the source's name (`spec.clusterName`).
pub const CLUSTER_NAME: &str = "multicluster.admiralty.io/cluster-name";

/// How an object records that an object of another cluster owns it.
pub mod owner {
    /// Annotation: the owner as JSON.
    pub const ANNOTATION: &str = "multicluster.admiralty.io/owner";
    /// Label: the cluster's name, as a label value.
    pub const CLUSTER: &str = "owner.multicluster.admiralty.io/cluster";
    /// Label: the owner's namespace. Cluster-scoped owners have none.
    pub const NAMESPACE: &str = "owner.multicluster.admiralty.io/namespace";
    /// Label: the owner's name, as a label value.
    pub const NAME: &str = "owner.multicluster.admiralty.io/name";
    /// Label: the owner's UID, which selects all that it owns.
    pub const UID: &str = "owner.multicluster.admiralty.io/uid";
}

/// The keys of an import's Secret.
pub mod key {
    /// URL of the source's API server.
    pub const SERVER: &str = "server";
    /// PEM bundle that the API server's certificate is verified with. Absent: the roots of the operating system.
    pub const CA: &str = "ca.crt";
    /// The service account's namespace.
    pub const NAMESPACE: &str = "namespace";
    /// The bearer token.
    pub const TOKEN: &str = "token";
    /// A kubeconfig that refers to the files `token` and `ca.crt` beside it, for use from the mount.
    pub const CONFIG: &str = "config";
    /// A kubeconfig that contains everything, for readers of the Secret.
    pub const KUBECONFIG: &str = "kubeconfig";
}
