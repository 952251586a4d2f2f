//! `--dry-run`: what would change, by a server-side dry run. Diffs go to stdout, and the outcome for each object to
//! stderr.

use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::RequestedRights;
use crate::cli::{diff, output};
use crate::cluster::apply::{self, Rehearsed};
use crate::cluster::{Cluster, object};
use crate::link::connect::Connected;
use crate::link::{authorize, declare, desired, grants};

/// Fails if an API server would refuse an object.
pub async fn dry_run(connected: &Connected, requested: &RequestedRights) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let stored = grants::stored(source, &target.name).await?;
    let wanted = requested.unambiguous_grants(connected, &stored)?;
    authorize::ensure_namespaces(source, &wanted, &stored).await?;
    let objects = desired::source_objects(connected, &wanted)?;
    for object in &objects {
        match dry_run_one(source, object).await {
            Err(error) if desired::is_policy(object) && error.is_not_found() => {
                // Warn once, not for the binding again.
                if object::kind(object) == "ValidatingAdmissionPolicy" {
                    output::warn(&source.name, &authorize::no_policy(&wanted));
                }
            }
            rehearsed => show(source, object, rehearsed?)?,
        }
    }
    for object in stored.beyond(&objects) {
        show(source, object, Rehearsed { before: Some(object.clone()), after: None })?;
    }
    let seconds = declare::lifetime(connected, requested.seconds).await?;
    for object in desired::target_objects(connected, seconds)? {
        show(target, &object, dry_run_one(target, &object).await?)?;
    }
    let name = desired::import(connected, seconds).secret_name();
    output::say(
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
) -> Result<Rehearsed, crate::cluster::call::CallError> {
    // Bootstrap creates these, but never changes existing ones.
    let is_kept = matches!(object::kind(object), "Namespace" | "CustomResourceDefinition");
    if is_kept && let Some(stored) = apply::read(cluster, object).await? {
        return Ok(Rehearsed { before: Some(stored.clone()), after: Some(stored) });
    }
    apply::rehearse(cluster, object).await
}

fn show(cluster: &Cluster, object: &DynamicObject, rehearsed: Rehearsed) -> anyhow::Result<()> {
    let reference = object::reference(object);
    output::dry_run(&cluster.name, &reference, rehearsed.outcome());
    let label = format!("{}: {reference}", cluster.name);
    output::styled(&diff::diff(&label, rehearsed.before.as_ref(), rehearsed.after.as_ref())?)
}
