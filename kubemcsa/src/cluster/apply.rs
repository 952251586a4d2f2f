//! Server-side apply of one object, and whether it changed anything.

use kube::Api;
use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// Field manager of all that this command applies. A link's first credential is not among it:
/// its field manager is the importer's, who takes it over.
pub const FIELD_MANAGER: &str = "kubemcsa";

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
    Deleted,
}

impl Outcome {
    /// The word that kubectl prints.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// An object as the API server now has it.
#[derive(Debug)]
pub struct Applied {
    /// What became of it.
    pub outcome: Outcome,
    /// The object as stored.
    pub stored: DynamicObject,
}

/// The object of the same kind, namespace and name, if it is there.
///
/// # Errors
/// When it can't be read.
pub async fn read(cluster: &Cluster, object: &DynamicObject) -> Result<Option<DynamicObject>, CallError> {
    let doing = format!("read {}", object::title(object));
    match cluster.call(&doing, api(cluster, object).get(&object.name_any())).await {
        Ok(stored) => Ok(Some(stored)),
        // Or there is no such resource yet, let alone an object.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is there, to stay.
///
/// # Errors
/// When it can't be read, or is being deleted.
pub async fn is_there(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<bool> {
    let Some(stored) = read(cluster, object).await? else { return Ok(false) };
    if stored.metadata.deletion_timestamp.is_some() {
        anyhow::bail!(
            "{}: {} is being deleted; run this again when it is gone",
            cluster.name,
            object::title(object)
        );
    }
    Ok(true)
}

/// Makes the object in the cluster have all that is in this one.
///
/// # Errors
/// When it can't be read or written.
pub async fn apply(cluster: &Cluster, object: &DynamicObject) -> Result<Applied, CallError> {
    patch(cluster, object, &PatchParams::apply(FIELD_MANAGER).force()).await
}

/// An object as it is, and as it would be.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// None: it is not there.
    pub before: Option<DynamicObject>,
    /// None: it would be gone.
    pub after: Option<DynamicObject>,
}

impl Rehearsed {
    /// What would become of it.
    pub fn outcome(&self) -> Outcome {
        match (&self.before, &self.after) {
            (None, _) => Outcome::Created,
            (Some(_), None) => Outcome::Deleted,
            (Some(before), Some(after)) if same(before, after) => Outcome::Unchanged,
            (Some(_), Some(_)) => Outcome::Configured,
        }
    }
}

/// What [`apply`] would do, by the API server's own dry run.
///
/// # Errors
/// When it can't be read, or would not be accepted.
pub async fn rehearse(cluster: &Cluster, object: &DynamicObject) -> Result<Rehearsed, CallError> {
    let params = PatchParams::apply(FIELD_MANAGER).force().dry_run();
    let before = read(cluster, object).await?;
    let after = match patch(cluster, object, &params).await {
        Ok(applied) => applied.stored,
        // Its namespace or its definition would have been created before it.
        Err(error) if error.is_not_found() && object.namespace().is_some() => object.clone(),
        Err(error) => return Err(error),
    };
    Ok(Rehearsed { before, after: Some(after) })
}

async fn patch(
    cluster: &Cluster,
    object: &DynamicObject,
    params: &PatchParams,
) -> Result<Applied, CallError> {
    let before = read(cluster, object).await?;
    let doing = format!("apply {}", object::title(object));
    let name = object.name_any();
    let stored =
        cluster.call(&doing, api(cluster, object).patch(&name, params, &Patch::Apply(object))).await?;
    let outcome = match before {
        None => Outcome::Created,
        Some(before) if same(&before, &stored) => Outcome::Unchanged,
        Some(_) => Outcome::Configured,
    };
    Ok(Applied { outcome, stored })
}

fn same(before: &DynamicObject, after: &DynamicObject) -> bool {
    essence(before) == essence(after)
}

/// What people wrote of an object. A dry run keeps the resource version, and a controller that writes a
/// status between our two calls changes it: neither tells whether something changed.
pub fn essence(object: &DynamicObject) -> DynamicObject {
    let mut object = object.clone();
    object.metadata.resource_version = None;
    object.metadata.managed_fields = None;
    object.metadata.generation = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    object
}

/// Where it is, or would be.
pub fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
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
    fn a_status_is_no_change_of_ours(#[case] after: DynamicObject, #[case] expected: bool) {
        assert_eq!(same(&object("1", "a: b", "x"), &after), expected);
    }
}
