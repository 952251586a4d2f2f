//! Replaces the link's token.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::credential::Endpoint;

use crate::link::authorize::Authorized;
use crate::link::bind::Bound;
use crate::link::connect::Connected;
use crate::link::declare::Declared;
use crate::link::permit::Permitted;
use crate::link::verify::{self, Verified};
use crate::link::{TRIES, mint, publish, reuse};

/// `refresh_at`: see [`mint::mint`].
pub(crate) async fn replace(
    permitted: &Permitted,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
    bound: &Bound,
    refresh_at: Option<Timestamp>,
) -> anyhow::Result<Verified> {
    let minted = mint::mint(permitted, endpoint, authorized, declared, bound, refresh_at).await?;
    let verified = verify::verify(permitted, authorized, minted.into_secret()).await?;
    let mut tries = TRIES;
    loop {
        let stored = read(permitted, declared).await?;
        match publish::publish(permitted, &verified, stored.as_ref()).await {
            Ok(()) => return Ok(verified),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the link's Secret. Fails if the Secret doesn't belong to the link's import.
pub(crate) async fn read(connected: &Connected, declared: &Declared) -> anyhow::Result<Option<Secret>> {
    let (target, name) = (connected.target(), declared.import().secret_name());
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read secret {SYSTEM_NAMESPACE}/{name}");
    let stored = target.call(&doing, secrets.get_opt(&name)).await?;
    if let Some(secret) = &stored {
        reuse::ensure_owned(connected, declared, secret)?;
    }
    Ok(stored)
}
