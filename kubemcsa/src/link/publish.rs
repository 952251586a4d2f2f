//! Writes the link's Secret the way the importer writes Secrets: created, or patched in one write
//! that holds only for the object that was read.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{FIELD_MANAGER, SYSTEM_NAMESPACE};
use mcsa_client::system::secret::SecretState;

use super::connect::Connected;
use super::mint::Minted;
use super::verify::Checked;
use crate::cluster::apply::Outcome;
use crate::cluster::call::CallError;

/// Writes what was minted and checked, over `worn` if there is one.
///
/// # Errors
/// When it can't be written, or somebody else wrote in between ([`CallError::is_conflict`]).
pub async fn publish(
    connected: &Connected,
    minted: &Minted,
    _: &Checked,
    worn: Option<&Secret>,
) -> Result<(), CallError> {
    let name = minted.secret.name_any();
    let title = format!("secret {SYSTEM_NAMESPACE}/{name}");
    let secrets: Api<Secret> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let cluster = &connected.target;
    let outcome = match worn {
        None => {
            let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let call = secrets.create(&params, &minted.secret);
            cluster.call(&format!("create {title}"), call).await?;
            Outcome::Created
        }
        Some(worn) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let patch = Patch::Merge(SecretState::read(&worn.metadata).update(&minted.secret));
            let call = secrets.patch(&name, &params, &patch);
            cluster.call(&format!("update {title}"), call).await?;
            Outcome::Changed
        }
    };
    connected.progress.outcome(&cluster.name, &title, outcome);
    Ok(())
}
