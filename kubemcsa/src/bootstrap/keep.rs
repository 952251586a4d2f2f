//! Whether the link has a credential already that does: then nothing is minted.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::config::AuthInfo;
use kube::{Api, ResourceExt};
use mcsa_client::SecretString;
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_client::credential::Endpoint;
use mcsa_client::link::Link;
use mcsa_client::secret::Provenance;

use super::connect::Connected;
use super::source::Granted;
use super::target::Declared;
use crate::cluster::Cluster;

/// An importer at work leaves a link's token hours; one with less has nobody who refreshes it.
const TOO_LITTLE: SignedDuration = SignedDuration::from_hours(1);

/// What there is in the place of the link's Secret.
pub enum Found {
    /// Nothing.
    Nothing,
    /// A credential that does.
    Good(Secret),
    /// Ours, but it doesn't do.
    Worn(Secret),
}

/// What a good credential is for.
struct Wanted<'a> {
    endpoint: &'a Endpoint,
    cluster_uid: &'a str,
    service_account_uid: &'a str,
    now: Timestamp,
}

/// Looks, and tries what is there.
///
/// # Errors
/// When the Secret can't be read, or is somebody else's.
pub async fn look(connected: &Connected, granted: &Granted, declared: &Declared) -> anyhow::Result<Found> {
    let name = declared.import.secret_name();
    let secrets: Api<Secret> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read secret {SYSTEM_NAMESPACE}/{name}");
    let Some(secret) = connected.target.call(&doing, secrets.get_opt(&name)).await? else {
        return Ok(Found::Nothing);
    };
    if !is_owned(&secret, &declared.import.uid().unwrap_or_default()) {
        bail!(
            "{}: secret {SYSTEM_NAMESPACE}/{name} is in the place of the link's, and does not belong to its import; if \
             nobody needs it, delete it and run this again: {} -n {SYSTEM_NAMESPACE} delete secret {name}",
            connected.target.name,
            connected.plan.target.chosen.kubectl(),
        );
    }
    let wanted = Wanted {
        endpoint: &connected.plan.endpoint,
        cluster_uid: &connected.source_uid,
        service_account_uid: &granted.service_account_uid,
        now: Timestamp::now(),
    };
    if is_whole(&secret, &wanted) && works(connected, &secret).await? {
        Ok(Found::Good(secret))
    } else {
        Ok(Found::Worn(secret))
    }
}

fn is_owned(secret: &Secret, import_uid: &str) -> bool {
    secret.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == import_uid)
}

fn is_whole(secret: &Secret, wanted: &Wanted) -> bool {
    let (Ok(link), Some(provenance)) = (Link::read(secret), Provenance::read(secret.annotations())) else {
        return false;
    };
    link.endpoint == *wanted.endpoint
        && link.cluster_uid.as_deref() == Some(wanted.cluster_uid)
        && provenance.service_account_uid == wanted.service_account_uid
        && provenance.expires_at.duration_since(wanted.now) > TOO_LITTLE
}

/// Whether the source accepts the token. It is asked by the address that works from here: the
/// link's own may work from the target only.
async fn works(connected: &Connected, secret: &Secret) -> anyhow::Result<bool> {
    let Some(token) = secret.data.as_ref().and_then(|data| data.get(key::TOKEN)) else { return Ok(false) };
    let Ok(token) = String::from_utf8(token.0.clone()) else { return Ok(false) };
    let mut config = connected.plan.source.chosen.config().await?;
    config.auth_info = AuthInfo { token: Some(SecretString::from(token)), ..Default::default() };
    let cluster = Cluster::new(&connected.source.name, "the link", config)?;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    match cluster.call("read namespace kube-system as the link", namespaces.get("kube-system")).await {
        Ok(namespace) => Ok(namespace.uid().as_deref() == Some(&connected.source_uid)),
        Err(error) if error.is_unauthorized() => Ok(false),
        // Its rights were granted a moment ago; whether they hold is the last step's question.
        Err(error) if error.refusal().is_some() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::credential::Credential;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec, secret};
    use rstest::rstest;

    fn endpoint(server: &str) -> Endpoint {
        Endpoint { server: server.into(), ca_bundle: None, tls_server_name: None, proxy_url: None }
    }

    fn stored(expires_in: SignedDuration) -> Secret {
        let mut import = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
        import.metadata.uid = Some("import".into());
        let credential = Credential {
            name: "c2".into(),
            cluster_name: "c2".into(),
            endpoint: endpoint("https://c2"),
            namespace: SYSTEM_NAMESPACE.into(),
            token: "t0ken".to_owned().into(),
        };
        let provenance = Provenance {
            expires_at: Timestamp::UNIX_EPOCH + expires_in,
            refresh_at: None,
            service_account_uid: "account".into(),
            cluster_uid: Some("cluster".into()),
            fingerprint: "f".into(),
        };
        secret::build(&import, &credential, &provenance).unwrap()
    }

    #[rstest]
    #[case("https://c2", "cluster", "account", 24, true)]
    #[case("https://elsewhere", "cluster", "account", 24, false)]
    #[case("https://c2", "another", "account", 24, false)]
    #[case("https://c2", "cluster", "recreated", 24, false)]
    #[case("https://c2", "cluster", "account", 1, false)]
    #[case("https://c2", "cluster", "account", -1, false)]
    fn what_does(
        #[case] server: &str,
        #[case] cluster_uid: &str,
        #[case] service_account_uid: &str,
        #[case] hours: i64,
        #[case] expected: bool,
    ) {
        let secret = stored(SignedDuration::from_hours(hours));
        let (endpoint, now) = (endpoint(server), Timestamp::UNIX_EPOCH);
        let wanted = Wanted { endpoint: &endpoint, cluster_uid, service_account_uid, now };
        assert_eq!(is_whole(&secret, &wanted), expected);
    }

    #[test]
    fn a_secret_without_a_kubeconfig_does_not() {
        let mut secret = stored(SignedDuration::from_hours(24));
        secret.data.as_mut().unwrap().remove(key::KUBECONFIG);
        let endpoint = endpoint("https://c2");
        let now = Timestamp::UNIX_EPOCH;
        let wanted =
            Wanted { endpoint: &endpoint, cluster_uid: "cluster", service_account_uid: "account", now };
        assert!(!is_whole(&secret, &wanted));
    }

    #[test]
    fn only_the_import_itself_owns() {
        let secret = stored(SignedDuration::from_hours(24));
        assert!(is_owned(&secret, "import"));
        assert!(!is_owned(&secret, "import of the same name, made later"));
    }
}
