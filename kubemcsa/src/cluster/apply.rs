//! Applies an object on the server side, and reports what changed.

use kube::Api;
use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// Field manager of all applied objects, except a link's Secret: it has the importer's, which takes it over.
pub(crate) const FIELD_MANAGER: &str = "kubemcsa";

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Configured,
    Unchanged,
    Deleted,
}

impl Outcome {
    /// The word that kubectl prints.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// The result of applying an object.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    pub(crate) stored: DynamicObject,
}

/// Reads the object with the same kind, namespace and name. `None`: it doesn't exist.
pub(crate) async fn read(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<Option<DynamicObject>, CallError> {
    let doing = format!("read {}", object::title(object));
    match cluster.call(&doing, api(cluster, object).get(&object.name_any())).await {
        Ok(stored) => Ok(Some(stored)),
        // Also if the API server does not serve the resource.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads those of the objects that exist.
pub(crate) async fn read_all(
    cluster: &Cluster,
    objects: &[DynamicObject],
) -> Result<Vec<DynamicObject>, CallError> {
    let mut stored = Vec::new();
    for object in objects {
        stored.extend(read(cluster, object).await?);
    }
    Ok(stored)
}

/// Like [`read`], but fails if the object is being deleted.
pub(crate) async fn read_live(
    cluster: &Cluster,
    object: &DynamicObject,
) -> anyhow::Result<Option<DynamicObject>> {
    let stored = read(cluster, object).await?;
    if stored.as_ref().is_some_and(|stored| stored.metadata.deletion_timestamp.is_some()) {
        anyhow::bail!(
            "{}: {} is being deleted; wait until it is gone, then run the command again",
            cluster.name,
            object::reference(object)
        );
    }
    Ok(stored)
}

/// Whether the object exists. Fails if it is being deleted.
pub(crate) async fn exists(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<bool> {
    Ok(read_live(cluster, object).await?.is_some())
}

pub(crate) async fn apply(cluster: &Cluster, object: &DynamicObject) -> Result<Applied, CallError> {
    let before = read(cluster, object).await?;
    patch(cluster, object, &PatchParams::apply(FIELD_MANAGER).force(), before.as_ref()).await
}

/// Like [`apply`], but fails with a conflict if the object exists already.
pub(crate) async fn create(cluster: &Cluster, object: &DynamicObject) -> Result<Applied, CallError> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let doing = format!("create {}", object::title(object));
    let created = cluster.call(&doing, api(cluster, object).create(&params, object)).await?;
    // Makes all fields those that later applies manage, so that these change nothing.
    let mut object = object.clone();
    object.metadata.resource_version = created.resource_version();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let Applied { stored, .. } = patch(cluster, &object, &params, Some(&created)).await?;
    Ok(Applied { outcome: Outcome::Created, stored })
}

/// Like [`apply`], but fails with a conflict if someone else manages a field and its value differs. `before`: the stored
/// object.
pub(crate) async fn apply_unforced(
    cluster: &Cluster,
    object: &DynamicObject,
    before: Option<&DynamicObject>,
) -> Result<Applied, CallError> {
    patch(cluster, object, &PatchParams::apply(FIELD_MANAGER), before).await
}

/// An object before and after a dry run.
#[derive(Clone, Debug)]
pub(crate) struct DryRun {
    /// `None`: it doesn't exist.
    pub(crate) before: Option<DynamicObject>,
    /// `None`: it would be deleted.
    pub(crate) after: Option<DynamicObject>,
}

impl DryRun {
    pub(crate) fn outcome(&self) -> Outcome {
        match (&self.before, &self.after) {
            (None, _) => Outcome::Created,
            (Some(_), None) => Outcome::Deleted,
            (Some(before), Some(after)) if are_equal(before, after) => Outcome::Unchanged,
            (Some(_), Some(_)) => Outcome::Configured,
        }
    }
}

/// A server-side dry run of [`apply`].
pub(crate) async fn dry_run(cluster: &Cluster, object: &DynamicObject) -> Result<DryRun, CallError> {
    let before = read(cluster, object).await?;
    dry_run_with(cluster, object, PatchParams::apply(FIELD_MANAGER).force(), before).await
}

/// A server-side dry run of [`apply_unforced`].
pub(crate) async fn dry_run_unforced(
    cluster: &Cluster,
    object: &DynamicObject,
    before: Option<DynamicObject>,
) -> Result<DryRun, CallError> {
    dry_run_with(cluster, object, PatchParams::apply(FIELD_MANAGER), before).await
}

async fn dry_run_with(
    cluster: &Cluster,
    object: &DynamicObject,
    params: PatchParams,
    before: Option<DynamicObject>,
) -> Result<DryRun, CallError> {
    let after = match patch(cluster, object, &params.dry_run(), before.as_ref()).await {
        Ok(applied) => applied.stored,
        // Its namespace or CRD would have been created first.
        Err(error) if error.is_not_found() && object.namespace().is_some() => object.clone(),
        Err(error) => return Err(error),
    };
    Ok(DryRun { before, after: Some(after) })
}

async fn patch(
    cluster: &Cluster,
    object: &DynamicObject,
    params: &PatchParams,
    before: Option<&DynamicObject>,
) -> Result<Applied, CallError> {
    let doing = format!("apply {}", object::title(object));
    let name = object.name_any();
    let stored =
        cluster.call(&doing, api(cluster, object).patch(&name, params, &Patch::Apply(object))).await?;
    let outcome = match before {
        None => Outcome::Created,
        Some(before) if are_equal(before, &stored) => Outcome::Unchanged,
        Some(_) => Outcome::Configured,
    };
    Ok(Applied { outcome, stored })
}

fn are_equal(before: &DynamicObject, after: &DynamicObject) -> bool {
    user_fields(before) == user_fields(after)
}

/// The fields that users write. The resource version doesn't show a change: a dry run keeps it, and controllers that
/// write the status change it.
pub(crate) fn user_fields(object: &DynamicObject) -> DynamicObject {
    let mut object = object.clone();
    object.metadata.resource_version = None;
    object.metadata.managed_fields = None;
    object.metadata.generation = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    object
}

/// The API for the object's kind and namespace.
pub(crate) fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
    let resource = object::resource(object);
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), &namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn object(version: &str, labels: &str, status: &str) -> DynamicObject {
        let text = format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: a, resourceVersion: '{version}', \
             labels: {{{labels}}}}}, spec: {{replicas: 1}}, status: {{phase: '{status}'}}}}"
        );
        object::parse(&text).unwrap().remove(0)
    }

    #[rstest]
    #[case(object("1", "a: b", "x"), true)]
    #[case(object("2", "a: b", "y"), true)]
    #[case(object("1", "a: c", "x"), false)]
    #[case(object("2", "", "x"), false)]
    fn status_and_version_are_ignored(#[case] after: DynamicObject, #[case] expected: bool) {
        assert_eq!(are_equal(&object("1", "a: b", "x"), &after), expected);
    }
}
