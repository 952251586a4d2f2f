//! First step: the link as it stands, and whether it can be rotated by whoever asks.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use mcsa_client::api::ServiceAccountImport;
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_client::system::link::Link;
use mcsa_client::system::secret::{self, Provenance};

use super::{Standing, replace};
use crate::cluster::{apply, object};
use crate::link::authorize::{self, Authorized};
use crate::link::connect::Connected;
use crate::link::declare::{self, Declared};
use crate::link::grants::{self, Grants};

/// Looks, and refuses what could not be finished.
///
/// # Errors
/// When there is no such link, it is not what was written, or its Secret may not be changed.
pub async fn read(connected: &Connected) -> anyhow::Result<Standing> {
    let (source, target) = (&connected.source, &connected.target);
    let again = connected.plan.flags.of("bootstrap", "");
    let missing = |what: &str| {
        anyhow::anyhow!(
            "{}: {what}, so there is no link to {} to rotate; run: {again}",
            target.name,
            source.name
        )
    };
    let import = object::dynamic(&declare::import(connected, declare::LONGEST))?;
    let Some(import) = apply::read(target, &import).await? else {
        bail!(missing(&format!("there is no {}", object::title(&import))));
    };
    let import: ServiceAccountImport = import.try_parse().context("the link's import can't be read")?;
    let name = import.secret_name();
    let Some(secret) = replace::read(connected, &name).await? else {
        bail!(missing(&format!("there is no secret {SYSTEM_NAMESPACE}/{name}")));
    };
    let old = Link::read(&secret)
        .map_err(|error| anyhow::anyhow!("{}: {error}; to make another: {again}", target.name))?;
    let endpoint = old.endpoint.clone();
    let written = Provenance::read(secret.annotations()).map(|provenance| provenance.fingerprint);
    if written != Some(secret::fingerprint(&import.spec, import.is_link(), &endpoint)) {
        bail!(
            "{}: secret {SYSTEM_NAMESPACE}/{name} leads to {}, and neither bootstrap nor the importer has written that \
             there; no token is sent to it. To say where {} is: {again}",
            target.name,
            endpoint.server,
            source.name
        );
    }
    let account = apply::read(source, &authorize::service_account(connected)?).await?;
    let Some(account) = account.filter(|account| account.annotations().contains_key(TARGET_UID)) else {
        bail!(
            "{}: it does not know {} any more; to link them again, with --allow for what may be imported: {again}",
            source.name,
            target.name
        );
    };
    let stored = grants::stored(source, &target.name).await?;
    let grants = stored.grants.unwrap_or(Grants::Only(Default::default()));
    let authorized = Authorized {
        service_account_uid: account.uid().unwrap_or_default(),
        // No token is bound to what is there now.
        bound_secret_uid: String::new(),
        policy: true,
        grants,
    };
    ensure_replaceable(connected, &name).await?;
    Ok(Standing { declared: Declared { import }, endpoint, authorized, old })
}

/// Refuses whoever may not write the link's Secret, before anything is made in the source; by the API
/// server's own dry run.
async fn ensure_replaceable(connected: &Connected, name: &str) -> anyhow::Result<()> {
    let target = &connected.target;
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let params = PatchParams { dry_run: true, ..Default::default() };
    let unchanged = Patch::Merge(serde_json::json!({}));
    let call = secrets.patch(name, &params, &unchanged);
    target.call(&format!("update secret {SYSTEM_NAMESPACE}/{name}"), call).await?;
    Ok(())
}
