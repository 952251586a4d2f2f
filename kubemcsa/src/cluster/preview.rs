//! Shows what a command would change: diffs go to stdout, and the outcome for each object to stderr.

use kube::api::DynamicObject;

use crate::cli::{diff, output};
use crate::cluster::apply::{self, DryRun};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// Applies an object in a server-side dry run, and shows the result.
pub(crate) async fn show_apply(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<()> {
    show(cluster, object, apply::dry_run(cluster, object).await?)
}

/// Shows an object that is only created if it is missing.
pub(crate) async fn show_create(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<()> {
    show(cluster, object, create(cluster, object).await?)
}

/// A dry run of the creation of an object that is kept if it exists.
pub(crate) async fn create(cluster: &Cluster, object: &DynamicObject) -> Result<DryRun, CallError> {
    match apply::read(cluster, object).await? {
        Some(stored) => Ok(DryRun { before: Some(stored.clone()), after: Some(stored) }),
        None => apply::dry_run(cluster, object).await,
    }
}

/// Shows an object that would be deleted.
pub(crate) fn show_delete(cluster: &Cluster, stored: &DynamicObject) -> anyhow::Result<()> {
    show(cluster, stored, DryRun { before: Some(stored.clone()), after: None })
}

/// Shows the result of a dry run.
pub(crate) fn show(cluster: &Cluster, object: &DynamicObject, result: DryRun) -> anyhow::Result<()> {
    let reference = object::reference(object);
    output::dry_run(&cluster.name, &reference, result.outcome());
    let label = format!("{}: {reference}", cluster.name);
    output::styled(&diff::diff(&label, result.before.as_ref(), result.after.as_ref())?)
}
