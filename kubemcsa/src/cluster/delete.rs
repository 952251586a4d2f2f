//! Deletion of one object, as it was read: one of the same name that somebody made since stays.

use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, Preconditions};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, object};

/// Has it deleted, and what it owns after it. One that is gone already is as good.
///
/// # Errors
/// When it can't be deleted, or is another one by now.
pub async fn delete(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), None)).await
}

/// Finds out whether [`delete`] would be accepted, by the API server's own dry run.
///
/// # Errors
/// When it would not.
pub async fn dry_run(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), None).dry_run()).await
}

/// [`delete`], of an object in which nothing has changed since it was read either, such as its owner.
///
/// # Errors
/// When it can't be deleted, or was changed.
pub async fn delete_unchanged(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), stored.resource_version())).await
}

fn params(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::background().preconditions(Preconditions { uid, resource_version })
}

async fn delete_with(
    cluster: &Cluster,
    stored: &DynamicObject,
    params: DeleteParams,
) -> Result<(), CallError> {
    let doing = format!("delete {}", object::title(stored));
    let (api, name) = (apply::api(cluster, stored), stored.name_any());
    match cluster.call(&doing, api.delete(&name, &params)).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
