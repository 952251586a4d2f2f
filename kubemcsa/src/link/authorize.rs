//! The link's service account in the source, and its rights.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::TARGET_UID;

use super::claim::Claimed;
use super::desired;
use super::grants::{self, Grants, Stored};
use super::permit::Permitted;
use super::progress::Progress;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, delete, object};
use crate::manifests;

/// The link's service account, and what it may import.
pub struct Identity {
    service_account_uid: String,
    grants: Grants,
}

/// An identity with all the rights that a link needs.
pub struct Authorized {
    identity: Identity,
    policy: bool,
}

impl Authorized {
    pub fn service_account_uid(&self) -> &str {
        &self.identity.service_account_uid
    }

    pub fn grants(&self) -> &Grants {
        &self.identity.grants
    }

    /// Whether the source can enforce the admission policy.
    pub fn policy(&self) -> bool {
        self.policy
    }
}

/// What nothing keeps a link from where no policy holds it.
pub fn missing_without_policy(grants: &Grants) -> &'static str {
    match grants {
        Grants::Everything => "from tokens of kube-system, of other links, or of more than 24 hours",
        Grants::Only(_) => {
            "from tokens of more than 24 hours, or from some of its own that outlive their revocation"
        }
    }
}

/// The warning where the source has no such policies.
pub fn no_policy(grants: &Grants) -> String {
    format!(
        "this API server is older than ValidatingAdmissionPolicy (Kubernetes 1.30): nothing keeps the link {}",
        missing_without_policy(grants)
    )
}

/// Creates the identity with exactly these rights.
pub async fn authorize(
    permitted: &Permitted,
    grants: &Grants,
    stored: &Stored,
) -> anyhow::Result<Authorized> {
    let (cluster, progress) = (permitted.source(), permitted.progress());
    ensure_namespaces(cluster, grants, stored).await?;
    let policy = share(cluster, progress, grants).await?;
    // Before the service account: after an interruption, the next run finds what was to be granted.
    put(cluster, progress, &permitted.target().name, grants, stored).await?;
    let account = written(cluster, progress, &desired::service_account(permitted)?).await?;
    let service_account_uid = account.uid().context("the service account has no UID")?;
    Ok(Authorized { identity: Identity { service_account_uid, grants: grants.clone() }, policy })
}

/// The identity of an existing link.
pub async fn identity(claimed: &Claimed) -> anyhow::Result<Option<Identity>> {
    let account = apply::read(claimed.source(), &desired::service_account(claimed)?).await?;
    let Some(account) = account.filter(|account| account.annotations().contains_key(TARGET_UID)) else {
        return Ok(None);
    };
    let stored = grants::stored(claimed.source(), &claimed.target().name).await?;
    Ok(Some(Identity {
        service_account_uid: account.uid().context("the service account has no UID")?,
        grants: stored.grants.unwrap_or(Grants::Only(Default::default())),
    }))
}

/// Updates what all links share; keeps the identity's own rights.
pub async fn keep(permitted: &Permitted, identity: Identity) -> anyhow::Result<Authorized> {
    let policy = share(permitted.source(), permitted.progress(), &identity.grants).await?;
    Ok(Authorized { identity, policy })
}

/// Writes what all links share; whether the source can hold them to the policy.
///
/// # Errors
/// When an object can't be written.
pub async fn share(cluster: &Cluster, progress: &Progress, grants: &Grants) -> anyhow::Result<bool> {
    let namespace = manifests::namespace()?;
    // It may be a target's too, with labels of its own.
    if apply::is_there(cluster, &namespace).await? {
        progress.outcome(&cluster.name, &object::reference(&namespace), Outcome::Unchanged);
    } else {
        written(cluster, progress, &namespace).await?;
    }
    let mut policy = true;
    for object in desired::shared()? {
        match written(cluster, progress, &object).await {
            Err(error) if desired::is_policy(&object) && error.is_not_found() => policy = false,
            written => drop(written?),
        }
    }
    if !policy {
        progress.warn(&cluster.name, &no_policy(grants));
    }
    Ok(policy)
}

/// Gives a target these rights, and takes back those that it had beyond them: Roles first, and the right to
/// everything last, for until then the others may be in its place.
///
/// # Errors
/// When an object can't be written or removed, or somebody else changed one since it was read.
pub async fn put(
    cluster: &Cluster,
    progress: &Progress,
    target: &str,
    grants: &Grants,
    stored: &Stored,
) -> anyhow::Result<()> {
    let wanted = grants.objects(target)?;
    let (within, everywhere): (Vec<_>, Vec<_>) =
        stored.beyond(&wanted).partition(|object| object.namespace().is_some());
    if *grants != Grants::Everything {
        delete_all(cluster, progress, &within).await?;
    }
    for object in &wanted {
        // Two who change what one link may: the second has to look again.
        let versioned = stored.at_its_version(object);
        written(cluster, progress, &versioned).await.map_err(|error| unbindable(error, object))?;
    }
    if *grants == Grants::Everything {
        delete_all(cluster, progress, &within).await?;
    }
    delete_all(cluster, progress, &everywhere).await?;
    let now = grants::stored(cluster, target).await?;
    if now.grants.as_ref() != Some(grants) || now.is_ambiguous() {
        let has = now.grants.map_or_else(|| "nothing".to_owned(), |grants| grants.to_string());
        bail!(
            "{}: somebody else has changed what {target} may import, which is {has} now, and not {grants}; agree, and \
             run this again",
            cluster.name
        );
    }
    Ok(())
}

async fn delete_all(
    cluster: &Cluster,
    progress: &Progress,
    objects: &[&DynamicObject],
) -> Result<(), CallError> {
    for object in objects {
        delete::delete_unchanged(cluster, object).await?;
        progress.outcome(&cluster.name, &object::reference(object), Outcome::Deleted);
    }
    Ok(())
}

/// A binding to another role is nobody's to change, but by deleting it.
fn unbindable(error: CallError, object: &DynamicObject) -> anyhow::Error {
    if !error.to_string().contains("cannot change roleRef") {
        return error.into();
    }
    let namespace = object.namespace().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    let (kind, name) = (object::kind(object).to_lowercase(), object.name_any());
    anyhow::anyhow!(
        "{error}; somebody else has bound another role by that name: look at it, and delete it there by: kubectl{namespace} \
         delete {kind} {name}; then run this again"
    )
}

async fn written(
    cluster: &Cluster,
    progress: &Progress,
    object: &DynamicObject,
) -> Result<DynamicObject, CallError> {
    let applied = apply::apply(cluster, object).await?;
    progress.outcome(&cluster.name, &object::reference(object), applied.outcome);
    Ok(applied.stored)
}

/// Refuses to grant what is in a namespace that is not there, before anything is written: it is never made,
/// as its name may be a typing error.
///
/// # Errors
/// When there is no such namespace, or the source can't be asked.
pub async fn ensure_namespaces(cluster: &Cluster, grants: &Grants, stored: &Stored) -> anyhow::Result<()> {
    let Grants::Only(namespaces) = grants else { return Ok(()) };
    let known: Vec<_> = stored.objects.iter().filter_map(ResourceExt::namespace).collect();
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    for namespace in namespaces.keys().filter(|namespace| !known.contains(namespace)) {
        let doing = format!("read namespace {namespace}");
        if cluster.call(&doing, api.get_metadata_opt(namespace)).await?.is_none() {
            bail!(
                "{}: there is no namespace {namespace}; create it first, or leave it out: nothing was granted",
                cluster.name
            );
        }
    }
    Ok(())
}
