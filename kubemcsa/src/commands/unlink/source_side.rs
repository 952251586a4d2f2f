//! The source's side: the target's identity and rights, and, if this is the last link, what all links share.

use anyhow::bail;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DynamicObject, ObjectMeta};
use kube::{Config, Resource, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use serde::Serialize;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, apply, contents, object};
use crate::link::flags::Flags;
use crate::link::grants::{self, Grants};
use crate::link::progress::Progress;
use crate::link::revocation::{self, TokenState};
use crate::link::{bind, desired, known_targets, launcher, shared};
use crate::manifests;

/// A target's identity in a source.
pub(crate) struct Identity {
    target: String,
    /// In the order of deletion: the bound Secret first, the service account last.
    objects: Vec<DynamicObject>,
}

impl Identity {
    /// The UID of the service account, if it exists.
    pub(crate) fn account_uid(&self) -> Option<String> {
        let account = self.objects.last().filter(|object| object::kind(object) == "ServiceAccount")?;
        account.uid().filter(|_| account.name_any() == self.target)
    }
}

/// `owner`: the UID of the target, if it is reached, and the flags of the command. Fails if the objects belong to another
/// target, or to no link.
pub(crate) async fn find(
    source: &Cluster,
    target: &str,
    owner: Option<(&str, &Flags)>,
) -> anyhow::Result<Identity> {
    let metadata = || ObjectMeta {
        name: Some(target.to_owned()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        ..Default::default()
    };
    let secret = stored(source, &Secret { metadata: metadata(), ..Default::default() }).await?;
    let account = stored(source, &ServiceAccount { metadata: metadata(), ..Default::default() }).await?;
    for object in secret.iter().chain(&account) {
        ensure_owner(source, object, owner)?;
    }
    let mut objects: Vec<_> = secret.into_iter().collect();
    objects.extend(bind::interim(source, target).await?);
    // Before the link's own rights: the tokens of these accounts are the ones that the link has minted.
    let uid = account.as_ref().and_then(|account| account.annotations().get(TARGET_UID));
    let uid = owner.map(|(uid, _)| uid).or(uid.map(String::as_str));
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

fn ensure_owner(
    source: &Cluster,
    object: &DynamicObject,
    owner: Option<(&str, &Flags)>,
) -> anyhow::Result<()> {
    let reference = object::reference(object);
    match (object.annotations().get(TARGET_UID), owner) {
        (None, _) => bail!(
            "{}: nothing was deleted: {reference} doesn't belong to a link; choose a linked target with --target-name",
            source.name
        ),
        (Some(uid), Some((target, flags))) if uid != target => bail!(
            "{}: nothing was deleted: {reference} belongs to another target of that name, with UID {uid} instead of \
             {target}; if that target is gone for good: {}",
            source.name,
            flags.unlink_source_only(&object.name_any())
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
            shared::create_missing(&deleter.cluster, &Progress::Lines, &Grants::Everything).await?;
        }
        return Ok(());
    }
    if let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await?
        && object::is_ours(&namespace)
    {
        // The source may also be a target.
        let reason = match contents::others(deleter, SYSTEM_NAMESPACE).await {
            Ok(others) => others.map(|others| format!("it contains {others}")),
            Err(error) => Some(format!("it may contain other objects ({error})")),
        };
        match reason {
            Some(reason) => {
                let text = format!("namespace {SYSTEM_NAMESPACE} not deleted: {reason}");
                output::info(&deleter.cluster.name, &text);
            }
            None => deleter.delete(&namespace).await?,
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
