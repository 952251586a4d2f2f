//! A profile: a Secret with a kubeconfig under the key `kubeconfig`, the name of its cluster in a label, and
//! annotations for its scope.
//!
//! Argo's documentation had profiles for reading and for writing. They differ only in the rights of the credential, not
//! in the Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::{Config, ResourceExt};

use super::contexts::kubeconfig_of;
use super::error::{ArgoError, Place, Problem, text};
use super::{CLUSTER_LABEL, REMOTE_NAMESPACE, Reader, WORKFLOW_NAMESPACE};
use crate::contract::key;

const FIX: &str = "put a kubeconfig there, as kubemcsa export --format argo-profile prints it";

/// Access to a cluster, and its scope.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The namespace and name of its Secret, as `namespace/name`.
    pub secret: String,
    /// The cluster's name: the value of [`CLUSTER_LABEL`].
    pub cluster: String,
    /// The namespace of the workflows that may use it. `None`: any. This is the value of [`WORKFLOW_NAMESPACE`],
    /// where empty means any, or the Secret's namespace without that annotation.
    pub workflow_namespace: Option<String>,
    /// The namespace of the cluster that it gives access to. `None`: any. This is the value of [`REMOTE_NAMESPACE`].
    pub namespace: Option<String>,
    /// The configuration of its kubeconfig's current context.
    pub config: Config,
}

impl Reader {
    /// The profile in a Secret.
    ///
    /// # Errors
    /// If the Secret is not a profile, or its kubeconfig cannot be used.
    pub fn profile(self, secret: &Secret) -> Result<Profile, ArgoError> {
        let object = |problem| Place::of(secret, None).error(problem);
        let label = secret.labels().get(CLUSTER_LABEL).filter(|label| !label.is_empty());
        let cluster = label.cloned().ok_or_else(|| object(Problem::NoLabel(CLUSTER_LABEL)))?;
        let annotation = |name: &str| secret.annotations().get(name).cloned();
        let workflow_namespace = annotation(WORKFLOW_NAMESPACE)
            // A Secret without a namespace, from a file, must not match all namespaces.
            .or_else(|| secret.namespace().filter(|namespace| !namespace.is_empty()))
            .ok_or_else(|| object(Problem::NoNamespace(WORKFLOW_NAMESPACE)))?;
        let config = text(secret, key::KUBECONFIG, FIX)
            .and_then(|text| kubeconfig_of(text, FIX))
            .and_then(|kubeconfig| self.context_config(&kubeconfig, None))
            .map_err(|problem| Place::of(secret, Some(key::KUBECONFIG)).error(problem))?;
        let specific = |namespace: String| Some(namespace).filter(|namespace| !namespace.is_empty());
        Ok(Profile {
            secret: Place::of(secret, None).object,
            cluster,
            workflow_namespace: specific(workflow_namespace),
            namespace: annotation(REMOTE_NAMESPACE).and_then(specific),
            config,
        })
    }
}

impl Profile {
    /// Whether workflows in a namespace may use it for a namespace of a cluster.
    pub fn is_for(&self, workflow_namespace: &str, cluster: &str, namespace: &str) -> bool {
        let matches =
            |scope: &Option<String>, wanted: &str| scope.as_deref().is_none_or(|scope| scope == wanted);
        self.cluster == cluster
            && matches(&self.workflow_namespace, workflow_namespace)
            && matches(&self.namespace, namespace)
    }

    /// How specific it is. The workflows' namespace comes first, so that a tenant's profile precedes a shared one.
    pub(super) fn rank(&self) -> (bool, bool) {
        (self.workflow_namespace.is_some(), self.namespace.is_some())
    }
}
