//! With `--delete-imports`: the imports, their Secrets, and the links.

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
use crate::cluster::deleter::{AT_A_TIME, Deleter};
use crate::cluster::gone::{PAUSE, still_there};
use crate::cluster::{Cluster, apply, delete, list, object};
use crate::manifests;

/// Removes them all, and waits until they are gone.
///
/// # Errors
/// When something can't be removed, or is not gone in time.
pub async fn delete(deleter: &mut Deleter) -> anyhow::Result<()> {
    let definition = apply::read(&deleter.cluster, &manifests::crd()?).await?;
    if definition.is_some_and(|definition| !is_ours(&definition)) {
        output::warn(&deleter.cluster.name, "imports are left alone: their definition is someone else's");
        return Ok(());
    }
    let mut secrets = owned_secrets(&deleter.cluster).await?;
    take_imports(deleter).await?;
    if !deleter.dry_run {
        secrets.extend(take_secrets(deleter).await?);
    }
    let secrets: BTreeMap<_, _> = secrets.iter().map(|secret| (object::title(secret), secret)).collect();
    secrets.into_values().for_each(|secret| deleter.record(secret));
    for link in link_secrets(&deleter.cluster).await? {
        // In a dry run, those of imports are still there.
        if !is_owned(&link) {
            deleter.delete(&link).await?;
        }
    }
    Ok(())
}

/// Those that someone declares meanwhile go, too.
async fn take_imports(deleter: &mut Deleter) -> anyhow::Result<()> {
    let mut deadline = Instant::now() + deleter.timeout;
    loop {
        let imports = list::imports(&deleter.cluster, None, ListParams::default()).await?;
        let Some(last) = imports.last() else { return Ok(()) };
        let new: Vec<_> = imports.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
        if !deleter.dry_run {
            let cluster = &deleter.cluster;
            let removals = new.iter().map(|import| delete::delete(cluster, import));
            stream::iter(removals).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        }
        new.iter().for_each(|import| deleter.record(import));
        if deleter.dry_run {
            return Ok(());
        }
        // However many there are, each has the same time to go.
        if !new.is_empty() {
            deadline = Instant::now() + deleter.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_there(&deleter.cluster, last, deleter.timeout));
        }
        sleep(PAUSE).await;
    }
}

/// What the garbage collector has not come to. Once the definition is gone, it can't tell whether their
/// owners are.
async fn take_secrets(deleter: &Deleter) -> anyhow::Result<Vec<DynamicObject>> {
    let mut taken = Vec::new();
    let mut deadline = Instant::now() + deleter.timeout;
    let mut before = usize::MAX;
    loop {
        let left = owned_secrets(&deleter.cluster).await?;
        let Some(last) = left.last() else { return Ok(taken) };
        if left.len() < before {
            deadline = Instant::now() + deleter.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_there(&deleter.cluster, last, deleter.timeout));
        }
        before = left.len();
        let removals = left.iter().map(async |secret| {
            match delete::delete_unchanged(&deleter.cluster, secret).await {
                // It has changed since, its owner perhaps.
                Err(error) if error.is_conflict() => Ok(()),
                removed => removed,
            }
        });
        stream::iter(removals).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        taken.extend(left);
        sleep(PAUSE).await;
    }
}

/// The metadata of the Secrets that imports control, whichever labels they have.
async fn owned_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let all = Api::<Secret>::all(cluster.client.clone());
    Ok(secrets(cluster, all, ListParams::default()).await?.into_iter().filter(is_owned).collect())
}

async fn link_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let system = Api::<Secret>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    secrets(cluster, system, list::links()).await
}

async fn secrets(
    cluster: &Cluster,
    api: Api<Secret>,
    params: ListParams,
) -> Result<Vec<DynamicObject>, CallError> {
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let secrets = list::pages(cluster, "list the metadata of secrets", params, page).await?;
    let types = Some(list::types::<Secret>());
    let by_metadata = |metadata| DynamicObject { types: types.clone(), metadata, data: Default::default() };
    Ok(secrets.into_iter().map(|secret| by_metadata(secret.metadata)).collect())
}

fn is_owned(secret: &DynamicObject) -> bool {
    secret.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == ServiceAccountImport::kind(&())
            && owner.api_version.split('/').next() == Some(GROUP)
    })
}
