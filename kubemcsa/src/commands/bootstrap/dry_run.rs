//! `--dry-run`: what would change, by a server-side dry run. Diffs go to stdout, and the outcome for each object to
//! stderr.

use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::RequestedRights;
use crate::cli::{diff, output};
use crate::cluster::apply::{self, DryRun};
use crate::cluster::{Cluster, object};
use crate::link::connect::Connected;
use crate::link::{authorize, declare, desired, grants};

/// Fails if an API server would refuse an object.
pub(crate) async fn dry_run(connected: &Connected, requested: &RequestedRights) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let stored = grants::read(source, &target.name).await?;
    let wanted = requested.unambiguous_grants(connected, &stored)?;
    authorize::ensure_namespaces(source, &wanted, &stored).await?;
    let objects = desired::source_objects(connected, &wanted)?;
    for object in &objects {
        match dry_run_one(source, object).await {
            Err(error) if desired::is_policy(object) && error.is_not_found() => {
                // Warn once, not for the binding again.
                if object::kind(object) == "ValidatingAdmissionPolicy" {
                    output::warn(&source.name, &authorize::no_policy_warning(&wanted));
                }
            }
            result => show(source, object, result?)?,
        }
    }
    for object in stored.obsolete(&objects) {
        show(source, object, DryRun { before: Some(object.clone()), after: None })?;
    }
    let seconds = declare::lifetime(connected, requested.seconds).await?;
    for object in desired::target_objects(connected, seconds)? {
        show(target, &object, dry_run_one(target, &object).await?)?;
    }
    let name = desired::import(connected, seconds).secret_name();
    output::info(
        &target.name,
        &format!(
            "Secret {SYSTEM_NAMESPACE}/{name} would get a new token of the link, unless its token is usable"
        ),
    );
    Ok(())
}

async fn dry_run_one(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<DryRun, crate::cluster::call::CallError> {
    // Bootstrap creates these, but never changes existing ones.
    let is_kept = matches!(object::kind(object), "Namespace" | "CustomResourceDefinition");
    if is_kept && let Some(stored) = apply::read(cluster, object).await? {
        return Ok(DryRun { before: Some(stored.clone()), after: Some(stored) });
    }
    apply::dry_run(cluster, object).await
}

fn show(cluster: &Cluster, object: &DynamicObject, result: DryRun) -> anyhow::Result<()> {
    let reference = object::reference(object);
    output::dry_run(&cluster.name, &reference, result.outcome());
    let label = format!("{}: {reference}", cluster.name);
    output::styled(&diff::diff(&label, result.before.as_ref(), result.after.as_ref())?)
}
