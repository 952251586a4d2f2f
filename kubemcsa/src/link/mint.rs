//! The first token of the link, with the administrator's rights; each later one the importer mints
//! with the one before it.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::SecretString;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::system::credential::{Credential, Endpoint};
use mcsa_client::system::secret::{self, Provenance};
use mcsa_client::system::token;

use super::authorize::Authorized;
use super::connect::Connected;
use super::declare::Declared;

/// The link's Secret, whole, not yet written.
pub struct Minted {
    /// The Secret.
    pub secret: Secret,
}

/// Mints.
///
/// # Errors
/// When the source refuses, or what it grants can't be put into a Secret.
pub async fn mint(
    connected: &Connected,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
) -> anyhow::Result<Minted> {
    let usual = Kind { bound_to: &connected.target.name, refresh_at: None };
    mint_as(usual, connected, endpoint, authorized, declared).await
}

/// What is special about a token.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// The Secret that it is bound to.
    pub bound_to: &'a str,
    /// When the importer is to replace it; none: at once.
    pub refresh_at: Option<Timestamp>,
}

/// [`mint`], of a token that is not the usual one.
///
/// # Errors
/// When the source refuses, or what it grants can't be put into a Secret.
pub async fn mint_as(
    kind: Kind<'_>,
    connected: &Connected,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
) -> anyhow::Result<Minted> {
    let import = &declared.import;
    let (token, expires_at) = request(connected, import.spec.expiration_seconds, kind.bound_to).await?;
    let credential = Credential {
        name: import.name_any(),
        cluster_name: import.spec.cluster_name.clone(),
        endpoint: endpoint.clone(),
        namespace: import.spec.namespace.clone(),
        token,
    };
    let provenance = Provenance {
        expires_at,
        refresh_at: kind.refresh_at,
        service_account_uid: authorized.service_account_uid.clone(),
        cluster_uid: Some(connected.source_uid.clone()),
        fingerprint: secret::fingerprint(&import.spec, import.is_link(), &credential.endpoint),
    };
    Ok(Minted { secret: secret::build(import, &credential, &provenance)? })
}

async fn request(
    connected: &Connected,
    seconds: i64,
    secret: &str,
) -> anyhow::Result<(SecretString, Timestamp)> {
    let (source, name) = (&connected.source, &connected.target.name);
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let request = token::request(seconds, &[], Some(secret));
    let doing = format!("mint a token of service account {SYSTEM_NAMESPACE}/{name}");
    let params = PostParams::default();
    let call = accounts.create_token_request(name, &params, &request);
    let status = source.call(&doing, call).await?.status;
    let status =
        status.with_context(|| format!("{}: can't {doing}: the answer has no token", source.name))?;
    Ok((status.token.into(), status.expiration_timestamp.0))
}
