//! Reads the Secrets of the multi-cluster designs for Argo Workflows as [`kube::Config`]s. `kubemcsa export` writes the
//! same formats. <https://github.com/argoproj/argo-workflows/issues/3523>
//!
//! | Secret | content | all clusters | one cluster |
//! | --- | --- | --- | --- |
//! | [`CLUSTERS`] | under each cluster's name, client-go's `rest.Config` as JSON | [`Reader::rest_configs`] | [`Reader::rest_config`] |
//! | [`KUBECONFIG`] | under the key `value`, a kubeconfig whose contexts have the names of their clusters | [`Reader::contexts`] | [`Reader::context`] |
//! | with the label [`CLUSTER_LABEL`] | under the key `kubeconfig`, a kubeconfig: a profile | [`Reader::profiles`] | [`Reader::profile`] |
//!
//! The functions in the last column ignore errors in the entries of other clusters. Configurations that would run a
//! program or read a file are refused.
//!
//! ```
//! # fn example(secret: &k8s_openapi::api::core::v1::Secret) -> Result<(), mcsa_client::argo::ArgoError> {
//! use mcsa_client::argo::{ClusterLine, Reader};
//!
//! for (cluster, config) in Reader::default().contexts(secret)? {
//!     let managed_namespace = Reader::default().managed_namespace(secret, &cluster)?;
//!     let line = ClusterLine { cluster: &cluster, managed_namespace: &managed_namespace };
//!     eprintln!("{line} server={}", config.cluster_url);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`LiveConfig`](crate::live::LiveConfig) follows its Secret, and can be a member of a
//! [`Clusters`](crate::clusters::Clusters):
//!
//! ```no_run
//! # async fn example(client: &kube::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use k8s_openapi::api::core::v1::Secret;
//! use mcsa_client::argo::{CLUSTERS, NAMESPACE, Reader};
//! use mcsa_client::clusters::Clusters;
//! use mcsa_client::live::LiveConfig;
//!
//! let secret = kube::Api::<Secret>::namespaced(client.clone(), NAMESPACE).get(CLUSTERS).await?;
//! let mut builder = Clusters::builder().local("cluster-0", client.clone());
//! for (cluster, _) in Reader::default().rest_configs(&secret)? {
//!     let name = cluster.clone();
//!     let read = move |secret: &Secret| Reader::default().rest_config(secret, &name);
//!     builder = builder.member(cluster, LiveConfig::from_secret(client, NAMESPACE, CLUSTERS, read).await?);
//! }
//! let clusters = builder.start()?;
//! # Ok(())
//! # }
//! ```

mod contexts;
mod error;
mod local;
mod log;
mod profile;
mod profiles;
mod rest_config;

pub use self::error::ArgoError;
pub use self::local::{CONTROLLER_CONFIG_MAP, local_cluster};
pub use self::log::ClusterLine;
pub use self::profile::Profile;
pub use self::profiles::Profiles;
pub use crate::system::formats::argo_workflows::{
    CLUSTER_LABEL, CLUSTERS, KUBECONFIG, NAMESPACE, REMOTE_NAMESPACE, WORKFLOW_NAMESPACE,
};

use crate::system::formats::Verification;

/// Reads the Secrets. Refuses configurations that disable the verification of certificates, unless
/// [`Reader::allow_insecure`] allows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    insecure: bool,
}

impl Reader {
    /// Also accepts `Insecure` and `insecure-skip-tls-verify`, which `kubemcsa export --insecure-skip-tls-verify` writes.
    /// Anyone on the network path to such a cluster can read the token, and impersonate the cluster. Not for production.
    #[must_use]
    pub fn allow_insecure(self) -> Self {
        Self { insecure: true }
    }

    fn verification(self) -> Verification {
        if self.insecure { Verification::Nothing } else { Verification::Certificate }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    use crate::system::credential::{Credential, tests::credential};
    use crate::system::formats::{Exported, Verification};

    /// A Secret of the namespace `argo`.
    pub(super) fn secret(name: &str, values: &[(&str, &str)]) -> Secret {
        let values =
            values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = Secret { data: Some(values.collect()), ..Default::default() };
        secret.metadata.name = Some(name.into());
        secret.metadata.namespace = Some("argo".into());
        secret
    }

    /// Calls `check` with each combination of credential and verification.
    pub(super) fn each(check: impl Fn(Exported<'_>)) {
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

    pub(super) fn assert_matches(config: &kube::Config, exported: &Exported<'_>) {
        use crate::ExposeSecret;
        let is_insecure = exported.verification == Verification::Nothing;
        let endpoint = &exported.credential.endpoint;
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.accept_invalid_certs, is_insecure);
        assert_eq!(config.root_cert.is_some(), endpoint.ca_bundle.is_some() && !is_insecure);
        assert_eq!(config.tls_server_name, endpoint.tls_server_name);
        assert_eq!(config.auth_info.token.as_ref().unwrap().expose_secret(), "t0ken");
        assert!(!format!("{config:?}").contains("t0ken"));
    }
}
