//! The Secrets of the successive multi-cluster designs for Argo Workflows: REST configs by cluster, a kubeconfig with a
//! context for each cluster, and profiles.
//! <https://github.com/argoproj/argo-workflows/issues/3523>

use k8s_openapi::api::core::v1::Secret;
pub use mcsa_client::argo::{
    CLUSTER_LABEL, CLUSTERS, KUBECONFIG, NAMESPACE, REMOTE_NAMESPACE, WORKFLOW_NAMESPACE,
};
use serde_json::json;

use super::kubeconfigs::VALUE;
use super::{Exported, secret};
use crate::contract::key;
use crate::credential::FormatError;

/// The scope of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The value of [`WORKFLOW_NAMESPACE`].
    pub workflow_namespace: Option<&'a str>,
    /// The value of [`REMOTE_NAMESPACE`].
    pub namespace: Option<&'a str>,
}

impl Exported<'_> {
    /// The Secret [`CLUSTERS`] with one cluster. The key is the cluster's name, and the value is client-go's `rest.Config`
    /// as JSON.
    pub fn argo_clusters(&self) -> Secret {
        let mut config = self.credential.rest_config();
        if self.is_insecure() {
            config["TLSClientConfig"]["Insecure"] = json!(true);
            // client-go rejects this together with a CA bundle.
            if let Some(tls) = config["TLSClientConfig"].as_object_mut() {
                tls.remove("CAData");
            }
        }
        secret(CLUSTERS.into(), [], [(self.cluster_name(), config.to_string())])
    }

    /// The Secret [`KUBECONFIG`], with one context that has the name of the cluster.
    ///
    /// # Errors
    /// If the kubeconfig can't be written.
    pub fn argo_kubeconfig(&self) -> Result<Secret, FormatError> {
        Ok(secret(KUBECONFIG.into(), [], [(VALUE, self.yaml()?)]))
    }

    /// A profile, in the format of `argo cluster get-profile`.
    ///
    /// # Errors
    /// If the kubeconfig can't be written.
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
    use crate::credential::{Credential, tests::credential};
    use crate::formats::Verification;
    use kube::config::Kubeconfig;
    use mcsa_client::argo::Reader;
    use rstest::rstest;
    use secrecy::ExposeSecret;
    use serde_json::Value;

    #[test]
    fn secret_has_a_rest_config_named_after_the_cluster() {
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
    fn kubeconfig_has_a_context_named_after_the_cluster() {
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
    fn profile_is_a_labelled_secret(#[case] scope: Scope<'_>, #[case] expected: &[(&str, &str)]) {
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

    /// Calls `check` with credentials that do and do not have the optional fields, with and without verification.
    fn each_credential(check: impl Fn(Exported<'_>)) {
        let mut other: Credential = credential();
        other.endpoint.ca_bundle = None;
        other.endpoint.tls_server_name = Some("kubernetes.default".into());
        other.namespace = "team-1".into();
        for credential in [credential(), other] {
            for verification in [Verification::Certificate, Verification::Nothing] {
                check(Exported { credential: &credential, service_account: "pod-lister", verification });
            }
        }
    }

    /// Asserts that a config, which was read from an exported Secret, matches the credential.
    fn assert_matches(config: &kube::Config, exported: &Exported<'_>) {
        let is_insecure = exported.verification == Verification::Nothing;
        let endpoint = &exported.credential.endpoint;
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.accept_invalid_certs, is_insecure);
        assert_eq!(config.root_cert.is_some(), endpoint.ca_bundle.is_some() && !is_insecure);
        assert_eq!(config.tls_server_name, endpoint.tls_server_name);
        assert_eq!(config.auth_info.token.as_ref().unwrap().expose_secret(), "t0ken");
        assert!(!format!("{config:?}").contains("t0ken"));
    }

    #[test]
    fn the_client_reads_exported_rest_configs() {
        each_credential(|exported| {
            let secret = exported.argo_clusters();
            let name = exported.credential.cluster_name.as_str();
            let insecure = exported.verification == Verification::Nothing;
            let strict = Reader::default().rest_configs(&secret);
            assert_eq!(strict.is_err(), insecure);
            if let Err(error) = strict {
                assert!(error.to_string().contains("Reader::allow_insecure"), "{error}");
            }
            let configs = Reader::default().allow_insecure().rest_configs(&secret).unwrap();
            assert_eq!(configs.keys().collect::<Vec<_>>(), [name]);
            assert_matches(&configs[name], &exported);
            assert_matches(
                &Reader::default().allow_insecure().rest_config(&secret, name).unwrap(),
                &exported,
            );
        });
    }

    #[test]
    fn the_client_reads_exported_contexts() {
        each_credential(|exported| {
            let secret = exported.argo_kubeconfig().unwrap();
            let strict = Reader::default().contexts(&secret);
            assert_eq!(strict.is_err(), exported.verification == Verification::Nothing);
            if let Err(error) = strict {
                let error = error.to_string();
                assert!(error.contains("context c2") && error.contains("Reader::allow_insecure"), "{error}");
            }
            let reader = Reader::default().allow_insecure();
            let configs = reader.contexts(&secret).unwrap();
            assert_eq!(configs.keys().collect::<Vec<_>>(), ["c2"]);
            assert_matches(&configs["c2"], &exported);
            let config = reader.context(&secret, "c2").unwrap();
            assert_matches(&config, &exported);
            assert_eq!(config.default_namespace, exported.credential.namespace);
            assert_eq!(reader.managed_namespace(&secret, "c2").unwrap(), exported.credential.namespace);
        });
    }

    #[rstest]
    #[case(Scope::default(), Some("argo"), None)]
    #[case(Scope { workflow_namespace: Some("w"), namespace: Some("default") }, Some("w"), Some("default"))]
    #[case(Scope { workflow_namespace: Some(""), namespace: None }, None, None)]
    fn the_client_reads_exported_profiles(
        #[case] scope: Scope<'_>,
        #[case] workflow_namespace: Option<&str>,
        #[case] namespace: Option<&str>,
    ) {
        each_credential(|exported| {
            let mut secret = exported.argo_profile(scope).unwrap();
            secret.metadata.namespace = Some("argo".into());
            let strict = Reader::default().profile(&secret);
            assert_eq!(strict.is_err(), exported.verification == Verification::Nothing);
            let profile = Reader::default().allow_insecure().profile(&secret).unwrap();
            assert_matches(&profile.config, &exported);
            assert_eq!((profile.secret.as_str(), profile.cluster.as_str()), ("argo/argo.c2", "c2"));
            assert_eq!(profile.workflow_namespace.as_deref(), workflow_namespace);
            assert_eq!(profile.namespace.as_deref(), namespace);
        });
    }
}
