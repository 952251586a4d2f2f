//! The source's side: the target's identity and rights; with the last one, what all links share.

use std::fmt::Debug;

use anyhow::bail;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{DynamicObject, ListParams, ObjectMeta};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::SecretString;
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::apply;
use crate::cluster::Cluster;
use crate::kubeconfig::Chosen;
use crate::link::{grants, identities, interim, revoked, source};
use crate::taker::Taker;
use crate::{list, manifests, object, output};

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
pub async fn look(source: &Cluster, target: &str, target_uid: Option<&str>) -> anyhow::Result<Identity> {
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
    objects.extend(interim::left(source, target).await?);
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
pub async fn take(taker: &mut Taker, identity: &Identity) -> anyhow::Result<()> {
    for object in &identity.objects {
        taker.take(object).await?;
    }
    let mut others = identities::targets(&taker.cluster).await?;
    others.retain(|other| *other != identity.target);
    if others.is_empty() {
        take_shared(taker).await?;
    } else {
        let said =
            format!("kept, for {}: the admission policy and the cluster roles of links", others.join(", "));
        output::say(&taker.cluster.name, &said);
    }
    Ok(())
}

/// The policy goes last: until then, someone may be held by it.
async fn take_shared(taker: &mut Taker) -> anyhow::Result<()> {
    for object in source::shared()?.iter().rev() {
        if let Some(stored) = apply::read(&taker.cluster, object).await? {
            taker.take(&stored).await?;
        }
    }
    // With nothing in it but what the cluster itself puts there, it is of no use.
    if let Some(namespace) = apply::read(&taker.cluster, &manifests::namespace()?).await?
        && object::is_ours(&namespace)
        && is_empty(&taker.cluster).await?
    {
        taker.take(&namespace).await?;
    }
    Ok(())
}

/// Whether nobody uses the system namespace for anything else: it may be a target's, too.
async fn is_empty(cluster: &Cluster) -> anyhow::Result<bool> {
    let mut left = names::<Secret>(cluster).await?;
    left.extend(names::<ServiceAccount>(cluster).await?);
    left.extend(names::<ConfigMap>(cluster).await?);
    left.extend(names::<Deployment>(cluster).await?);
    left.extend(names::<Pod>(cluster).await?);
    left.retain(|name| !MADE_BY_THE_CLUSTER.contains(&name.as_str()));
    let imports = list::imports(cluster, Some(SYSTEM_NAMESPACE), ListParams::default()).await?;
    Ok(left.is_empty() && imports.is_empty())
}

async fn names<K>(cluster: &Cluster) -> anyhow::Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let doing = format!("list {}s", object::words(&K::kind(&())));
    let found = list::pages(cluster, &doing, ListParams::default(), page).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

/// Waits until the source refuses the link's token.
///
/// # Errors
/// When it can't be asked, or does not.
pub async fn until_refused(source: &Cluster, chosen: &Chosen, token: SecretString) -> anyhow::Result<()> {
    output::say(&source.name, "waiting until it refuses the link's token");
    if revoked::until_refused(source, chosen, token).await? {
        output::say(&source.name, "the link's token is refused");
        return Ok(());
    }
    bail!(
        "{}: it still accepts the link's token, which must be of another service account: find out whose it is, and \
         revoke it there",
        source.name
    )
}
