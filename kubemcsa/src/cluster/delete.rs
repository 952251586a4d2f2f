//! Deletes objects with their UID as a precondition: recreated objects stay.

use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, Preconditions};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, object};

/// Deletes an object; the garbage collector deletes what it owns. Succeeds if the object doesn't exist.
pub(crate) async fn delete(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), None)).await
}

/// Deletes a pod at once, without waiting for its node.
pub(crate) async fn force(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), None).grace_period(0)).await
}

/// A server-side dry run of [`delete`].
pub(crate) async fn dry_run(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
    delete_with(cluster, stored, params(stored.uid(), None).dry_run()).await
}

/// Like [`delete`], but fails with a conflict if the object changed since it was read: it may have another owner.
pub(crate) async fn delete_unchanged(cluster: &Cluster, stored: &DynamicObject) -> Result<(), CallError> {
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
