//! The link's identity in the source: a service account, the Secret that its tokens are bound to,
//! and what it may do.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::api::{DynamicObject, ObjectMeta};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};

use super::connect::Connected;
use super::grants::{self, Grants, Stored};
use super::progress::Progress;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, delete, object};
use crate::manifests;

/// What all links share.
const RIGHTS: &str = include_str!("rights.yaml");

/// The identity, as the source has it.
#[derive(Debug)]
pub struct Authorized {
    /// UID of the service account.
    pub service_account_uid: String,
    /// UID of the Secret that its tokens are bound to: another one once they were revoked.
    pub bound_secret_uid: String,
    /// Whether the source can hold the link to the policy.
    pub policy: bool,
    /// What the link may import.
    pub grants: Grants,
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

/// Makes the identity, and gives it these rights and no others of ours.
///
/// # Errors
/// When an object can't be written.
pub async fn grant(connected: &Connected, grants: &Grants, stored: &Stored) -> anyhow::Result<Authorized> {
    let (cluster, progress) = (&connected.source, &connected.progress);
    ensure_namespaces(cluster, grants, stored).await?;
    let policy = share(cluster, progress, grants).await?;
    // Before there is anyone to have them: who is interrupted here finds what was to be granted.
    put(cluster, progress, &connected.target.name, grants, stored).await?;
    let service_account_uid = written(cluster, progress, &service_account(connected)?).await?.uid();
    let bound_secret_uid = written(cluster, progress, &bound_secret(connected)?).await?.uid();
    Ok(Authorized {
        service_account_uid: service_account_uid.context("the service account has no UID")?,
        bound_secret_uid: bound_secret_uid.context("the Secret that tokens are bound to has no UID")?,
        policy,
        grants: grants.clone(),
    })
}

/// Writes what all links share; whether the source can hold them to the policy.
///
/// # Errors
/// When an object can't be written.
pub async fn share(cluster: &Cluster, progress: &Progress, grants: &Grants) -> anyhow::Result<bool> {
    let namespace = manifests::namespace()?;
    // It may be a target's too, with labels of its own.
    if apply::is_there(cluster, &namespace).await? {
        progress.outcome(&cluster.name, &object::title(&namespace), Outcome::Unchanged);
    } else {
        written(cluster, progress, &namespace).await?;
    }
    let mut policy = true;
    for object in shared()? {
        match written(cluster, progress, &object).await {
            Err(error) if is_policy(&object) && error.is_not_found() => policy = false,
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
        progress.outcome(&cluster.name, &object::title(object), Outcome::Removed);
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
    progress.outcome(&cluster.name, &object::title(object), applied.outcome);
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

/// All that a source gets, in the order of writing: policy and rights are there before there is anyone to
/// have them.
pub fn objects(connected: &Connected, grants: &Grants) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = vec![manifests::namespace()?];
    objects.extend(shared()?);
    objects.extend(grants.objects(&connected.target.name)?);
    objects.extend([service_account(connected)?, bound_secret(connected)?]);
    Ok(objects)
}

/// What all links of a source share, but the namespace.
pub fn shared() -> anyhow::Result<Vec<DynamicObject>> {
    object::parse(RIGHTS).context("rights.yaml")
}

/// Whether a source that doesn't know this kind can still be linked.
pub fn is_policy(object: &DynamicObject) -> bool {
    object::kind(object).starts_with("ValidatingAdmissionPolicy")
}

/// The service account that the link's tokens are for.
pub fn service_account(connected: &Connected) -> anyhow::Result<DynamicObject> {
    object::dynamic(&ServiceAccount { metadata: identity(connected), ..Default::default() })
}

/// The Secret that they are bound to.
pub fn bound_secret(connected: &Connected) -> anyhow::Result<DynamicObject> {
    let metadata = identity(connected);
    object::dynamic(&Secret { metadata, type_: Some("Opaque".into()), ..Default::default() })
}

fn identity(connected: &Connected) -> ObjectMeta {
    ObjectMeta {
        name: Some(connected.target.name.clone()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        annotations: Some([(TARGET_UID.to_owned(), connected.target_uid.clone())].into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::LINK;

    #[test]
    fn the_rights_are_those_of_the_contract() {
        let objects = shared().unwrap();
        assert!(objects[..3].iter().all(|object| object.name_any() == LINK));
        let policy = serde_json::to_string(&objects[0].data).unwrap();
        assert!(policy.contains(&format!("system:serviceaccount:{SYSTEM_NAMESPACE}:")));
        assert_eq!(objects[1].data["spec"]["policyName"], LINK);
        let role = &objects[2].data["rules"];
        assert_eq!(role[0]["verbs"], serde_json::json!(["create"]));
        for role in &objects[2..] {
            assert!(!role.data["rules"].to_string().contains("secrets"));
        }
    }
}
