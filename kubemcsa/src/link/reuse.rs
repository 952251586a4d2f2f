//! Checks whether the link already has a usable credential, so that none needs to be minted.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE, key};
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_credentials::secret::{self, Provenance};
use mcsa_credentials::token::Claims;
use mcsa_credentials::{ExposeSecret, SecretString};

use super::authorize::Authorized;
use super::bind::Bound;
use super::connect::Connected;
use super::declare::Declared;
use super::flags::Flags;
use super::permit::Permitted;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;

/// Least remaining lifetime of a usable token. A running importer refreshes a one-day token hours before it expires.
const MIN_REMAINING: SignedDuration = SignedDuration::from_hours(1);

/// The link's Secret, if there is one.
pub(crate) enum LinkSecret {
    Missing,
    Usable(Secret),
    /// Expired, revoked, or not for this link.
    Unusable(Secret),
}

/// What a usable credential must match.
struct Wanted<'a> {
    endpoint: &'a Endpoint,
    cluster_uid: &'a str,
    /// The fingerprint of the current import and the endpoint.
    fingerprint: &'a str,
    service_account_uid: &'a str,
    bound_secret_uid: &'a str,
    now: Timestamp,
}

/// Reads the Secret, and tries its token. Fails if the Secret doesn't belong to the link's import.
pub(crate) async fn find(
    permitted: &Permitted,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
    bound: &Bound,
) -> anyhow::Result<LinkSecret> {
    let name = declared.import().secret_name();
    let secrets: Api<Secret> = Api::namespaced(permitted.target().client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read secret {SYSTEM_NAMESPACE}/{name}");
    let Some(secret) = permitted.target().call(&doing, secrets.get_opt(&name)).await? else {
        return Ok(LinkSecret::Missing);
    };
    ensure_owned(permitted, declared, &secret)?;
    let wanted = Wanted {
        endpoint,
        cluster_uid: permitted.source_uid(),
        fingerprint: &secret::fingerprint(&declared.import().spec, true, endpoint),
        service_account_uid: authorized.service_account_uid(),
        bound_secret_uid: bound.uid(),
        now: Timestamp::now(),
    };
    let Some(link) = matching(&secret, &wanted) else { return Ok(LinkSecret::Unusable(secret)) };
    match try_token(permitted, link).await? {
        Tried::Accepted => Ok(LinkSecret::Usable(secret)),
        Tried::Rejected => Ok(LinkSecret::Unusable(secret)),
        Tried::Untried(error) => {
            let message = format!(
                "kept the link's token without trying it, because its expiry, bound Secret and service account are right \
                 ({error})"
            );
            permitted.progress().info(&permitted.target().name, &message);
            Ok(LinkSecret::Usable(secret))
        }
    }
}

/// Fails if the Secret doesn't belong to the link's import.
pub(crate) fn ensure_owned(
    connected: &Connected,
    declared: &Declared,
    secret: &Secret,
) -> anyhow::Result<()> {
    if is_owned(secret, &declared.import().uid().unwrap_or_default()) {
        return Ok(());
    }
    let (plan, name) = (connected.plan(), secret.name_any());
    bail!(
        "{}: secret {SYSTEM_NAMESPACE}/{name} has the name of the link's Secret, but does not belong to the link's \
         import; if nothing needs it, run: {} -n {SYSTEM_NAMESPACE} delete secret {name} && {}",
        connected.target().name,
        plan.target().chosen().kubectl(),
        Flags { command: "bootstrap", ..plan.flags().clone() }.command_line(),
    );
}

fn is_owned(secret: &Secret, import_uid: &str) -> bool {
    secret.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == import_uid)
}

/// The link in the Secret, if it matches.
fn matching(secret: &Secret, wanted: &Wanted) -> Option<Link> {
    let link = Link::read(secret).ok()?;
    let provenance = Provenance::read(secret.annotations())?;
    let claims = Claims::parse(&token(secret, &link)?).ok()?;
    // The importer watches only Secrets with this label.
    let matches = secret.labels().get(LINK_LABEL).is_some_and(|value| value == "true")
        && link.endpoint == *wanted.endpoint
        && link.cluster_uid.as_deref() == Some(wanted.cluster_uid)
        && provenance.fingerprint == wanted.fingerprint
        && provenance.service_account_uid == wanted.service_account_uid
        // A token is accepted up to 10 s after its Secret was deleted, so trying it is not enough.
        && claims.bound_secret.as_ref().map(|secret| secret.uid.as_str()) == Some(wanted.bound_secret_uid)
        && claims.expires_at.duration_since(wanted.now) > min_remaining(&claims);
    matches.then_some(link)
}

/// At most a quarter of the token's lifetime, because sources can limit lifetimes.
fn min_remaining(claims: &Claims) -> SignedDuration {
    MIN_REMAINING.min(claims.expires_at.duration_since(claims.issued_at) / 4)
}

/// The token of the kubeconfig, if the Secret's key `token` has the same one.
fn token(secret: &Secret, link: &Link) -> Option<SecretString> {
    let token = link.config.auth_info.token.clone()?;
    let value = secret.data.as_ref()?.get(key::TOKEN)?;
    (value.0 == token.expose_secret().as_bytes()).then_some(token)
}

/// Tries the token over the link's own connection, which always verifies certificates. A server that accepts only its
/// own users may answer at the kubeconfig's address.
async fn try_token(connected: &Connected, link: Link) -> anyhow::Result<Tried> {
    let cluster = Cluster::as_link(&connected.source().name, &connected.target().name, link.config)?;
    Ok(tried(cluster.uid().await, connected.source_uid())?)
}

