//! Creates the link's service account in the source, with its rights.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::TARGET_UID;

use super::check_names::NamesChecked;
use super::desired;
use super::grants::{self, Grants, StoredGrants};
use super::permit::Permitted;
use super::progress::Progress;
use super::shared;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, delete, object};

/// The link's service account and its grants.
pub(crate) struct Identity {
    service_account_uid: String,
    grants: Grants,
}

/// The link's service account with its rights, which exist in the source.
pub(crate) struct Authorized {
    identity: Identity,
    supports_policy: bool,
}

impl Authorized {
    pub(crate) fn service_account_uid(&self) -> &str {
        &self.identity.service_account_uid
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.identity.grants
    }

    /// Whether the source supports admission policies.
    pub(crate) fn supports_policy(&self) -> bool {
        self.supports_policy
    }
}

/// Creates the service account with exactly these rights.
pub(crate) async fn authorize(
    permitted: &Permitted,
    grants: &Grants,
    stored: &StoredGrants,
) -> anyhow::Result<Authorized> {
    let (cluster, progress) = (permitted.source(), permitted.progress());
    ensure_namespaces(cluster, grants, stored).await?;
    let supports_policy = shared::update(permitted, grants).await?;
    // Before the service account: after an interruption, the next run finds the grants that were requested.
    let target = &permitted.target().name;
    let kubectl = permitted.plan().source().chosen().kubectl();
    apply_grants(cluster, progress, &kubectl, target, grants, stored).await?;
    ensure_applied(cluster, target, grants).await?;
    let account = apply(cluster, progress, &desired::service_account(permitted)?).await?;
    let service_account_uid = account.uid().context("the service account has no UID")?;
    Ok(Authorized { identity: Identity { service_account_uid, grants: grants.clone() }, supports_policy })
}

/// Reads the service account of an existing link; `None`: the source has no such link.
pub(crate) async fn read_identity(checked: &NamesChecked) -> anyhow::Result<Option<Identity>> {
    let account = apply::read(checked.source(), &desired::service_account(checked)?).await?;
    let Some(account) = account.filter(|account| account.annotations().contains_key(TARGET_UID)) else {
        return Ok(None);
    };
    let stored = grants::read(checked.source(), &checked.target().name).await?;
    Ok(Some(Identity {
        service_account_uid: account.uid().context("the service account has no UID")?,
        grants: stored.grants.unwrap_or(Grants::Only(Default::default())),
    }))
}

/// Creates the objects that all links share, if they are missing, and keeps the grants.
pub(crate) async fn keep_grants(permitted: &Permitted, identity: Identity) -> anyhow::Result<Authorized> {
    let (source, progress) = (permitted.source(), permitted.progress());
    let supports_policy = shared::create_missing(source, progress, &identity.grants).await?;
    Ok(Authorized { identity, supports_policy })
}

/// Applies a target's grants and deletes obsolete ones. Deletes an obsolete ClusterRoleBinding last, after it created
/// the Roles that replace it. Fails with a conflict if someone else changed the same objects since they were read.
/// `kubectl`: the command with the cluster's context, for errors.
pub(crate) async fn apply_grants(
    cluster: &Cluster,
    progress: &Progress,
    kubectl: &str,
    target: &str,
    grants: &Grants,
    stored: &StoredGrants,
) -> anyhow::Result<()> {
    let wanted = grants.objects(target)?;
    let (namespaced, cluster_wide): (Vec<_>, Vec<_>) =
        stored.obsolete(&wanted).partition(|object| object.namespace().is_some());
    if *grants != Grants::Everything {
        delete_all(cluster, progress, &namespaced).await?;
    }
    for object in &wanted {
        // A conflict shows that another administrator changed the grants at the same time.
        let versioned = stored.with_resource_version(object);
        let applied = match versioned.metadata.resource_version {
            Some(_) => apply::apply(cluster, &versioned).await,
            None => apply::create(cluster, &versioned).await,
        };
        let applied = applied.map_err(|error| explain_role_ref(error, object, kubectl))?;
        progress.outcome(&cluster.name, &object::reference(object), applied.outcome);
    }
    if *grants == Grants::Everything {
        delete_all(cluster, progress, &namespaced).await?;
    }
    delete_all(cluster, progress, &cluster_wide).await?;
    Ok(())
}

/// Fails if someone else changed the grants meanwhile.
async fn ensure_applied(cluster: &Cluster, target: &str, grants: &Grants) -> anyhow::Result<()> {
    let current = grants::read(cluster, target).await?;
    if current.grants.as_ref() != Some(grants) || current.is_ambiguous() {
        let current = current.grants.map_or_else(|| "nothing".to_owned(), |grants| grants.to_string());
        bail!(
            "{}: someone else changed what {target} may import, to {current} instead of {grants}; coordinate with them, \
             then run the command again",
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

/// The `roleRef` of a binding is immutable, so the message says how to delete the binding.
fn explain_role_ref(error: CallError, object: &DynamicObject, kubectl: &str) -> anyhow::Error {
    if !error.to_string().contains("cannot change roleRef") {
        return error.into();
    }
    let reference = object::reference(object);
    anyhow::anyhow!(
        "{error}; the existing binding refers to another role; if nothing needs it, delete it, then run the command \
         again: {kubectl} delete {reference}"
    )
}

async fn apply(
    cluster: &Cluster,
    progress: &Progress,
    object: &DynamicObject,
) -> Result<DynamicObject, CallError> {
    let applied = apply::apply(cluster, object).await?;
    progress.outcome(&cluster.name, &object::reference(object), applied.outcome);
    Ok(applied.stored)
}

/// Fails if a granted namespace doesn't exist. *Absent:* its creation, because the name may be a typo.
pub(crate) async fn ensure_namespaces(
    cluster: &Cluster,
    grants: &Grants,
    stored: &StoredGrants,
) -> anyhow::Result<()> {
    let Grants::Only(namespaces) = grants else { return Ok(()) };
    let known: Vec<_> = stored.objects.iter().filter_map(ResourceExt::namespace).collect();
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    for namespace in namespaces.keys().filter(|namespace| !known.contains(namespace)) {
        let doing = format!("read namespace {namespace}");
        if cluster.call(&doing, api.get_metadata_opt(namespace)).await?.is_none() {
            bail!(
                "{}: namespace {namespace} does not exist, so nothing was granted: create it first, or leave it out",
                cluster.name
            );
        }
    }
    Ok(())
}
