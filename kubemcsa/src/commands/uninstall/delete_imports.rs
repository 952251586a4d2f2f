//! With `--delete-imports`: deletes the imports, their Secrets, and the links.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{GROUP, SYSTEM_NAMESPACE};
use tokio::time::{Instant, sleep};

use super::installed::is_ours;
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::deleter::{CONCURRENCY, Deleter};
use crate::cluster::deletion::{INTERVAL, still_exists};
use crate::cluster::{Cluster, apply, delete, list, object};
use crate::manifests;

/// Waits until all of them are gone.
pub(crate) async fn delete(deleter: &mut Deleter) -> anyhow::Result<()> {
    let crd = apply::read(&deleter.cluster, &manifests::crd()?).await?;
    if crd.is_some_and(|crd| !is_ours(&crd)) {
        output::warn(
            &deleter.cluster.name,
            "imports not deleted: the CRD doesn't belong to multicluster-service-account",
        );
        return Ok(());
    }
    let mut secrets = owned_secrets(&deleter.cluster).await?;
    delete_all_imports(deleter).await?;
    if !deleter.dry_run {
        secrets.extend(delete_owned_secrets(deleter).await?);
    }
    let secrets: BTreeMap<_, _> = secrets.iter().map(|secret| (object::title(secret), secret)).collect();
    secrets.into_values().for_each(|secret| deleter.record(secret));
    for link in link_secrets(&deleter.cluster).await? {
        // In a dry run, Secrets of imports still exist, and are recorded already.
        if !is_owned(&link) {
            deleter.delete(&link).await?;
        }
    }
    Ok(())
}

/// Also deletes imports that are created meanwhile.
async fn delete_all_imports(deleter: &mut Deleter) -> anyhow::Result<()> {
    let mut deadline = Instant::now() + deleter.timeout;
    loop {
        let imports = list::imports(&deleter.cluster, None, ListParams::default()).await?;
        let Some(last) = imports.last() else { return Ok(()) };
        let new: Vec<_> = imports.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
        if !deleter.dry_run {
            let cluster = &deleter.cluster;
            let deletions = new.iter().map(|import| delete::delete(cluster, import));
            stream::iter(deletions).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        }
        new.iter().for_each(|import| deleter.record(import));
        if deleter.dry_run {
            return Ok(());
        }
        // The timeout starts when the last import is deleted, however many there are.
        if !new.is_empty() {
            deadline = Instant::now() + deleter.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_exists(&deleter.cluster, last, deleter.timeout));
        }
        sleep(INTERVAL).await;
    }
}

/// Deletes the Secrets that the garbage collector has not deleted yet: once the CRD is gone, it can't look up their
/// owners.
async fn delete_owned_secrets(deleter: &Deleter) -> anyhow::Result<Vec<DynamicObject>> {
    let mut deleted = Vec::new();
    let mut deadline = Instant::now() + deleter.timeout;
    let mut before = usize::MAX;
    loop {
        let left = owned_secrets(&deleter.cluster).await?;
        let Some(last) = left.last() else { return Ok(deleted) };
        if left.len() < before {
            deadline = Instant::now() + deleter.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_exists(&deleter.cluster, last, deleter.timeout));
        }
        before = left.len();
        let deletions = left.iter().map(async |secret| {
            match delete::delete_unchanged(&deleter.cluster, secret).await {
                // The Secret changed meanwhile, perhaps its owner: the next iteration reads it again.
                Err(error) if error.is_conflict() => Ok(()),
                result => result,
            }
        });
        stream::iter(deletions).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        deleted.extend(left);
        sleep(INTERVAL).await;
    }
}

/// The metadata of all Secrets that imports control, whatever their labels.
async fn owned_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let all = Api::<Secret>::all(cluster.client.clone());
    Ok(secrets(cluster, all, ListParams::default()).await?.into_iter().filter(is_owned).collect())
}

async fn link_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let system = Api::<Secret>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    secrets(cluster, system, list::link_params()).await
}

async fn secrets(
    cluster: &Cluster,
    api: Api<Secret>,
    params: ListParams,
) -> Result<Vec<DynamicObject>, CallError> {
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let secrets = list::pages(cluster, "list the metadata of secrets", params, page).await?;
    let types = Some(list::types::<Secret>());
    let object = |metadata| DynamicObject { types: types.clone(), metadata, data: Default::default() };
    Ok(secrets.into_iter().map(|secret| object(secret.metadata)).collect())
}

fn is_owned(secret: &DynamicObject) -> bool {
    secret.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == ServiceAccountImport::kind(&())
            && owner.api_version.split('/').next() == Some(GROUP)
    })
}
