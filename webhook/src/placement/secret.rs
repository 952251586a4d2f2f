//! Clusters that Secrets of Argo Workflows may give access to. The webhook does not read the Secrets.

use mcsa_credentials::names::{is_dns_subdomain, label_value, namespace};

use super::{Home, Placement, Refused, Request};

impl Request<'_> {
    /// Places a pod that is refused because it lacks a launch import on the cluster that it names, if pods of its
    /// namespace use the Secrets. Returns the warning, too.
    pub(crate) fn place_by_secret(
        &self,
        home: Home,
        refused: Refused,
    ) -> Result<(Placement, String), Refused> {
        let may_use_secret = home.uses_secrets
            && matches!(refused, Refused::Cluster { .. } | Refused::Namespace { .. })
            && self.remote_namespace.is_none_or(|remote| namespace(remote).is_ok());
        let Some(cluster) = self.cluster.filter(|cluster| may_use_secret && can_be_node(cluster)) else {
            return Err(refused);
        };
        let remote = self.remote_namespace.map(|remote| format!(" for namespace {remote}"));
        let warning = format!(
            "namespace {} has no launch import of cluster {cluster}{}: the pod waits unless a Secret of Argo Workflows \
             gives access to it",
            home.namespace,
            remote.unwrap_or_default()
        );
        Ok((Placement { clusters: vec![cluster.to_owned()], ..Placement::default() }, warning))
    }
}

/// Whether a virtual node can have the name of the cluster, also in its label.
fn can_be_node(cluster: &str) -> bool {
    is_dns_subdomain(cluster) && label_value(cluster) == cluster
}
