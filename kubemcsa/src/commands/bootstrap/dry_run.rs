//! `--dry-run`: what would change, as the API servers see it. The changes go to stdout, and what would
//! become of each object to stderr.

use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::Wish;
use crate::cli::{diff, output};
use crate::cluster::apply::{self, Rehearsed};
use crate::cluster::{Cluster, object};
use crate::link::connect::Connected;
use crate::link::{authorize, declare, desired, grants};

/// Shows what would become of each object.
///
/// # Errors
/// When something would be refused.
pub async fn rehearse(connected: &Connected, wish: &Wish) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    let stored = grants::stored(source, &target.name).await?;
    let wanted = wish.grants_of(connected, &stored)?;
    authorize::ensure_namespaces(source, &wanted, &stored).await?;
    let objects = desired::source_objects(connected, &wanted)?;
    for object in &objects {
        match one(source, object).await {
            Err(error) if desired::is_policy(object) && error.is_not_found() => {
                // Once, not for the binding too.
                if object::kind(object) == "ValidatingAdmissionPolicy" {
                    output::warn(&source.name, &authorize::no_policy(&wanted));
                }
            }
            shown => show(source, object, shown?)?,
        }
    }
    for object in stored.beyond(&objects) {
        show(source, object, Rehearsed { before: Some(object.clone()), after: None })?;
    }
    let seconds = declare::lifetime(connected, wish.seconds).await?;
    for object in desired::target_objects(connected, seconds)? {
        show(target, &object, one(target, &object).await?)?;
    }
    let name = desired::import(connected, seconds).secret_name();
    output::say(
        &target.name,
        &format!(
            "secret {SYSTEM_NAMESPACE}/{name} would get a token of the link, unless it has one that works"
        ),
    );
    Ok(())
}

async fn one(
    cluster: &Cluster,
    object: &DynamicObject,
) -> Result<Rehearsed, crate::cluster::call::CallError> {
    // What is there of these is left as it is.
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
