//! Another token in the place of the one that there is, and another Secret in the place of the one that it is
//! bound to.

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::Standing;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::{delete, object};
use crate::link::connect::Connected;
use crate::link::mint::{self, Kind};
use crate::link::verify::{self, Checked};
use crate::link::{TRIES, authorize, publish};

/// Puts another token in the place of the one that there is.
///
/// # Errors
/// When it can't be minted or written, or does not work.
pub async fn replace(connected: &Connected, standing: &Standing, kind: Kind<'_>) -> anyhow::Result<Checked> {
    let Standing { declared, endpoint, authorized, .. } = standing;
    let minted = mint::mint_as(kind, connected, endpoint, authorized, declared).await?;
    let checked = verify::check(connected, authorized, &minted.secret).await?;
    let mut tries = TRIES;
    loop {
        let worn = read(connected, &declared.import.secret_name()).await?;
        match publish::publish(connected, &minted, &checked, worn.as_ref()).await {
            Ok(()) => return Ok(checked),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The link's Secret, if it is there.
///
/// # Errors
/// When it can't be read.
pub async fn read(connected: &Connected, name: &str) -> anyhow::Result<Option<Secret>> {
    let secrets: Api<Secret> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read secret {SYSTEM_NAMESPACE}/{name}");
    Ok(connected.target.call(&doing, secrets.get_opt(name)).await?)
}

/// The UID of the Secret that takes the old one's place. With that one, all tokens end that were bound to it.
///
/// # Errors
/// When the source can't be written to.
pub async fn renew_bound_secret(connected: &Connected) -> anyhow::Result<String> {
    let source = &connected.source;
    let secret = authorize::bound_secret(connected)?;
    let title = object::title(&secret);
    if let Some(old) = apply::read(source, &secret).await? {
        delete::delete(source, &old).await?;
        connected.progress.outcome(&source.name, &title, Outcome::Removed);
    }
    let applied = apply::apply(source, &secret).await?;
    connected.progress.outcome(&source.name, &title, applied.outcome);
    applied.stored.uid().context("the Secret that tokens are bound to has no UID")
}
