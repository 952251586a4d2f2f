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

/// Field manager of all that the importer writes, and of the first credential of a link.
pub const FIELD_MANAGER: &str = "multicluster-service-account";

/// On an import's Secret and on a link: the UID of the source's `kube-system` namespace, which
/// stands for the cluster's identity.
pub const CLUSTER_UID: &str = "multicluster.admiralty.io/cluster-uid";

/// On an import's Secret: the source's name, as the import says it.
pub const CLUSTER_NAME: &str = "multicluster.admiralty.io/cluster-name";

/// On an import's Secret: when the token expires, RFC 3339, by the importer's clock.
pub const EXPIRATION_TIME: &str = "multicluster.admiralty.io/expiration-time";

/// On an import's Secret: when the importer replaces the token, RFC 3339, by the importer's clock.
pub const REFRESH_TIME: &str = "multicluster.admiralty.io/refresh-time";

/// On an import's Secret: the UID of the service account in the source that the token is for.
pub const SERVICE_ACCOUNT_UID: &str = "multicluster.admiralty.io/service-account-uid";

/// On an import's Secret: a digest of all that it was made from, but the token.
pub const FINGERPRINT: &str = "multicluster.admiralty.io/fingerprint";

/// On a link's import: when somebody last asked whether its source can be reached from inside the target,
/// RFC 3339. The importer answers each value once, in the import's status.
pub const CHECK_REQUESTED: &str = "multicluster.admiralty.io/check-requested";

/// On a link's service account in the source: the UID of the target's `kube-system` namespace.
pub const TARGET_UID: &str = "multicluster.admiralty.io/target-uid";

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

/// The names by which manifests and webhook know each other.
pub mod webhook {
    /// The MutatingWebhookConfiguration.
    pub const CONFIGURATION: &str = "multicluster-service-account-webhook";
    /// The entry in it for new pods.
    pub const ENTRY: &str = "pods.multicluster.admiralty.io";
    /// The entry in it for ephemeral containers, which are added to pods that run.
    pub const DEBUGGING_ENTRY: &str = "ephemeralcontainers.multicluster.admiralty.io";
    /// All entries in it, in their order.
    pub const ENTRIES: [&str; 2] = [ENTRY, DEBUGGING_ENTRY];
    /// The Service in front of the replicas, in the system namespace.
    pub const SERVICE: &str = "webhook";
    /// The path at which pods are reviewed.
    pub const PATH: &str = "/mutate-pods";
    /// Field manager of all that the webhook writes.
    pub const FIELD_MANAGER: &str = "multicluster-service-account-webhook";
    /// The Secret with the serving certificate, in the system namespace.
    pub const CERTIFICATE: &str = "webhook-tls";
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
