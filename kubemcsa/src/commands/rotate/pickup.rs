//! Waits until the importer uses a new token, as the status of the link's import shows.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use mcsa_client::api::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, lease};
use crate::link::declare::Declared;
use crate::link::permit::Permitted;

/// A running importer uses a new token almost at once.
const PICKUP_TIMEOUT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until `is_awaited` is true for the refresh time in the status, which shows that the importer uses the new
/// token. Returns whether that happened, and prints a warning if it did not.
pub(crate) async fn wait_for_pickup(
    permitted: &Permitted,
    declared: &Declared,
    is_awaited: impl Fn(Timestamp) -> bool,
) -> anyhow::Result<bool> {
    let (target, name) = (permitted.target(), declared.import().name_any());
    let imports: Api<ServiceAccountImport> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read service account import {SYSTEM_NAMESPACE}/{name}");
    if !has_importer(target).await {
        permitted
            .progress()
            .warn(&target.name, "no importer is running; the next one to start will use the new token");
        return Ok(false);
    }
    let deadline = Instant::now() + PICKUP_TIMEOUT;
    loop {
        let import = target.call(&doing, imports.get(&name)).await?;
        if import.status.and_then(|status| status.refresh_time).is_some_and(|time| is_awaited(time.0)) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            let message = format!(
                "the importer did not use the new token within {PICKUP_TIMEOUT:?}; it will once the source refuses the \
                 old one"
            );
            permitted.progress().warn(&target.name, &message);
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

/// True if the Lease can't be read.
async fn has_importer(target: &Cluster) -> bool {
    match lease::read(target).await {
        Ok(Some(lease)) => lease::is_renewed(target, &lease, PICKUP_TIMEOUT).await,
        Ok(None) => false,
        Err(_) => true,
    }
}
