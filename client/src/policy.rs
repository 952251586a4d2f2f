//! The `ImportPolicy` resource: which namespaces of a target may import which service accounts.
//!
//! Without policies for a source, each namespace may import what the link to the source allows. As soon as a source has a
//! policy, an import needs one that permits it. The importer enforces this.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{LABEL, SUBDOMAIN};

/// Value of [`AccountRule::namespace`]: all namespaces.
pub const ALL_NAMESPACES: &str = "*";

/// ImportPolicySpec is the desired state of an ImportPolicy.
#[expect(clippy::duplicated_attributes, reason = "each column has a type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "multicluster.admiralty.io",
    version = "v1alpha1",
    kind = "ImportPolicy",
    plural = "importpolicies",
    derive = "PartialEq",
    doc = "ImportPolicy permits namespaces of this cluster to import service accounts of another cluster (the source). Without policies for a source, all namespaces may import all that the link to the source allows. As soon as a source has a policy, each import needs a policy that permits it. Imports of links need none.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces"),
    printcolumn(name = "On Revoke", type_ = "string", json_path = ".spec.onRevoke"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.namespaceSelector) || !has(self.namespaceSelector.matchExpressions) || self.namespaceSelector.matchExpressions.all(requirement, requirement.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",
    "namespaceSelector.matchExpressions: operator must be In, NotIn, Exists or DoesNotExist"
))]
pub struct ImportPolicySpec {
    /// clusterName is the name of the source that this policy applies to. Defaults to all sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub cluster_name: Option<String>,

    /// namespaces are the names of the namespaces of this cluster that may import, in addition to those that
    /// namespaceSelector selects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Set)]
    pub namespaces: Vec<String>,

    /// namespaceSelector selects namespaces of this cluster that may import, by their labels. An empty selector selects
    /// all. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// serviceAccounts are the service accounts of the source that these namespaces may import, if the link allows it.
    /// Defaults to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub service_accounts: Vec<AccountRule>,

    /// onRevoke is what happens to the Secrets of imports that no policy permits: Retain leaves them, with a token that
    /// expires and is not refreshed; Delete deletes them. If the policies of a source differ, Delete applies.
    #[serde(default)]
    pub on_revoke: OnRevoke,
}

/// AccountRule matches service accounts of the source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountRule {
    /// namespace is the namespace of the service accounts in the source, or `*` for all namespaces.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_OR_ALL))]
    pub namespace: String,

    /// name is the name of a service account. Defaults to all of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: Option<String>,
}

/// OnRevoke is what happens to the Secret of an import that is no longer permitted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnRevoke {
    /// The Secret stays. Its token expires.
    #[default]
    Retain,
    /// The importer deletes the Secret.
    Delete,
}

const LABEL_OR_ALL: &str = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";

/// What an import asks for.
#[derive(Clone, Copy, Debug)]
pub struct ImportRequest<'a> {
    /// The namespace of the import, in the target.
    pub namespace: &'a str,
    /// The name of the source.
    pub cluster: &'a str,
    /// The namespace of the service account in the source.
    pub account_namespace: &'a str,
    /// The name of the service account.
    pub account_name: &'a str,
}

/// Whether policies permit an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// A policy permits it, or the source has no policy.
    Permitted,
    /// The source has policies, and none of them permits it.
    NotPermitted(OnRevoke),
    /// Only the labels of the namespace can tell, and they are not known.
    NamespaceUnknown,
}

/// Decides whether policies permit an import. `labels` are the labels of the import's namespace, if known. An invalid
/// selector selects nothing.
pub fn permission<'a>(
    policies: impl IntoIterator<Item = &'a ImportPolicySpec>,
    request: ImportRequest<'_>,
    labels: Option<&BTreeMap<String, String>>,
) -> Permission {
    let (mut refused, mut is_unknown) = (None, false);
    for policy in policies.into_iter().filter(|policy| policy.applies_to(request.cluster)) {
        refused = refused.max(Some(policy.on_revoke));
        if !policy.service_accounts.iter().any(|rule| rule.matches(request)) {
            continue;
        }
        if policy.namespaces.iter().any(|name| name == request.namespace) {
            return Permission::Permitted;
        }
        match (&policy.namespace_selector, labels) {
            (Some(selector), Some(labels)) if selects(selector, labels) => return Permission::Permitted,
            (Some(_), None) => is_unknown = true,
            _ => {}
        }
    }
    match refused {
        None => Permission::Permitted,
        Some(_) if is_unknown => Permission::NamespaceUnknown,
        Some(on_revoke) => Permission::NotPermitted(on_revoke),
    }
}

impl ImportPolicySpec {
    /// Whether this policy applies to imports from a source.
    pub fn applies_to(&self, cluster: &str) -> bool {
        self.cluster_name.as_deref().is_none_or(|name| name == cluster)
    }
}

