//! The `ServiceAccountImport` resource: a namespace imports a service account of another cluster.
//!
//! The custom resource definition is generated from these types (`cargo run --package mcsa-client --example crd`).
//! Their documentation becomes its descriptions, which `kubectl explain` prints.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract;

/// The default of [`ServiceAccountImportSpec::expiration_seconds`].
pub const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;

/// The shortest token lifetime that an API server accepts, in seconds.
pub const MIN_EXPIRATION_SECONDS: i64 = 600;

/// ServiceAccountImportSpec is the desired state of a ServiceAccountImport.
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
    doc = "ServiceAccountImport imports a service account of another cluster (the source) into this namespace: the importer keeps a short-lived token of the service account in a Secret, and refreshes it before it expires.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Service Account", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    // Not a date column: kubectl prints those as an age, and this time is in the future.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 247", "metadata.name must be no more than 247 characters: the name of the Secret is metadata.name followed by -token"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.secret) && has(self.secret.name) ? self.secret.name : '') == (has(oldSelf.secret) && has(oldSelf.secret.name) ? oldSelf.secret.name : '')",
    "secret.name is immutable, because pods mount the Secret by its name; create another import"
))]
pub struct ServiceAccountImportSpec {
    /// clusterName is the name of the source, the cluster that owns the service account. It must be the name of a link
    /// in the system namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub cluster_name: String,

    /// namespace is the namespace of the service account in the source.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: String,

    /// name is the name of the service account in the source.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// expirationSeconds is the requested lifetime of the token, in seconds. The source may grant another lifetime.
    /// Defaults to 3600.
    #[serde(default = "default_expiration_seconds")]
    #[schemars(range(min = 600, max = 4294967296_i64))]
    pub expiration_seconds: i64,

    /// audiences are the intended audiences of the token. Defaults to the audience of the source's API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub audiences: Vec<String>,

    /// boundSecret is the name of a Secret in the source, in the namespace of the service account, that tokens are
    /// bound to. Deleting that Secret revokes the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub bound_secret: Option<String>,

    /// secret customizes the Secret in this namespace that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretTemplate>,
}

/// SecretTemplate describes the Secret of an import. Its type is always Opaque.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// name is the name of the Secret. Defaults to the import's name followed by `-token`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: Option<String>,

    /// labels are added to the Secret. They can't replace the labels that the importer sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 63 }))]
    #[x_kube(validation = ("self.all(key, key.size() <= 317)", "names of labels have at most 317 characters"))]
    pub labels: BTreeMap<String, String>,

    /// annotations are added to the Secret. They can't replace the annotations that the importer sets; those with the
    /// prefix `multicluster.admiralty.io` are ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = { "type": "string", "maxLength": 2048 }))]
    #[x_kube(validation = ("self.all(key, key.size() <= 317)", "names of annotations have at most 317 characters"))]
    pub annotations: BTreeMap<String, String>,

    /// items are the keys of the Secret, for consumers that expect other keys. If set, the Secret has only these keys.
    /// Defaults to `server`, `ca.crt`, `namespace`, `token`, `config` and `kubeconfig`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["key".into()]))]
    pub items: Vec<SecretItem>,
}

/// SecretItem is a key of the Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretItem {
    /// key is the key in the Secret's data.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
    /// value selects what the importer writes under the key.
    pub value: ItemValue,
}

/// ItemValue is what the importer can write under a key of the Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemValue {
    /// URL of the source's API server.
    Server,
    /// PEM bundle of the certificate authorities of the source's API server.
    CABundle,
    /// Namespace of the service account.
    Namespace,
    /// The bearer token.
    Token,
    /// A self-contained kubeconfig.
    Kubeconfig,
    /// A kubeconfig that refers to the files `token` and `ca.crt` in its folder, for pods that mount the Secret.
    KubeconfigFiles,
    /// Name of the source.
    ClusterName,
    /// The value of the key `config` in a cluster Secret of Argo CD (JSON).
    ArgoCDConfig,
    /// A `rest.Config` of client-go (JSON).
    RestConfig,
}

/// ServiceAccountImportStatus is the observed state of a ServiceAccountImport.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountImportStatus {
    /// secrets has the Secret that holds the token. It has at most one element.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretReference>,

    /// observedGeneration is the `metadata.generation` that the importer last reconciled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// conditions are the latest observations of the import's state. Known types are `Ready` (the Secret holds a token
    /// that has not expired, and that was not revoked, as far as the importer knows), `Refreshed` (the last reconciliation
    /// succeeded) and, on imports of links, `Reachable` (the source answered the last connectivity check).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// expirationTime is when the token in the Secret expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// refreshTime is when the importer replaces the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,

    /// serviceAccountUID is the UID of the service account in the source.
    #[serde(default, rename = "serviceAccountUID", skip_serializing_if = "Option::is_none")]
    pub service_account_uid: Option<String>,

    /// checkedRequest is the value of the annotation `multicluster.admiralty.io/check-requested` that the condition
    /// `Reachable` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_request: Option<String>,
}

/// SecretReference refers to a Secret in the namespace of the import.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretReference {
    /// name is the name of the Secret.
    pub name: String,
}

/// Condition type: whether the Secret holds a token that has neither expired nor been revoked.
pub const READY: &str = "Ready";

/// Condition type: whether the last reconciliation succeeded.
pub const REFRESHED: &str = "Refreshed";

/// Condition type, on imports of links: whether the source answered the last connectivity check.
pub const REACHABLE: &str = "Reachable";

// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
pub(crate) const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub(crate) const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SECRET_KEY: &str = r"^[-._a-zA-Z0-9]+$";

fn default_expiration_seconds() -> i64 {
    DEFAULT_EXPIRATION_SECONDS
}

impl ServiceAccountImportSpec {
    /// The name of the Secret, for an import with the name `import`.
    pub fn secret_name(&self, import: &str) -> String {
        let name = self.secret.as_ref().and_then(|secret| secret.name.clone());
        name.unwrap_or_else(|| format!("{import}-token"))
    }
}

impl ServiceAccountImport {
    /// The name of the Secret that this import owns. It never changes.
    pub fn secret_name(&self) -> String {
        self.spec.secret_name(&self.name_any())
    }

    /// The owner reference of the Secret. `None` before the API server has stored the import.
    pub fn owner_reference(&self) -> Option<OwnerReference> {
        // No need to make foreground deletion of the import wait for the Secret.
        self.controller_owner_ref(&()).map(|owner| OwnerReference { block_owner_deletion: None, ..owner })
    }

    /// Whether this import refreshes a link: it is in the system namespace, and has the link label.
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

    fn import(name: &str) -> ServiceAccountImport {
        ServiceAccountImport::new(name, ServiceAccountImportSpec::default())
    }

    #[test]
    fn a_manifest_of_2018_is_still_valid() {
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
    fn the_secret_has_the_name_in_the_spec() {
        let mut import = import("a");
        import.spec.secret = Some(SecretTemplate { name: Some("b".into()), ..Default::default() });
        assert_eq!(import.secret_name(), "b");
    }
}
