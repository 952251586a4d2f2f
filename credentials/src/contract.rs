//! The names that importer, webhook and kubemcsa share: those of [`mcsa_client::contract`], which consumers use as
//! well, and those that only these programs use. None of them may change.

pub use mcsa_client::contract::*;

/// Field manager of the importer's writes, and of the first credential of a link.
pub const FIELD_MANAGER: &str = "multicluster-service-account";

/// Annotation of an import's Secret: when the token expires, RFC 3339, by the importer's clock.
pub const EXPIRATION_TIME: &str = "multicluster.admiralty.io/expiration-time";

/// Annotation of an import's Secret: when the importer replaces the token, RFC 3339, by the importer's clock.
pub const REFRESH_TIME: &str = "multicluster.admiralty.io/refresh-time";

/// Annotation of an import's Secret: the UID of the service account in the source.
pub const SERVICE_ACCOUNT_UID: &str = "multicluster.admiralty.io/service-account-uid";

/// Annotation of an import's Secret: a digest of its inputs, without the token.
pub const FINGERPRINT: &str = "multicluster.admiralty.io/fingerprint";

/// Annotation of a link's import: the time of the last request for a connectivity check, RFC 3339. The importer runs
/// one check for each value, and reports the result in the import's status.
pub const CHECK_REQUESTED: &str = "multicluster.admiralty.io/check-requested";

/// Annotation of a link's service account in the source: the UID of the target's `kube-system` namespace.
pub const TARGET_UID: &str = "multicluster.admiralty.io/target-uid";

/// The names that the manifests and the webhook share.
pub mod webhook {
    /// The MutatingWebhookConfiguration.
    pub const CONFIGURATION: &str = "multicluster-service-account-webhook";
    /// Its webhook for new pods.
    pub const ENTRY: &str = "pods.multicluster.admiralty.io";
    /// Its webhook for ephemeral containers, which are added to running pods.
    pub const DEBUGGING_ENTRY: &str = "ephemeralcontainers.multicluster.admiralty.io";
    /// Its webhook for templates of Argo Workflows.
    pub const WORKFLOW_ENTRY: &str = "workflows.multicluster.admiralty.io";
    /// Its webhook for imports.
    pub const IMPORT_ENTRY: &str = "imports.multicluster.admiralty.io";
    /// Its webhooks, in their order.
    pub const ENTRIES: [&str; 4] = [ENTRY, DEBUGGING_ENTRY, WORKFLOW_ENTRY, IMPORT_ENTRY];
    /// The Service in front of the replicas, in the system namespace.
    pub const SERVICE: &str = "webhook";
    /// Despite its name, the path of all admission reviews.
    pub const PATH: &str = "/mutate-pods";
    /// Field manager of the webhook's writes.
    pub const FIELD_MANAGER: &str = "multicluster-service-account-webhook";
    /// The Secret with the serving certificate, in the system namespace.
    pub const CERTIFICATE: &str = "webhook-tls";
}

/// The names of the launcher, which runs pods of a target in sources.
pub mod launch {
    /// Label (value `"true"` or [`STOPPING`]) of an import: the launcher runs pods of the import's namespace with it.
    pub const LABEL: &str = "multicluster.admiralty.io/launch";
    /// Value of [`LABEL`] of an import that is about to be deleted: the launcher runs the pods that exist, and the webhook
    /// places no new ones.
    pub const STOPPING: &str = "stopping";
    /// Label selector of launch imports.
    pub const SELECTOR: &str = "multicluster.admiralty.io/launch in (true,stopping)";
    /// Annotation of a pod, with any value: the pod may run in any cluster that its namespace has a launch import for.
    pub const ELECT: &str = "multicluster.admiralty.io/elect";
    /// Annotation of a pod: the cluster that it must run in.
    pub const CLUSTER_NAME: &str = "multicluster.admiralty.io/clustername";
    /// Annotation of a pod: the namespace that it must run in, if its namespace has several launch imports of the
    /// cluster.
    pub const REMOTE_NAMESPACE: &str = "multicluster.admiralty.io/remote-namespace";
    /// Annotation of a launch import: the capacity that it adds to the virtual node, like
    /// `cpu=100,memory=200Gi,pods=1000`.
    pub const CAPACITY: &str = "multicluster.admiralty.io/capacity";
    /// Annotation (value `"true"`) of a launch import: it gives rights to the outputs of Argo's steps.
    pub const ARGO: &str = "multicluster.admiralty.io/argo";
    /// Reason in the status of a step's pod: the launcher lacks rights to the outputs of Argo's steps.
    pub const NO_RIGHTS_TO_OUTPUTS: &str = "NoRightsToOutputs";
    /// Reason in the status of a step's pod: the source has the kind Workflow, but not the
    /// [Workflow](crate::names::stub_workflow) that owns outputs.
    pub const OUTPUTS_NOT_KEPT: &str = "OutputsNotKept";
    /// Annotation of a home pod: its remote pod, `<namespace>/<name>`.
    pub const REMOTE_POD: &str = "multicluster.admiralty.io/remote-pod";
    /// Annotation of a home pod: the UID of its remote pod. A pod that has it is never created again.
    pub const REMOTE_UID: &str = "multicluster.admiralty.io/remote-uid";
    /// Annotation of a home pod: its own UID. Without it, [`REMOTE_POD`] and [`REMOTE_UID`] are those of a pod that this
    /// one is a copy of.
    pub const HOME_UID: &str = "multicluster.admiralty.io/home-uid";
    /// Label of a virtual node: the source's name, which is also the name of the node, as a label value.
    pub const NODE_LABEL: &str = "multicluster.admiralty.io/cluster";
    /// Taint of a virtual node, with the value of [`NODE_LABEL`] and the effect `NoSchedule`.
    pub const NODE_TAINT: &str = "multicluster.admiralty.io/virtual-node";
    /// Taint (`NoSchedule`) of a virtual node whose source is unreachable.
    pub const UNREACHABLE_TAINT: &str = "multicluster.admiralty.io/unreachable";
    /// Annotation of a virtual node, with [`FIELD_MANAGER`] as its value: the launcher created the node. It changes no
    /// other node.
    pub const NODE_MANAGED_BY: &str = "multicluster.admiralty.io/managed-by";
    /// Annotation (value `"true"`) of a virtual node: the launcher cordoned it, because it has no launch import any more.
    pub const NODE_CORDONED: &str = "multicluster.admiralty.io/cordoned";
    /// The launcher's service account, Deployment and Lease, in the target's system namespace.
    pub const LAUNCHER: &str = "launcher";
    /// Field manager of the launcher's writes, in the target and in sources.
    pub const FIELD_MANAGER: &str = "multicluster-service-account-launcher";
}
