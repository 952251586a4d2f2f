//! Lists the links of a target.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{CLUSTER_UID, SYSTEM_NAMESPACE};
use mcsa_credentials::link::{Link, LinkError, cluster_name};
use mcsa_credentials::token::Claims;

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// A link in the target: its import, its Secret, or both.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExistingLink {
    /// The source's name.
    pub(crate) cluster_name: String,
    /// `None`: the link was created by hand.
    pub(crate) import: Option<ServiceAccountImport>,
    /// `None`: the Secret was deleted or not created yet.
    pub(crate) secret: Option<Secret>,
}

impl ExistingLink {
    /// Parses the Secret, if there is one.
    pub(crate) fn link(&self) -> Option<Result<Link, LinkError>> {
        self.secret.as_ref().map(Link::read)
    }

    /// The claims of the token, if it is a service account token.
    pub(crate) fn claims(&self) -> Option<Claims> {
        Claims::parse(&self.link()?.ok()?.config.auth_info.token?).ok()
    }

    /// When the token expires, by the source's clock.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.claims().map(|claims| claims.expires_at)
    }

    /// The interim Secret in the source that the token is bound to, if a rotation was interrupted. Deleting the usual
    /// Secret doesn't revoke this token.
    pub(crate) fn interim(&self) -> Option<String> {
        let usual = self.import.as_ref()?.spec.bound_secret.as_ref()?;
        self.claims()?.bound_secret.map(|secret| secret.name).filter(|name| name != usual)
    }

    /// The UID of the source. `None`: the link was created by hand.
    pub(crate) fn cluster_uid(&self) -> Option<&str> {
        self.import.as_ref()?.annotations().get(CLUSTER_UID).map(String::as_str)
    }

    /// Namespace and name of the link's service account in the source.
    pub(crate) fn identity(&self) -> Option<(String, String)> {
        match &self.import {
            Some(import) => Some((import.spec.namespace.clone(), import.spec.name.clone())),
            None => self.claims().map(|claims| (claims.namespace, claims.service_account)),
        }
    }
}

/// All links of a target, sorted by the names of their sources.
pub(crate) async fn list(cluster: &Cluster) -> Result<Vec<ExistingLink>, CallError> {
    let (secrets, imports) = tokio::join!(
        secrets(cluster),
        list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::link_params()),
    );
    Ok(pair(secrets?, imports?))
}

pub(crate) async fn secrets(cluster: &Cluster) -> Result<Vec<Secret>, CallError> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let page = async |params: &ListParams| secrets.list(params).await;
    list::pages(cluster, "list the secrets of links", list::link_params(), page).await
}

/// Pairs imports with their Secrets, and keeps those without a counterpart.
pub(crate) fn pair(secrets: Vec<Secret>, imports: Vec<ServiceAccountImport>) -> Vec<ExistingLink> {
    let mut secrets: BTreeMap<_, _> = secrets.into_iter().map(|it| (it.name_any(), it)).collect();
    let with_import = imports.into_iter().map(|import| ExistingLink {
        cluster_name: import.spec.cluster_name.clone(),
        secret: secrets.remove(&import.secret_name()),
        import: Some(import),
    });
    let mut links: Vec<_> = with_import.collect();
    links.extend(secrets.into_values().map(|secret| ExistingLink {
        cluster_name: cluster_name(&secret),
        import: None,
        secret: Some(secret),
    }));
    links.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;

    #[test]
    fn import_and_its_secret_are_one_link() {
        let secret = |name: &str| {
            let mut secret = Secret::default();
            secret.metadata.name = Some(name.into());
            secret
        };
        let spec =
            |source: &str| ServiceAccountImportSpec { cluster_name: source.into(), ..Default::default() };
        let imports = ["c3", "c2"].map(|source| ServiceAccountImport::new(source, spec(source)));
        let links = pair(vec![secret("c2-token"), secret("by-hand")], imports.into());
        let pairs: Vec<_> = links
            .iter()
            .map(|link| (link.cluster_name.as_str(), link.import.is_some(), link.secret.is_some()))
            .collect();
        assert_eq!(pairs, [("by-hand", false, true), ("c2", true, true), ("c3", true, false)]);
    }
}
