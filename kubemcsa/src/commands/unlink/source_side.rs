//! The source's side: the target's identity and rights; with the last one, what all links share.

use anyhow::bail;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Resource, ResourceExt};
use mcsa_credentials::SecretString;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use serde::Serialize;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::Chosen;
use crate::cluster::{Cluster, apply, object};
use crate::link::grants::{self, Grants};
use crate::link::progress::Progress;
use crate::link::revoked::{self, Seen};
use crate::link::{authorize, bind, desired, identities};
use crate::manifests;

/// What is in every namespace.
const MADE_BY_THE_CLUSTER: [&str; 2] = ["default", "kube-root-ca.crt"];

/// What a source has of a target.
pub struct Identity {
    /// Its name.
    target: String,
    /// In the order of removal: first what its tokens are bound to, last itself.
    objects: Vec<DynamicObject>,
}

/// Looks.
///
/// # Errors
/// When the source can't be asked, or what is there is another target's, or no link's.
pub async fn find(source: &Cluster, target: &str, target_uid: Option<&str>) -> anyhow::Result<Identity> {
    let metadata = || ObjectMeta {
        name: Some(target.to_owned()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        ..Default::default()
    };
    let secret = stored(source, &Secret { metadata: metadata(), ..Default::default() }).await?;
    let account = stored(source, &ServiceAccount { metadata: metadata(), ..Default::default() }).await?;
    for object in secret.iter().chain(&account) {
        refuse(source, object, target_uid)?;
    }
    let mut objects: Vec<_> = secret.into_iter().collect();
    objects.extend(bind::interim(source, target).await?);
    objects.extend(grants::stored(source, target).await?.objects);
    objects.extend(account);
    Ok(Identity { target: target.to_owned(), objects })
}

async fn stored<K: Resource<DynamicType = ()> + Serialize>(
    source: &Cluster,
    object: &K,
) -> anyhow::Result<Option<DynamicObject>> {
    Ok(apply::read(source, &object::dynamic(object)?).await?)
}

fn refuse(source: &Cluster, object: &DynamicObject, target_uid: Option<&str>) -> anyhow::Result<()> {
    let title = object::title(object);
    match (object.annotations().get(TARGET_UID), target_uid) {
        (None, _) => bail!("{}: {title} is no link's: nothing is removed", source.name),
        (Some(uid), Some(target)) if uid != target => bail!(
            "{}: {title} belongs to another target of that name, whose UID is {uid} and not {target}: nothing is \
             removed; if that target is gone for good: kubemcsa unlink --source-only --target-name {} \
             --source-context CONTEXT",
            source.name,
            object.name_any()
        ),
        _ => Ok(()),
    }
}

/// Removes it.
///
/// # Errors
/// When something can't be removed.
pub async fn delete(deleter: &mut Deleter, identity: &Identity) -> anyhow::Result<()> {
    for object in &identity.objects {
        deleter.delete(object).await?;
    }
    delete_shared(deleter, &identity.target).await
}

/// The policy goes last: until then, someone may be held by it. Whoever is linked meanwhile gets it back.
async fn delete_shared(deleter: &mut Deleter, target: &str) -> anyhow::Result<()> {
    for object in desired::shared()?.iter().rev() {
        let others = others(&deleter.cluster, target).await?;
        if !others.is_empty() {
            let kept = "the admission policy and the cluster roles of links";
            output::say(&deleter.cluster.name, &format!("kept, for {}: {kept}", others.join(", ")));
            break;
        }
        if let Some(stored) = apply::read(&deleter.cluster, object).await? {
            deleter.delete(&stored).await?;
        }
    }
    if !others(&deleter.cluster, target).await?.is_empty() {
        if !deleter.dry_run {
            authorize::share(&deleter.cluster, &Progress::Lines, &Grants::Everything).await?;
        }
        return Ok(());
    }
    // With nothing in it but what the cluster itself puts there, it is of no use.
    if let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await?
        && object::is_ours(&namespace)
    {
        let say =
            |text: &str| output::say(&deleter.cluster.name, &format!("namespace {SYSTEM_NAMESPACE} {text}"));
        if deleter.dry_run {
            say("would be deleted, unless there is more in it");
        } else if is_empty(&deleter.cluster).await {
            deleter.delete(&namespace).await?;
        } else {
            say("is kept, as there is more in it");
        }
    }
    Ok(())
}

/// The other targets that are linked.
async fn others(source: &Cluster, target: &str) -> Result<Vec<String>, CallError> {
    let mut targets = identities::targets(source).await?;
    targets.retain(|other| other != target);
    Ok(targets)
}

/// Whether nobody uses the system namespace for anything else: it may be a target's, too. What can't be
/// looked at may be there.
async fn is_empty(cluster: &Cluster) -> bool {
    let Ok(discovery) = Discovery::new(cluster.client.clone()).run().await else { return false };
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let is_listed = capabilities.supports_operation(verbs::LIST);
            if capabilities.scope != Scope::Namespaced || !is_listed || is_told_by_others(&resource) {
                continue;
            }
            let api =
                Api::<DynamicObject>::namespaced_with(cluster.client.clone(), SYSTEM_NAMESPACE, &resource);
            let found = cluster.call("list what is there", api.list_metadata(&ListParams::default())).await;
            let is_left = |name: &String| !MADE_BY_THE_CLUSTER.contains(&name.as_str());
            match found {
                Ok(found) if !found.iter().map(ResourceExt::name_any).any(|name| is_left(&name)) => {}
                _ => return false,
            }
        }
    }
    true
}

/// Events are about others, and go by themselves.
fn is_told_by_others(resource: &ApiResource) -> bool {
    resource.kind == "Event"
}

/// Waits until the source refuses the link's token.
///
/// # Errors
/// When it can't be asked, or does not.
pub async fn until_refused(source: &Cluster, chosen: &Chosen, token: SecretString) -> anyhow::Result<()> {
    output::say(&source.name, "waiting until it refuses the link's token");
    if revoked::until_refused(source, chosen, token).await? == Seen::Dead {
        output::say(&source.name, "the link's token is refused");
        return Ok(());
    }
    bail!(
        "{}: it still accepts the link's token, which must be of another service account: find out whose it is, and \
         revoke it there",
        source.name
    )
}
