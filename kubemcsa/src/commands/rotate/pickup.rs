//! Waiting for what the importer tells, in the status of the link's import.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use mcsa_client::api::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, lease};
use crate::link::declare::Declared;
use crate::link::permit::Permitted;

/// An importer at work takes another token within a moment.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until the importer tells of the link's import that it is to be refreshed at such a time; whether
/// it did. It is then known to use that token.
///
/// # Errors
/// When the target can't be asked.
pub async fn until_picked_up(
    permitted: &Permitted,
    declared: &Declared,
    is_awaited: impl Fn(Timestamp) -> bool,
) -> anyhow::Result<bool> {
    let (target, name) = (permitted.target(), declared.import().name_any());
    let imports: Api<ServiceAccountImport> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read service account import {SYSTEM_NAMESPACE}/{name}");
    // Nobody to wait for.
    if !has_importer(target).await {
        permitted
            .progress()
            .warn(&target.name, "no importer is running; one that is started will use the new token");
        return Ok(false);
    }
    let deadline = Instant::now() + TAKEN_WITHIN;
    loop {
        let import = target.call(&doing, imports.get(&name)).await?;
        if import.status.and_then(|status| status.refresh_time).is_some_and(|time| is_awaited(time.0)) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            let said = format!(
                "no importer has taken the new token within {} s; one that runs takes it once the old one is refused",
                TAKEN_WITHIN.as_secs()
            );
            permitted.progress().warn(&target.name, &said);
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

/// What can't be asked may be there.
async fn has_importer(target: &Cluster) -> bool {
    match lease::read(target).await {
        Ok(Some(lease)) => lease::is_renewed(target, &lease, TAKEN_WITHIN).await,
        Ok(None) => false,
        Err(_) => true,
    }
}
