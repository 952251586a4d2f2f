//! Clusters that Secrets of Argo Workflows may give access to. The webhook does not read the Secrets.

use mcsa_credentials::names::{is_dns_subdomain, label_value, namespace};

use super::{Home, Placement, Refused, Request};

impl Request<'_> {
    /// Places a pod that is refused because it lacks a launch import on the cluster that it names, if pods of its
    /// namespace use the Secrets.
    pub(super) fn place_by_secret(&self, home: Home, refused: Refused) -> Result<Placement, Refused> {
        let may_use_secret = home.uses_secrets
            && matches!(refused, Refused::Cluster { .. } | Refused::Namespace { .. })
            && self.remote_namespace.is_none_or(|remote| namespace(remote).is_ok());
        let Some(cluster) = self.cluster.filter(|cluster| may_use_secret && can_be_node(cluster)) else {
            return Err(refused);
        };
        Ok(Placement { clusters: vec![cluster.to_owned()], by_secret: true, ..Placement::default() })
    }

    /// Also true if there is a launch import that the webhook doesn't know of.
    pub(super) fn warning_of_secret(&self, home: Home) -> String {
        let (cluster, remote) = (self.cluster.unwrap_or_default(), self.remote_namespace);
        let remote = remote.map(|remote| format!("namespace {remote} of ")).unwrap_or_default();
        format!(
            "the pod waits unless a launch import or a Secret of Argo Workflows gives namespace {} access to \
             {remote}cluster {cluster}",
            home.namespace
        )
    }
}

/// Whether a virtual node can have the name of the cluster, also in its label.
fn can_be_node(cluster: &str) -> bool {
    is_dns_subdomain(cluster) && label_value(cluster) == cluster
}
