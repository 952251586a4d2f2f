//! What the designs of multi-cluster workflows for Argo Workflows kept in Secrets, read back as
//! [`kube::Config`]s. `kubemcsa export` writes the same.
//! <https://github.com/argoproj/argo-workflows/issues/3523>
//!
//! | Secret | what is in it | all of it | one cluster |
//! | --- | --- | --- | --- |
//! | [`CLUSTERS`] | under each key, which is the cluster's name, client-go's `rest.Config` as JSON | [`Reader::rest_configs`] | [`Reader::rest_config`] |
//! | [`KUBECONFIG`] | under the key `value` a kubeconfig, whose contexts are called what their clusters are | [`Reader::contexts`] | [`Reader::context`] |
//! | with the label [`CLUSTER_LABEL`] | under the key `kubeconfig` a kubeconfig: a profile | [`Reader::profiles`] | [`Reader::profile`] |
//!
//! The last column is for who reads one Secret again and again, and is not kept from one cluster by what
//! is wrong with another. All of them are data: what would run a program or read a file is refused.
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
//! A config of one cluster that follows its Secret is a [`LiveConfig`](crate::live::LiveConfig), and such make a
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

/// Reads the Secrets, and refuses those that have a cluster's certificate not verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    insecure: bool,
}

impl Reader {
    /// Takes also what has `Insecure` or `insecure-skip-tls-verify`, as `kubemcsa export` writes it if
    /// it is told to: whoever is on the way to such a cluster can read the token, and answer in the
    /// cluster's place. Not for production.
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

    /// Credentials of all that there is to a cluster, as they are exported.
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

    /// What a config read from an exported Secret has to be.
    pub(super) fn assert_is(config: &kube::Config, exported: &Exported<'_>) {
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
