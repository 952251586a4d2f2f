//! The names that importer, webhook and command line agree on: those of [`mcsa_client::contract`], which consumers
//! know as well, and those that only these programs know. None of them may change.

pub use mcsa_client::contract::*;

/// Field manager of all that the importer writes, and of the first credential of a link.
pub const FIELD_MANAGER: &str = "multicluster-service-account";

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
