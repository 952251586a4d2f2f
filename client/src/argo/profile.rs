//! A profile: a Secret with a kubeconfig under the key `kubeconfig`, the name of its cluster as a label,
//! and annotations that say what it is for.
//!
//! Argo's own documents told of one for reading and one for writing; which it is was never written on it,
//! but follows from the rights of who is in it.

use k8s_openapi::api::core::v1::Secret;
use kube::{Config, ResourceExt};

use super::contexts::kubeconfig_of;
use super::error::{ArgoError, Place, Problem, text};
use super::{CLUSTER_LABEL, REMOTE_NAMESPACE, Reader, WORKFLOW_NAMESPACE};
use crate::contract::key;

const MEND: &str = "put a kubeconfig there, as kubemcsa export --format argo-profile prints it";

/// A way into a cluster, and what it is for.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Namespace and name of its Secret, as `namespace/name`.
    pub secret: String,
    /// The cluster's name: the value of [`CLUSTER_LABEL`].
    pub cluster: String,
    /// The namespace of the workflows that it is for; None: any. It is the value of
    /// [`WORKFLOW_NAMESPACE`], of which empty means any, and without it the Secret's own namespace.
    pub workflow_namespace: Option<String>,
    /// The namespace of the cluster that it is for; None: any. It is the value of [`REMOTE_NAMESPACE`].
    pub namespace: Option<String>,
    /// How one connects: what the current context of its kubeconfig says.
    pub config: Config,
}

impl Reader {
    /// The profile in a Secret.
    ///
    /// # Errors
    /// When it is none, or can't be used.
    pub fn profile(self, secret: &Secret) -> Result<Profile, ArgoError> {
        let object = |problem| Place::of(secret, None).error(problem);
        let label = secret.labels().get(CLUSTER_LABEL).filter(|label| !label.is_empty());
        let cluster = label.cloned().ok_or_else(|| object(Problem::NoLabel(CLUSTER_LABEL)))?;
        let annotation = |name: &str| secret.annotations().get(name).cloned();
        let workflow_namespace = annotation(WORKFLOW_NAMESPACE)
            // Not that a document without a namespace is for all of them.
            .or_else(|| secret.namespace().filter(|namespace| !namespace.is_empty()))
            .ok_or_else(|| object(Problem::NoNamespace(WORKFLOW_NAMESPACE)))?;
        let config = text(secret, key::KUBECONFIG, MEND)
            .and_then(|text| kubeconfig_of(text, MEND))
            .and_then(|kubeconfig| self.chosen(&kubeconfig, None))
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
    /// Whether it is for this namespace of this cluster, and workflows in that namespace.
    pub fn is_for(&self, workflow_namespace: &str, cluster: &str, namespace: &str) -> bool {
        let takes = |scope: &Option<String>, wanted: &str| scope.as_deref().is_none_or(|own| own == wanted);
        self.cluster == cluster
            && takes(&self.workflow_namespace, workflow_namespace)
            && takes(&self.namespace, namespace)
    }

    /// How specific it is. The namespace of the workflows comes first: it is whose the profile is, and
    /// what a tenant was given goes before what all were given.
    pub(super) fn rank(&self) -> (bool, bool) {
        (self.workflow_namespace.is_some(), self.namespace.is_some())
    }
}
