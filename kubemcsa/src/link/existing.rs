//! The links of a target: which sources its importer has a credential to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::link::{Link, LinkError, cluster_name};
use mcsa_credentials::token::Claims;

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// A link, as the target has it.
#[derive(Clone, Debug, Default)]
pub struct ExistingLink {
    /// The source's name.
    pub cluster_name: String,
    /// The import that keeps it fresh; none of a link that was made by hand.
    pub import: Option<ServiceAccountImport>,
    /// Its Secret; none where it is lost, or not there yet.
    pub secret: Option<Secret>,
}

impl ExistingLink {
    /// What its Secret says of the way into the source; none where there is no Secret.
    pub fn link(&self) -> Option<Result<Link, LinkError>> {
        self.secret.as_ref().map(Link::read)
    }

    /// What its token says of itself, if it is a service account's.
    pub fn claims(&self) -> Option<Claims> {
        Claims::parse(&self.link()?.ok()?.config.auth_info.token?).ok()
    }

    /// When its token expires, by the source's clock, where the token tells.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.claims().map(|claims| claims.expires_at)
    }

    /// The Secret in the source that its token is bound to, where that is not the one that its import names: of a
    /// rotation that was interrupted. Whoever deletes the usual one does not revoke it.
    pub fn interim(&self) -> Option<String> {
        let usual = self.import.as_ref()?.spec.bound_secret.as_ref()?;
        self.claims()?.bound_secret.map(|secret| secret.name).filter(|name| name != usual)
    }

    /// Namespace and name of the service account that the source knows the target by.
    pub fn identity(&self) -> Option<(String, String)> {
        match &self.import {
            Some(import) => Some((import.spec.namespace.clone(), import.spec.name.clone())),
            None => self.claims().map(|claims| (claims.namespace, claims.service_account)),
        }
    }
}

/// All links of a target, by the names of their sources.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn list(cluster: &Cluster) -> Result<Vec<ExistingLink>, CallError> {
    let (secrets, imports) = tokio::join!(
        secrets(cluster),
        list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::links()),
    );
    Ok(pair(secrets?, imports?))
}

/// The Secrets of links.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn secrets(cluster: &Cluster) -> Result<Vec<Secret>, CallError> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let page = async |params: &ListParams| secrets.list(params).await;
    list::pages(cluster, "list the secrets of links", list::links(), page).await
}

/// Imports and Secrets that belong together, and those that are alone.
pub fn pair(secrets: Vec<Secret>, imports: Vec<ServiceAccountImport>) -> Vec<ExistingLink> {
    let mut secrets: BTreeMap<_, _> = secrets.into_iter().map(|it| (it.name_any(), it)).collect();
    let kept = imports.into_iter().map(|import| ExistingLink {
        cluster_name: import.spec.cluster_name.clone(),
        secret: secrets.remove(&import.secret_name()),
        import: Some(import),
    });
    let mut links: Vec<_> = kept.collect();
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
    fn an_import_and_its_secret_are_one_link() {
        let secret = |name: &str| {
            let mut secret = Secret::default();
            secret.metadata.name = Some(name.into());
            secret
        };
        let spec =
            |source: &str| ServiceAccountImportSpec { cluster_name: source.into(), ..Default::default() };
        let imports = ["c3", "c2"].map(|source| ServiceAccountImport::new(source, spec(source)));
        let links = pair(vec![secret("c2-token"), secret("by-hand")], imports.into());
        let seen: Vec<_> = links
            .iter()
            .map(|link| (link.cluster_name.as_str(), link.import.is_some(), link.secret.is_some()))
            .collect();
        assert_eq!(seen, [("by-hand", false, true), ("c2", true, true), ("c3", true, false)]);
    }
}
