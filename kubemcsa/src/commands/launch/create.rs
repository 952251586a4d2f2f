//! Third step: creates the objects, or shows or prints them instead. The source comes first, and the import last, so
//! that the importer and the launcher find everything that they need.

use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use mcsa_client::contract::{ENABLED, NAMESPACE_LABEL};
use serde_json::json;

use super::args::{Args, OneSide};
use super::current::Wanted;
use super::linked::Linked;
use super::{objects, template_fields};
use crate::cli::output;
use crate::cluster::apply::{self, DryRun, FIELD_MANAGER, Outcome};
use crate::cluster::{Cluster, object, preview};
use crate::link::change_grants::{ambiguous, change_grants, current};
use crate::link::grants::StoredGrants;

pub(crate) async fn create(linked: &Linked, wanted: &Wanted, args: &Args) -> anyhow::Result<()> {
    let (target, source, launch) = (linked.target(), linked.source(), &wanted.launch);
    permit(linked, wanted).await?;
    let namespace = objects::remote_namespace(launch, args.pod_security.unwrap_or_default())?;
    match &wanted.stored_namespace {
        Some(stored) => output::outcome(&source.name, &object::reference(stored), Outcome::Unchanged),
        None => apply(source, &namespace).await?,
    }
    if let Some(kind) = &wanted.kind {
        kind.apply(source).await?;
    }
    if wanted.grants().is_some() {
        let grant = wanted.grant();
        let allow = |stored: &StoredGrants| {
            if stored.is_ambiguous() {
                return Err(ambiguous(&source.name, &launch.target, linked.plan().flags()));
            }
            let mut after = current(stored);
            after.allow(&grant);
            Ok(after)
        };
        let kubectl = linked.plan().source().chosen().kubectl();
        change_grants(source, &kubectl, &launch.target, allow).await?;
    }
    for object in objects::source_objects(launch)? {
        apply(source, &object).await?;
    }
    enable_webhook(target, &launch.namespace).await?;
    for object in objects::target_objects(launch)? {
        apply(target, &object).await?;
    }
    template_fields::add(target, &wanted.lacking, false).await?;
    Ok(())
}

/// Dry-runs the last write in each cluster, before anything is written in either.
async fn permit(linked: &Linked, wanted: &Wanted) -> anyhow::Result<()> {
    let on_target = objects::target_objects(&wanted.launch)?;
    let on_source = objects::source_objects(&wanted.launch)?;
    for (cluster, objects) in [(linked.target(), on_target), (linked.source(), on_source)] {
        for object in &objects {
            apply::dry_run(cluster, object).await?;
        }
    }
    Ok(())
}

async fn apply(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<()> {
    let applied = apply::apply(cluster, object).await?;
    output::outcome(&cluster.name, &object::reference(object), applied.outcome);
    Ok(())
}

/// Sets the label of an existing namespace. *Absent:* server-side apply, which would remove other labels that this
/// program applied before.
async fn enable_webhook(target: &Cluster, namespace: &str) -> anyhow::Result<()> {
    let object = objects::enabled_namespace(namespace)?;
    let stored = apply::read(target, &object).await?;
    let outcome = if stored.as_ref().is_some_and(is_enabled) {
        Outcome::Unchanged
    } else {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { NAMESPACE_LABEL: ENABLED } } }));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let api = apply::api(target, &object);
        target.call(&format!("label namespace {namespace}"), api.patch(namespace, &params, &patch)).await?;
        Outcome::Configured
    };
    output::outcome(&target.name, &object::reference(&object), outcome);
    Ok(())
}

fn is_enabled(namespace: &DynamicObject) -> bool {
    namespace.labels().get(NAMESPACE_LABEL).is_some_and(|value| value == ENABLED)
}

/// `--dry-run`: shows the changes in both clusters.
pub(crate) async fn dry_run(linked: &Linked, wanted: &Wanted, args: &Args) -> anyhow::Result<()> {
    let (target, source, launch) = (linked.target(), linked.source(), &wanted.launch);
    let namespace = objects::remote_namespace(launch, args.pod_security.unwrap_or_default())?;
    preview::show_create(source, &namespace).await?;
    if let Some(kind) = &wanted.kind {
        kind.show(source).await?;
    }
    for object in link_objects(wanted)?.into_iter().chain(objects::source_objects(launch)?) {
        preview::show_apply(source, &object).await?;
    }
    let enabled = objects::enabled_namespace(&launch.namespace)?;
    let before = apply::read(target, &enabled).await?;
    let mut after = before.clone();
    if let Some(after) = &mut after {
        after.labels_mut().extend(enabled.labels().clone());
    }
    preview::show(target, &enabled, DryRun { before, after })?;
    for object in objects::target_objects(launch)? {
        preview::show_apply(target, &object).await?;
    }
    template_fields::add(target, &wanted.lacking, true).await?;
    Ok(())
}

/// `-o yaml`: prints the objects for both sides, or for one.
pub(crate) fn print(linked: &Linked, wanted: &Wanted, args: &Args) -> anyhow::Result<()> {
    let launch = &wanted.launch;
    let mut on_source = Vec::new();
    if wanted.stored_namespace.is_none() {
        on_source.push(objects::remote_namespace(launch, args.pod_security.unwrap_or_default())?);
    }
    on_source.extend(wanted.kind.as_ref().map(|kind| kind.copy.clone()));
    on_source.extend(link_objects(wanted)?);
    on_source.extend(objects::source_objects(launch)?);
    let mut on_target = vec![objects::enabled_namespace(&launch.namespace)?];
    on_target.extend(objects::target_objects(launch)?);
    let sides = [
        (OneSide::Source, "source", &linked.source().name, on_source),
        (OneSide::Target, "target", &linked.target().name, on_target),
    ];
    for (side, word, name, objects) in sides {
        if args.side.is_some_and(|only| only != side) {
            continue;
        }
        for object in objects {
            output::document(&format!("{name} (the {word}): {}", object::title(&object)), &object)?;
        }
    }
    template_fields::print(linked, &wanted.lacking, args);
    output::info(&linked.target().name, "nothing was applied; apply the manifests of the source first");
    Ok(())
}

/// The link's Role and RoleBinding in the remote namespace, unless the link may import the service account already.
fn link_objects(wanted: &Wanted) -> anyhow::Result<Vec<DynamicObject>> {
    let Some(after) = wanted.grants() else { return Ok(Vec::new()) };
    let mut objects = after.objects(&wanted.launch.target)?;
    objects.retain(|object| object.namespace().as_ref() == Some(&wanted.launch.remote_namespace));
    Ok(objects)
}
