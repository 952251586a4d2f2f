//! The `ServiceAccountImport` resource: "this namespace wants the identity of that service account
//! of that cluster".
//!
//! The custom resource definition is generated from these types
//! (`cargo run --package mcsa-client --example crd`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract;

/// Lifetime that an import asks for when it says nothing, in seconds.
pub const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;

/// The shortest lifetime that an API server accepts in a TokenRequest, in seconds.
pub const MIN_EXPIRATION_SECONDS: i64 = 600;

/// What an import wants: a service account in a source, and how its Secret should look.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "multicluster.admiralty.io",
    version = "v1alpha1",
    kind = "ServiceAccountImport",
    plural = "serviceaccountimports",
    shortname = "sai",
    namespaced,
    status = "ServiceAccountImportStatus",
    derive = "PartialEq",
    doc = "ServiceAccountImport keeps a short-lived token of another cluster's service account fresh in a Secret of this namespace.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Service Account", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    // A date column tells how long ago; kubectl prints the time to come only as a string.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 247", "an import's name has at most 247 characters: its Secret is named after it, with -token at the end"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.secret) && has(self.secret.name) ? self.secret.name : '') == (has(oldSelf.secret) && has(oldSelf.secret.name) ? oldSelf.secret.name : '')",
    "secret.name can't change: pods mount the Secret by its name; make another import"
))]
pub struct ServiceAccountImportSpec {
    /// The source: the cluster that owns the service account, as its link names it.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub cluster_name: String,

    /// Namespace of the service account in the source.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: String,

    /// Name of the service account in the source.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// Lifetime to ask for, in seconds. The source may grant less.
    #[serde(default = "default_expiration_seconds")]
    #[schemars(range(min = 600, max = 4294967296_i64))]
    pub expiration_seconds: i64,

    /// Audiences of the token. Default: the source's API server itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub audiences: Vec<String>,

    /// A Secret beside the service account in the source that each token is bound to: deleting it
    /// there revokes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub bound_secret: Option<String>,

    /// How the Secret in this namespace should look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretTemplate>,
}

/// How the Secret of an import should look. Its type is always Opaque.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Name of the Secret. Default: the import's name, with `-token` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: Option<String>,

    /// Labels of the Secret, beside our own, which they can't replace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the Secret, beside our own, which they can't replace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// What the Secret holds, for a consumer with keys of its own. When there are items, there is
    /// nothing else, as with the items of a volume. Default: `server`, `ca.crt`, `namespace`,
    /// `token`, `config` and `kubeconfig`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["key".into()]))]
    pub items: Vec<SecretItem>,
}

/// One key of the Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretItem {
    /// The key that the consumer reads.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
    /// What the importer writes under it.
    pub value: ItemValue,
}

/// What the importer can write under a key of the Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemValue {
    /// URL of the source's API server.
    Server,
    /// PEM bundle that the API server's certificate is verified with.
    CABundle,
    /// The service account's namespace.
    Namespace,
    /// The bearer token.
    Token,
    /// A kubeconfig that holds everything.
    Kubeconfig,
    /// A kubeconfig that names the files `token` and `ca.crt` beside it.
    KubeconfigFiles,
    /// The source's name.
    ClusterName,
    /// The JSON that Argo CD reads under the key `config` of a cluster Secret.
    ArgoCDConfig,
    /// client-go's `rest.Config`, as JSON.
    RestConfig,
}

/// What the importer last saw and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountImportStatus {
    /// The Secret that holds the credential (one; a list since the first version).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,

    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: the Secret holds a token that has not expired. `Refreshed`: the last try to keep it
    /// fresh succeeded. `Reachable`, of a link, if somebody asked: the source answered the importer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When the token in the Secret expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// When the importer replaces the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,

    /// UID of the service account in the source.
    #[serde(default, rename = "serviceAccountUID", skip_serializing_if = "Option::is_none")]
    pub service_account_uid: Option<String>,

    /// The request for a check, of those on a link's import, that the condition `Reachable` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_request: Option<String>,
}

/// A Secret in the import's namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretReference {
    /// Name of the Secret.
    pub name: String,
}

/// Type of the condition that says whether the Secret holds a token that has not expired.
pub const READY: &str = "Ready";

/// Type of the condition that says whether the last try to keep the token fresh succeeded.
pub const REFRESHED: &str = "Refreshed";

/// Type of the condition of a link's import that says whether its source answered the importer when it
/// was last asked to find out.
pub const REACHABLE: &str = "Reachable";

// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SECRET_KEY: &str = r"^[-._a-zA-Z0-9]+$";

fn default_expiration_seconds() -> i64 {
    DEFAULT_EXPIRATION_SECONDS
}

impl ServiceAccountImportSpec {
    /// Name of the Secret of the import of this name.
    pub fn secret_name(&self, import: &str) -> String {
        let named = self.secret.as_ref().and_then(|secret| secret.name.clone());
        named.unwrap_or_else(|| format!("{import}-token"))
    }
}

impl ServiceAccountImport {
    /// Name of the Secret that this import owns, or would own. It never changes.
    pub fn secret_name(&self) -> String {
        self.spec.secret_name(&self.name_any())
    }

    /// The reference by which a Secret belongs to this import; none before the API server has
    /// stored it.
    pub fn owner_reference(&self) -> Option<OwnerReference> {
        // The block would make deleting the import wait for the Secret, for no one's gain.
        self.controller_owner_ref(&()).map(|owner| OwnerReference { block_owner_deletion: None, ..owner })
    }

    /// Whether this import keeps a link fresh: it is one of the system namespace with the label.
    pub fn is_link(&self) -> bool {
        self.namespace().as_deref() == Some(contract::SYSTEM_NAMESPACE)
            && self.labels().get(contract::LINK_LABEL).is_some_and(|value| value == "true")
    }

    /// The message of the condition that failed, `Refreshed` before `Ready`.
    pub fn failure_message(&self) -> Option<&str> {
        let failed = |type_| self.condition(type_).filter(|condition| condition.status == "False");
        failed(REFRESHED).or_else(|| failed(READY)).map(|condition| condition.message.as_str())
    }

    /// The condition of this type, if the importer has set it.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;

    fn import(name: &str) -> ServiceAccountImport {
        ServiceAccountImport::new(name, ServiceAccountImportSpec::default())
    }

    #[test]
    fn the_manifest_of_2018_is_still_an_import() {
        let import: ServiceAccountImport = serde_saphyr::from_str(
            "apiVersion: multicluster.admiralty.io/v1alpha1
kind: ServiceAccountImport
metadata:
  name: cluster2-default-pod-lister
spec:
  clusterName: cluster2
  namespace: default
  name: pod-lister
",
        )
        .unwrap();
        assert_eq!(import.spec.expiration_seconds, 3600);
        assert_eq!(import.secret_name(), "cluster2-default-pod-lister-token");
    }

    #[test]
    fn the_secret_is_named_by_the_spec_where_it_says_so() {
        let mut import = import("a");
        import.spec.secret = Some(SecretTemplate { name: Some("b".into()), ..Default::default() });
        assert_eq!(import.secret_name(), "b");
    }

    #[test]
    fn the_committed_definition_is_the_generated_one() {
        let committed = include_str!("../../manifests/crd.yaml");
        let committed: serde_json::Value = serde_saphyr::from_str(committed).unwrap();
        let generated = serde_json::to_value(ServiceAccountImport::crd()).unwrap();
        assert_eq!(
            committed, generated,
            "run: cargo run --package mcsa-client --example crd > manifests/crd.yaml"
        );
    }
}
