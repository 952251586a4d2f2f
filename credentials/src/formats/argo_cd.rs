//! The cluster Secret of Argo CD.
//! <https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters>

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::{Exported, secret};

/// Label of the Secrets that Argo CD reads.
pub const LABEL: &str = "argocd.argoproj.io/secret-type";

/// Value of [`LABEL`] for clusters.
pub const CLUSTER: &str = "cluster";

/// The default namespace of Argo CD.
pub const NAMESPACE: &str = "argocd";

impl Exported<'_> {
    /// A cluster Secret, for the namespace of Argo CD.
    pub fn argo_cd(&self) -> Secret {
        let mut config = self.credential.argo_cd_config();
        if self.is_insecure() {
            config["tlsClientConfig"]["insecure"] = json!(true);
            // Argo CD rejects this together with a CA bundle.
            if let Some(tls) = config["tlsClientConfig"].as_object_mut() {
                tls.remove("caData");
            }
        }
        secret(
            format!("cluster-{}", self.cluster_name()),
            [(LABEL, CLUSTER)],
            [
                ("name", self.cluster_name().to_owned()),
                ("server", self.credential.endpoint.server.clone()),
                ("config", config.to_string()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{each, value};
    use serde_json::Value;

    #[test]
    fn secret_has_the_label_and_keys_of_argo_cd() {
        each(|exported| {
            let secret = exported.argo_cd();
            assert_eq!(secret.metadata.name.as_deref(), Some("cluster-c2"));
            let labels = secret.metadata.labels.as_ref().unwrap();
            assert_eq!(labels["argocd.argoproj.io/secret-type"], "cluster");
            assert_eq!(value(&secret, "name"), "c2");
            assert_eq!(value(&secret, "server"), "https://c2.example:6443");
            let config: Value = serde_json::from_str(&value(&secret, "config")).unwrap();
            assert_eq!(config["bearerToken"], "t0ken");
            assert_eq!(config["tlsClientConfig"]["insecure"], exported.is_insecure());
            assert_eq!(config["tlsClientConfig"]["caData"].is_string(), !exported.is_insecure());
        });
    }
}
