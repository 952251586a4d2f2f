//! The source's side: the target's identity and rights, and, if this is the last link, what all links share.

use anyhow::bail;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Config, Resource, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use serde::Serialize;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, apply, object};
use crate::link::grants::{self, Grants};
use crate::link::progress::Progress;
use crate::link::revocation::{self, TokenState};
use crate::link::{authorize, bind, desired, known_targets, launcher};
use crate::manifests;

/// Objects that Kubernetes creates in every namespace.
const CREATED_BY_KUBERNETES: [&str; 2] = ["default", "kube-root-ca.crt"];

/// A target's identity in a source.
pub(crate) struct Identity {
    target: String,
    /// In the order of deletion: the bound Secret first, the service account last.
    objects: Vec<DynamicObject>,
}

/// Fails if the objects belong to another target, or to no link.
pub(crate) async fn find(
    source: &Cluster,
    target: &str,
    target_uid: Option<&str>,
) -> anyhow::Result<Identity> {
    let metadata = || ObjectMeta {
        name: Some(target.to_owned()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        ..Default::default()
    };
    let secret = stored(source, &Secret { metadata: metadata(), ..Default::default() }).await?;
    let account = stored(source, &ServiceAccount { metadata: metadata(), ..Default::default() }).await?;
    for object in secret.iter().chain(&account) {
        ensure_owner(source, object, target_uid)?;
    }
    let mut objects: Vec<_> = secret.into_iter().collect();
    objects.extend(bind::interim(source, target).await?);
    // Before the link's own rights: the tokens of these accounts are the ones that the link has minted.
    let uid = account.as_ref().and_then(|account| account.annotations().get(TARGET_UID));
    let uid = target_uid.or(uid.map(String::as_str));
    objects.extend(launcher::list_objects(source, target, uid).await?);
    objects.extend(grants::read(source, target).await?.objects);
    objects.extend(account);
    Ok(Identity { target: target.to_owned(), objects })
}

async fn stored<K: Resource<DynamicType = ()> + Serialize>(
    source: &Cluster,
    object: &K,
) -> anyhow::Result<Option<DynamicObject>> {
    Ok(apply::read(source, &object::dynamic(object)?).await?)
}

fn ensure_owner(source: &Cluster, object: &DynamicObject, target_uid: Option<&str>) -> anyhow::Result<()> {
    let reference = object::reference(object);
    match (object.annotations().get(TARGET_UID), target_uid) {
        (None, _) => bail!(
            "{}: nothing was deleted: {reference} doesn't belong to a link; choose a linked target with --target-name",
            source.name
        ),
        (Some(uid), Some(target)) if uid != target => bail!(
            "{}: nothing was deleted: {reference} belongs to another target of that name, with UID {uid} instead of \
             {target}; if that target is gone for good: kubemcsa unlink --source-only --target-name {} \
             --source-context CONTEXT",
            source.name,
            object.name_any()
        ),
        _ => Ok(()),
    }
}

pub(crate) async fn delete(deleter: &mut Deleter, identity: &Identity) -> anyhow::Result<()> {
    for object in &identity.objects {
        deleter.delete(object).await?;
    }
    delete_shared(deleter, &identity.target).await
}

/// Deletes what all links share if this was the last link. Deletes the policy last, because it restricts the links that
/// still exist. If another target is linked meanwhile, applies all of it again.
async fn delete_shared(deleter: &mut Deleter, target: &str) -> anyhow::Result<()> {
    for object in desired::shared()?.iter().rev() {
        let others = others(&deleter.cluster, target).await?;
        if !others.is_empty() {
            let others = others.join(", ");
            let message = format!("kept for {others}: the admission policy and the cluster roles of links");
            output::info(&deleter.cluster.name, &message);
            break;
        }
        if let Some(stored) = apply::read(&deleter.cluster, object).await? {
            deleter.delete(&stored).await?;
        }
    }
    if !others(&deleter.cluster, target).await?.is_empty() {
        if !deleter.dry_run {
            authorize::apply_shared(&deleter.cluster, &Progress::Lines, &Grants::Everything).await?;
        }
        return Ok(());
    }
    if let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await?
        && object::is_ours(&namespace)
    {
        let info =
            |text: &str| output::info(&deleter.cluster.name, &format!("namespace {SYSTEM_NAMESPACE} {text}"));
        if deleter.dry_run {
            info("would be deleted, unless it has other contents");
        } else if is_empty(&deleter.cluster).await {
            deleter.delete(&namespace).await?;
        } else {
            info("not deleted: it has other contents");
        }
    }
    Ok(())
}

/// The other linked targets.
async fn others(source: &Cluster, target: &str) -> Result<Vec<String>, CallError> {
    let mut targets = known_targets::names(source).await?;
    targets.retain(|other| other != target);
    Ok(targets)
}

/// Whether the system namespace has no other contents: the source may also be a target. False if a kind can't be
/// listed.
async fn is_empty(cluster: &Cluster) -> bool {
    let Ok(discovery) = Discovery::new(cluster.client.clone()).run().await else { return false };
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let is_listable = capabilities.supports_operation(verbs::LIST);
            if capabilities.scope != Scope::Namespaced || !is_listable || is_event(&resource) {
                continue;
            }
            let api =
                Api::<DynamicObject>::namespaced_with(cluster.client.clone(), SYSTEM_NAMESPACE, &resource);
            let found = cluster
                .call("list the contents of the namespace", api.list_metadata(&ListParams::default()))
                .await;
            let is_other = |name: &String| !CREATED_BY_KUBERNETES.contains(&name.as_str());
            match found {
                Ok(found) if !found.iter().map(ResourceExt::name_any).any(|name| is_other(&name)) => {}
                _ => return false,
            }
        }
    }
    true
}

/// Events expire by themselves.
fn is_event(resource: &ApiResource) -> bool {
    resource.kind == "Event"
}

/// Waits until the source refuses the link's token; fails if it doesn't.
pub(crate) async fn wait_until_revoked(source: &Cluster, target: &str, link: Config) -> anyhow::Result<()> {
    output::info(&source.name, "waiting until the link's token is revoked");
    match revocation::wait_until_revoked(source, target, link).await? {
        TokenState::Revoked => output::info(&source.name, "the link's token is revoked"),
        TokenState::NotChecked(message) => output::warn(&source.name, &message),
        TokenState::Accepted => bail!(
            "{}: the link's token is still accepted, so it must belong to another service account; find out which, and \
             revoke it there",
            source.name
        ),
    }
    Ok(())
}
