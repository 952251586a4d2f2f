//! What the designs of multi-cluster workflows for Argo Workflows kept, one after the other: rest
//! configs by cluster, a kubeconfig with a context for each cluster, and profiles.
//! <https://github.com/argoproj/argo-workflows/issues/3523>

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::kubeconfigs::VALUE;
use super::{Exported, secret};
use crate::contract::key;
use crate::system::credential::FormatError;

/// Where Argo Workflows looks for them, unless it is installed elsewhere.
pub const NAMESPACE: &str = "argo";

/// Name of the Secret that has a rest config for each cluster.
pub const CLUSTERS: &str = "clusters";

/// Name of the Secret that has a kubeconfig with a context for each cluster.
pub const KUBECONFIG: &str = "kubeconfig";

/// Label of a profile; its value is the cluster's name.
pub const CLUSTER_LABEL: &str = "workflows.argoproj.io/cluster";

/// Annotation of a profile: the namespace of the workflows that it is for; empty, any. Without it, the
/// profile's own.
pub const WORKFLOW_NAMESPACE: &str = "workflows.argoproj.io/workflow-namespace";

/// Annotation of a profile: the namespace of the cluster that it is for. Without it, any.
pub const REMOTE_NAMESPACE: &str = "workflows.argoproj.io/namespace";

/// What a profile is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The value of [`WORKFLOW_NAMESPACE`].
    pub workflow_namespace: Option<&'a str>,
    /// The value of [`REMOTE_NAMESPACE`].
    pub namespace: Option<&'a str>,
}

impl Exported<'_> {
    /// One cluster of the Secret [`CLUSTERS`]: client-go's `rest.Config` as JSON, under the cluster's
    /// name.
    pub fn argo_clusters(&self) -> Secret {
        let mut config = self.credential.rest_config();
        if self.is_insecure() {
            config["TLSClientConfig"]["Insecure"] = json!(true);
            // Beside a CA, client-go refuses it.
            if let Some(tls) = config["TLSClientConfig"].as_object_mut() {
                tls.remove("CAData");
            }
        }
        secret(CLUSTERS.into(), [], [(self.cluster_name(), config.to_string())])
    }

    /// The Secret [`KUBECONFIG`], with one context, which is called what the cluster is.
    ///
    /// # Errors
    /// When the kubeconfig can't be written.
    pub fn argo_kubeconfig(&self) -> Result<Secret, FormatError> {
        Ok(secret(KUBECONFIG.into(), [], [(VALUE, self.yaml()?)]))
    }

    /// A profile, as `argo cluster get-profile` printed it.
    ///
    /// # Errors
    /// When the kubeconfig can't be written.
    pub fn argo_profile(&self, scope: Scope<'_>) -> Result<Secret, FormatError> {
        let labels = [(CLUSTER_LABEL, self.cluster_name())];
        let name = format!("argo.{}", self.cluster_name());
        let mut profile = secret(name, labels, [(key::KUBECONFIG, self.yaml()?)]);
        let annotations =
            [(WORKFLOW_NAMESPACE, scope.workflow_namespace), (REMOTE_NAMESPACE, scope.namespace)];
        for (key, value) in annotations.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            profile.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
        }
        Ok(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{each, value};
    use super::*;
    use kube::config::Kubeconfig;
    use rstest::rstest;
    use serde_json::Value;

    #[test]
    fn a_rest_config_for_each_cluster() {
        each(|exported| {
            let secret = exported.argo_clusters();
            assert_eq!(secret.metadata.name.as_deref(), Some("clusters"));
            let config: Value = serde_json::from_str(&value(&secret, "c2")).unwrap();
            assert_eq!(config["Host"], "https://c2.example:6443");
            assert_eq!(config["BearerToken"], "t0ken");
            assert_eq!(config["TLSClientConfig"]["Insecure"], exported.is_insecure());
            assert_eq!(config["TLSClientConfig"]["CAData"].is_string(), !exported.is_insecure());
        });
    }

    #[test]
    fn a_context_for_each_cluster() {
        each(|exported| {
            let secret = exported.argo_kubeconfig().unwrap();
            assert_eq!(secret.metadata.name.as_deref(), Some("kubeconfig"));
            let kubeconfig = Kubeconfig::from_yaml(&value(&secret, "value")).unwrap();
            assert_eq!(kubeconfig.contexts[0].name, "c2");
            assert_eq!(kubeconfig.contexts[0].context.as_ref().unwrap().cluster, "c2");
        });
    }

    #[rstest]
    #[case(Scope::default(), &[])]
    #[case(
        Scope { workflow_namespace: Some("argo"), namespace: Some("default") },
        &[("workflows.argoproj.io/namespace", "default"), ("workflows.argoproj.io/workflow-namespace", "argo")]
    )]
    #[case(
        Scope { workflow_namespace: Some(""), namespace: None },
        &[("workflows.argoproj.io/workflow-namespace", "")]
    )]
    fn profiles(#[case] scope: Scope<'_>, #[case] expected: &[(&str, &str)]) {
        each(|exported| {
            let secret = exported.argo_profile(scope).unwrap();
            assert_eq!(secret.metadata.name.as_deref(), Some("argo.c2"));
            assert_eq!(secret.metadata.labels.as_ref().unwrap()["workflows.argoproj.io/cluster"], "c2");
            let annotations = secret.metadata.annotations.clone().unwrap_or_default();
            let annotations: Vec<_> = annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(annotations, expected);
            let kubeconfig = Kubeconfig::from_yaml(&value(&secret, "kubeconfig")).unwrap();
            assert_eq!(kubeconfig.current_context.as_deref(), Some("c2"));
            assert_eq!(kubeconfig.auth_infos[0].name, "pod-lister");
        });
    }
}
