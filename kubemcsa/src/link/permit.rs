//! Checks that the caller may write in both clusters, before anything is written in either.

use std::ops::Deref;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::check_names::NamesChecked;
use super::connect::Connected;
use super::desired;
use crate::cluster::{apply, object};

/// Both clusters accepted a dry run of the writes.
pub(crate) struct Permitted(NamesChecked);

impl Deref for Permitted {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.0
    }
}

/// Dry-runs the link's import in the target, and its service account in the source.
pub(crate) async fn permit(checked: NamesChecked) -> anyhow::Result<Permitted> {
    let import = object::dynamic(&desired::import(&checked, desired::MAX_LIFETIME_SECONDS))?;
    let account = desired::service_account(&checked)?;
    let (on_target, on_source) =
        tokio::join!(apply::dry_run(checked.target(), &import), apply::dry_run(checked.source(), &account),);
    on_target.and(on_source)?;
    Ok(Permitted(checked))
}

/// Dry-runs a change of the Secret of an existing link.
pub(crate) async fn permit_rotation(checked: NamesChecked, secret: &str) -> anyhow::Result<Permitted> {
    let target = checked.target();
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let params = PatchParams { dry_run: true, ..Default::default() };
    let unchanged = Patch::Merge(serde_json::json!({}));
    let call = secrets.patch(secret, &params, &unchanged);
    target.call(&format!("update secret {SYSTEM_NAMESPACE}/{secret}"), call).await?;
    Ok(Permitted(checked))
}
