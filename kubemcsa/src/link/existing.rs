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

/// A service account of a link in a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account<'a> {
    /// The UID of the source. `None`: unknown.
    pub(crate) cluster_uid: Option<&'a str>,
    /// Its name in the system namespace.
    pub(crate) name: &'a str,
    /// Its UID. `None`: it does not exist, or is unknown.
    pub(crate) uid: Option<&'a str>,
}

/// The sources' names of the links that have tokens of this service account. Several links to one source under different
/// names share it, so whatever revokes the tokens of one revokes those of all.
pub(crate) fn with_account<'a>(
    links: impl IntoIterator<Item = &'a ExistingLink>,
    account: Account<'_>,
) -> Vec<&'a str> {
    let has_account = |link: &&ExistingLink| {
        let own_uid = link.secret.as_ref().and_then(|secret| secret.annotations().get(CLUSTER_UID));
        let cluster_uid = link.cluster_uid().or(own_uid.map(String::as_str));
        let is_named = link
            .identity()
            .is_some_and(|(namespace, name)| namespace == SYSTEM_NAMESPACE && name == account.name);
        let token_of = || link.claims().map(|claims| claims.service_account_uid);
        (is_named && cluster_uid.is_some() && cluster_uid == account.cluster_uid)
            || (account.uid.is_some() && token_of().as_deref() == account.uid)
    };
    links.into_iter().filter(has_account).map(|link| link.cluster_name.as_str()).collect()
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
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use k8s_openapi::ByteString;
    use mcsa_client::ServiceAccountImportSpec;
    use rstest::rstest;
    use serde_json::json;

    /// A link that was created by hand, with a token of service account `c1` with this UID.
    fn by_hand(account_uid: &str) -> ExistingLink {
        let of = json!({ "namespace": SYSTEM_NAMESPACE,
                         "serviceaccount": { "name": "c1", "uid": account_uid } });
        let claims = json!({ "iat": 0, "exp": 1, "kubernetes.io": of });
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "clusters": [{ "name": "c", "cluster": { "server": "https://c2" } }],
            "users": [{ "name": "c", "user": { "token": token } }],
        });
        let data = [("kubeconfig".to_owned(), ByteString(kubeconfig.to_string().into_bytes()))];
        let secret = Secret { data: Some(data.into()), ..Default::default() };
        ExistingLink { cluster_name: "other".into(), import: None, secret: Some(secret) }
    }

    fn link(name: &str, cluster_uid: Option<&str>) -> ExistingLink {
        let spec = ServiceAccountImportSpec {
            cluster_name: "other".into(),
            namespace: SYSTEM_NAMESPACE.into(),
            name: name.into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new("other", spec);
        import.annotations_mut().extend(cluster_uid.map(|uid| (CLUSTER_UID.to_owned(), uid.to_owned())));
        ExistingLink { cluster_name: "other".into(), import: Some(import), secret: None }
    }

    #[rstest]
    #[case::same_cluster_and_name(link("c1", Some("u-2")), true)]
    #[case::another_identity_in_the_cluster(link("c1-b", Some("u-2")), false)]
    #[case::another_cluster(link("c1", Some("u-3")), false)]
    #[case::unknown_cluster(link("c1", None), false)]
    #[case::by_hand(by_hand("account"), true)]
    #[case::by_hand_with_another_account(by_hand("another"), false)]
    fn link_that_shares_a_service_account_is_found(#[case] stored: ExistingLink, #[case] expected: bool) {
        let account = Account { cluster_uid: Some("u-2"), name: "c1", uid: Some("account") };
        assert_eq!(with_account([&stored], account), Vec::from_iter(expected.then_some("other")));
        let unknown = Account { cluster_uid: None, uid: None, ..account };
        assert_eq!(with_account([&stored], unknown), [""; 0]);
    }

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
