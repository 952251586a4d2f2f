//! Reads the Secrets of the multi-cluster designs for Argo Workflows as [`kube::Config`]s. `kubemcsa export` writes
//! the same formats. <https://github.com/argoproj/argo-workflows/issues/3523>
//!
//! | Secret | content | all clusters | one cluster |
//! | --- | --- | --- | --- |
//! | [`CLUSTERS`] | under each cluster's name, client-go's `rest.Config` as JSON | [`Reader::rest_configs`] | [`Reader::rest_config`] |
//! | [`KUBECONFIG`] | under the key `value`, a kubeconfig with a context for each cluster, named after it | [`Reader::contexts`] | [`Reader::context`] |
//! | [`KUBECONFIG`], also in the workflows' namespace | there, contexts and users for the clusters of the controller's Secret | [`Reader::kubeconfig`] | [`Reader::workflow_context`] |
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

pub use self::contexts::Contexts;
pub use self::error::ArgoError;
pub use self::local::{CONTROLLER_CONFIG_MAP, local_cluster};
pub use self::log::ClusterLine;
pub use self::profile::Profile;
pub use self::profiles::Profiles;

use crate::kubeconfig::Policy;

/// The namespace of these Secrets, unless Argo Workflows is installed in another one.
pub const NAMESPACE: &str = "argo";

/// Name of the Secret that has a rest config for each cluster.
pub const CLUSTERS: &str = "clusters";

/// Name of the Secret that has a kubeconfig with a context for each cluster.
pub const KUBECONFIG: &str = "kubeconfig";

/// Label of a profile; its value is the cluster's name.
pub const CLUSTER_LABEL: &str = "workflows.argoproj.io/cluster";

/// Annotation of a profile: the namespace of the workflows that may use it. Empty means any namespace. Defaults to the
/// profile's own namespace.
pub const WORKFLOW_NAMESPACE: &str = "workflows.argoproj.io/workflow-namespace";

/// Annotation of a profile: the namespace of the cluster that it gives access to. Defaults to any.
pub const REMOTE_NAMESPACE: &str = "workflows.argoproj.io/namespace";

/// Reads the Secrets. Refuses configurations that disable the verification of certificates, unless
/// [`Reader::allow_insecure`] allows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    insecure: bool,
}

impl Reader {
    /// Also accepts `Insecure` and `insecure-skip-tls-verify`, which `kubemcsa export --insecure-skip-tls-verify`
    /// writes. Anyone on the network path to such a cluster can read the token, and impersonate the cluster. Not for
    /// production.
    #[must_use]
    pub fn allow_insecure(self) -> Self {
        Self { insecure: true }
    }

    fn policy(self) -> Policy {
        if self.insecure { Policy::UnverifiedData } else { Policy::Data }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    /// A Secret of the namespace `argo`.
    pub(super) fn secret(name: &str, values: &[(&str, &str)]) -> Secret {
        let values =
            values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = Secret { data: Some(values.collect()), ..Default::default() };
        secret.metadata.name = Some(name.into());
        secret.metadata.namespace = Some("argo".into());
        secret
    }
}