impl AccountRule {
    fn matches(&self, request: ImportRequest<'_>) -> bool {
        (self.namespace == ALL_NAMESPACES || self.namespace == request.account_namespace)
            && self.name.as_deref().is_none_or(|name| name == request.account_name)
    }
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    const REQUEST: ImportRequest<'_> = ImportRequest {
        namespace: "shop",
        cluster: "c2",
        account_namespace: "default",
        account_name: "pod-lister",
    };

    fn policy(spec: serde_json::Value) -> ImportPolicySpec {
        serde_json::from_value(spec).unwrap()
    }

    fn labels() -> BTreeMap<String, String> {
        [("team".to_owned(), "a".to_owned())].into()
    }

    const REFUSED: Permission = Permission::NotPermitted(OnRevoke::Retain);

    #[rstest]
    #[case::no_policy(json!([]), Permission::Permitted)]
    #[case::of_another_source(json!([{ "clusterName": "c3" }]), Permission::Permitted)]
    #[case::nobody(json!([{ "clusterName": "c2" }]), REFUSED)]
    #[case::nobody_from_any_source(json!([{}]), REFUSED)]
    #[case::no_account(json!([{ "namespaces": ["shop"] }]), REFUSED)]
    #[case::no_namespace(json!([{ "serviceAccounts": [{ "namespace": "*" }] }]), REFUSED)]
    #[case::other_namespace(json!([{ "namespaces": ["a"], "serviceAccounts": [{ "namespace": "*" }] }]), REFUSED)]
    #[case::all_accounts(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::Permitted
    )]
    #[case::accounts_of_the_namespace(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "default" }] }]),
        Permission::Permitted
    )]
    #[case::this_account(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "default", "name": "pod-lister" }] }]),
        Permission::Permitted
    )]
    #[case::account_of_that_name_anywhere(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*", "name": "pod-lister" }] }]),
        Permission::Permitted
    )]
    #[case::other_account(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "default", "name": "admin" }] }]),
        REFUSED
    )]
    #[case::other_namespace_of_the_account(
        json!([{ "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "kube-system" }] }]),
        REFUSED
    )]
    #[case::second_policy_permits(
        json!([{}, { "clusterName": "c2", "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::Permitted
    )]
    #[case::halves_of_two_policies_permit_nothing(
        json!([{ "namespaces": ["shop"] }, { "serviceAccounts": [{ "namespace": "*" }] }]),
        REFUSED
    )]
    #[case::delete_applies(
        json!([{ "onRevoke": "Delete" }, { "clusterName": "c2" }]),
        Permission::NotPermitted(OnRevoke::Delete)
    )]
    #[case::delete_of_another_source(json!([{ "clusterName": "c3", "onRevoke": "Delete" }, {}]), REFUSED)]
    #[case::selected(
        json!([{ "namespaceSelector": { "matchLabels": { "team": "a" } }, "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::Permitted
    )]
    #[case::all_selected(
        json!([{ "namespaceSelector": {}, "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::Permitted
    )]
    #[case::not_selected(
        json!([{ "namespaceSelector": { "matchLabels": { "team": "b" } }, "serviceAccounts": [{ "namespace": "*" }] }]),
        REFUSED
    )]
    #[case::invalid_selector(
        json!([{ "namespaceSelector": { "matchExpressions": [{ "key": "team", "operator": "Is" }] },
            "serviceAccounts": [{ "namespace": "*" }] }]),
        REFUSED
    )]
    fn an_import_needs_a_policy_that_permits_it(
        #[case] policies: serde_json::Value,
        #[case] expected: Permission,
    ) {
        let policies: Vec<_> = policies.as_array().unwrap().iter().cloned().map(policy).collect();
        assert_eq!(permission(&policies, REQUEST, Some(&labels())), expected);
    }

    #[rstest]
    #[case::a_selector_decides(json!([{ "namespaceSelector": {}, "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::NamespaceUnknown)]
    #[case::the_account_is_not_permitted(json!([{ "namespaceSelector": {} }]), REFUSED)]
    #[case::the_name_is_permitted(
        json!([{ "namespaceSelector": {}, "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }] }]),
        Permission::Permitted
    )]
    #[case::no_selector(json!([{ "namespaces": ["a"], "serviceAccounts": [{ "namespace": "*" }] }]), REFUSED)]
    fn unknown_labels_matter_only_if_a_selector_decides(
        #[case] policies: serde_json::Value,
        #[case] expected: Permission,
    ) {
        let policies: Vec<_> = policies.as_array().unwrap().iter().cloned().map(policy).collect();
        assert_eq!(permission(&policies, REQUEST, None), expected);
    }
}
