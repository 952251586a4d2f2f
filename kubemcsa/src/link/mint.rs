//! Mints the first token of the link, with the administrator's rights. The importer mints each later token with the
//! previous one.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::SecretString;
use mcsa_credentials::credential::{Credential, Endpoint};
use mcsa_credentials::secret::{self, Provenance};
use mcsa_credentials::token;

use super::authorize::Authorized;
use super::bind::Bound;
use super::declare::Declared;
use super::permit::Permitted;

/// The link's complete Secret, not written yet.
pub(crate) struct Minted {
    secret: Secret,
}

impl Minted {
    pub(crate) fn into_secret(self) -> Secret {
        self.secret
    }
}

/// `refresh_at`: when the importer replaces the token; `None`: immediately.
pub(crate) async fn mint(
    permitted: &Permitted,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
    bound: &Bound,
    refresh_at: Option<Timestamp>,
) -> anyhow::Result<Minted> {
    let import = declared.import();
    let (token, expires_at) = request(permitted, import.spec.expiration_seconds, bound.name()).await?;
    let credential = Credential {
        name: import.name_any(),
        cluster_name: import.spec.cluster_name.clone(),
        endpoint: endpoint.clone(),
        namespace: import.spec.namespace.clone(),
        token,
    };
    let provenance = Provenance {
        expires_at,
        refresh_at,
        service_account_uid: authorized.service_account_uid().to_owned(),
        cluster_uid: Some(permitted.source_uid().to_owned()),
        fingerprint: secret::fingerprint(&import.spec, import.is_link(), &credential.endpoint),
    };
    Ok(Minted { secret: secret::build(import, &credential, &provenance)? })
}

async fn request(
    permitted: &Permitted,
    seconds: i64,
    secret: &str,
) -> anyhow::Result<(SecretString, Timestamp)> {
    let (source, name) = (permitted.source(), &permitted.target().name);
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let request = token::request(seconds, &[], Some(secret));
    let doing = format!("mint a token of service account {SYSTEM_NAMESPACE}/{name}");
    let params = PostParams::default();
    let call = accounts.create_token_request(name, &params, &request);
    let status = source.call(&doing, call).await?.status;
    let status =
        status.with_context(|| format!("{}: can't {doing}: the response has no token", source.name))?;
    Ok((status.token.into(), status.expiration_timestamp.0))
}