/// Whether the source accepts a token.
#[derive(Debug)]
enum Tried {
    Accepted,
    Rejected,
    /// This machine can't use the connection.
    Untried(CallError),
}

fn tried(response: Result<String, CallError>, source_uid: &str) -> Result<Tried, CallError> {
    match response {
        Ok(uid) if uid == source_uid => Ok(Tried::Accepted),
        Ok(_) => Ok(Tried::Rejected),
        Err(error) if error.is_unauthorized() => Ok(Tried::Rejected),
        // New rights take effect after a moment; `verify` waits for them.
        Err(error) if error.refusal().is_some() => Ok(Tried::Accepted),
        Err(error) if error.is_unreachable() => Ok(Tried::Untried(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::call::tests::{status, unreachable};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use mcsa_credentials::credential::Credential;
    use mcsa_credentials::secret;
    use rstest::rstest;
    use serde_json::json;

    fn endpoint(server: &str) -> Endpoint {
        Endpoint { server: server.into(), ca_bundle: None, tls_server_name: None, proxy_url: None }
    }

    /// A link's Secret. Its token was issued at the epoch.
    fn stored(lifetime: SignedDuration) -> Secret {
        let mut import = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
        import.metadata.uid = Some("import".into());
        import.labels_mut().insert(LINK_LABEL.into(), "true".into());
        let account = json!({ "name": "c1", "uid": "account" });
        let bound = json!({ "name": "c1", "uid": "bound" });
        let of = json!({ "namespace": SYSTEM_NAMESPACE, "serviceaccount": account, "secret": bound });
        let claims = json!({ "iat": 0, "exp": lifetime.as_secs(), "kubernetes.io": of });
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let credential = Credential {
            name: "c2".into(),
            cluster_name: "c2".into(),
            endpoint: endpoint("https://c2"),
            namespace: SYSTEM_NAMESPACE.into(),
            token: token.into(),
        };
        let provenance = Provenance {
            expires_at: Timestamp::UNIX_EPOCH + lifetime,
            refresh_at: None,
            service_account_uid: "account".into(),
            cluster_uid: Some("cluster".into()),
            fingerprint: "f".into(),
        };
        secret::build(&import, &credential, &provenance).unwrap()
    }

    fn is_usable(
        secret: &Secret,
        [server, cluster_uid, account, bound]: [&str; 4],
        age: SignedDuration,
    ) -> bool {
        let wanted = Wanted {
            endpoint: &endpoint(server),
            cluster_uid,
            fingerprint: "f",
            service_account_uid: account,
            bound_secret_uid: bound,
            now: Timestamp::UNIX_EPOCH + age,
        };
        matching(secret, &wanted).is_some()
    }

    const MATCHING: [&str; 4] = ["https://c2", "cluster", "account", "bound"];

    #[rstest]
    #[case(MATCHING, true)]
    #[case(["https://elsewhere", "cluster", "account", "bound"], false)]
    #[case(["https://c2", "another", "account", "bound"], false)]
    #[case(["https://c2", "cluster", "recreated", "bound"], false)]
    #[case(["https://c2", "cluster", "account", "recreated"], false)]
    fn only_a_matching_credential_is_usable(#[case] wanted: [&str; 4], #[case] expected: bool) {
        let secret = stored(SignedDuration::from_hours(24));
        assert_eq!(is_usable(&secret, wanted, SignedDuration::ZERO), expected);
    }

    #[rstest]
    #[case::day(24 * 60, 0, true)]
    #[case::day_before_its_last_hour(24 * 60, 23 * 60 - 1, true)]
    #[case::last_hour_of_a_day(24 * 60, 23 * 60, false)]
    #[case::expired(24 * 60, 24 * 60 + 1, false)]
    #[case::hour(60, 0, true)]
    #[case::hour_before_its_last_quarter(60, 44, true)]
    #[case::last_quarter_of_an_hour(60, 45, false)]
    #[case::shortest_lifetime(10, 7, true)]
    #[case::last_quarter_of_the_shortest_lifetime(10, 8, false)]
    fn credential_near_its_expiry_is_unusable(
        #[case] lifetime: i64,
        #[case] age: i64,
        #[case] expected: bool,
    ) {
        let secret = stored(SignedDuration::from_mins(lifetime));
        assert_eq!(is_usable(&secret, MATCHING, SignedDuration::from_mins(age)), expected);
    }

    #[rstest]
    #[case(key::KUBECONFIG)]
    #[case(key::TOKEN)]
    fn secret_without_a_key_is_unusable(#[case] key: &str) {
        let mut secret = stored(SignedDuration::from_hours(24));
        secret.data.as_mut().unwrap().remove(key).unwrap();
        assert!(!is_usable(&secret, MATCHING, SignedDuration::ZERO));
    }

    #[rstest]
    #[case::accepted(Ok("source".into()), "Ok(Accepted)")]
    #[case::another_cluster(Ok("other".into()), "Ok(Rejected)")]
    #[case::unauthorized(Err(status(401)), "Ok(Rejected)")]
    #[case::forbidden(Err(status(403)), "Ok(Accepted)")]
    #[case::unreachable(Err(unreachable()), "Ok(Untried(")]
    #[case::broken(Err(status(500)), "Err(")]
    fn token_counts_as_rejected_only_if_the_source_rejects_it(
        #[case] response: Result<String, CallError>,
        #[case] expected: &str,
    ) {
        let tried = format!("{:?}", tried(response, "source"));
        assert!(tried.starts_with(expected), "{tried}");
    }

    #[test]
    fn recreated_import_does_not_own_the_secret() {
        let secret = stored(SignedDuration::from_hours(24));
        assert!(is_owned(&secret, "import"));
        assert!(!is_owned(&secret, "recreated import"));
    }
}
