//! The ImportPolicies of a target, and whether they permit its imports.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use mcsa_client::policy::{ImportRequest, Permission, permission};
use mcsa_client::{ImportPolicy, ImportPolicySpec};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// All policies of a target, and the labels that their selectors need.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policies {
    pub(crate) all: Vec<Policy>,
    /// The labels of namespaces, by name; empty if no policy has a selector.
    pub(crate) labels: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policy {
    pub(crate) name: String,
    /// Of an invalid policy, a spec that applies to all sources and permits nothing: the importer does the same.
    pub(crate) spec: ImportPolicySpec,
    /// Why the policy is invalid.
    pub(crate) error: Option<String>,
}

impl Policies {
    /// Reads the policies; none if the CRD is not installed. Lists namespaces only if a policy has a selector.
    pub(crate) async fn read(cluster: &Cluster) -> Result<Self, CallError> {
        let kind = ApiResource::erase::<ImportPolicy>(&());
        let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &kind);
        let page = async |params: &ListParams| api.list(params).await;
        let listed = match list::pages(cluster, "list import policies", ListParams::default(), page).await {
            Err(error) if error.is_not_found() => Vec::new(),
            listed => listed?,
        };
        let all: Vec<_> = listed.iter().map(Policy::of).collect();
        let has_selector = all.iter().any(|policy| policy.spec.namespace_selector.is_some());
        let labels = if has_selector { labels(cluster).await? } else { BTreeMap::new() };
        Ok(Self { all, labels })
    }

    /// Whether the policies permit an import that is not a link's.
    pub(crate) fn permission(&self, request: ImportRequest<'_>) -> Permission {
        let specs = self.all.iter().map(|policy| &policy.spec);
        permission(specs, request, self.labels.get(request.namespace))
    }

    /// The policies that apply to a source.
    pub(crate) fn of_source(&self, source: &str) -> impl Iterator<Item = &Policy> {
        self.all.iter().filter(move |policy| policy.spec.applies_to(source))
    }
}

impl Policy {
    fn of(object: &DynamicObject) -> Self {
        let name = object.name_any();
        match serde_json::from_value(object.data["spec"].clone()) {
            Ok(spec) => Self { name, spec, error: None },
            Err(error) => Self { name, spec: ImportPolicySpec::default(), error: Some(error.to_string()) },
        }
    }

    /// Whether it permits no namespace, or no service account.
    pub(crate) fn permits_nothing(&self) -> bool {
        let ImportPolicySpec { namespaces, namespace_selector, service_accounts, .. } = &self.spec;
        service_accounts.is_empty() || (namespaces.is_empty() && namespace_selector.is_none())
    }
}

async fn labels(cluster: &Cluster) -> Result<BTreeMap<String, BTreeMap<String, String>>, CallError> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let namespaces = list::pages(cluster, "list namespaces", ListParams::default(), page).await?;
    Ok(namespaces.iter().map(|namespace| (namespace.name_any(), namespace.labels().clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::valid(json!({ "clusterName": "c2" }), Some("c2"), false)]
    #[case::invalid(json!({ "clusterName": 7 }), None, true)]
    #[case::no_spec(json!(null), None, true)]
    fn invalid_policy_applies_to_all_sources(
        #[case] spec: Value,
        #[case] cluster_name: Option<&str>,
        #[case] is_invalid: bool,
    ) {
        let object = json!({ "metadata": { "name": "p" }, "spec": spec });
        let policy = Policy::of(&serde_json::from_value(object).unwrap());
        assert_eq!(policy.spec.cluster_name.as_deref(), cluster_name);
        assert_eq!(policy.error.is_some(), is_invalid);
        assert!(policy.permits_nothing());
    }
}
