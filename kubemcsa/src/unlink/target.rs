//! The target's side: the link's import and Secret, and the Secrets of the imports from that source.

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{CLUSTER_UID, SYSTEM_NAMESPACE};
use mcsa_client::{SecretString, ServiceAccountImport};

use crate::cluster::Cluster;
use crate::linked::{self, Linked};
use crate::taker::Taker;
use crate::times::to_the_second;
use crate::{list, object, output, remove};

/// What a target has of a source.
pub struct Link {
    source: String,
    links: Vec<Linked>,
    imports: Vec<ServiceAccountImport>,
}

impl Link {
    /// The link's token, if there is one.
    pub fn token(&self) -> Option<SecretString> {
        self.links.iter().find_map(|link| link.link()?.ok()?.config.auth_info.token)
    }

    /// Whom the source knows by the link.
    pub fn identity(&self) -> Option<String> {
        self.links.iter().find_map(Linked::identity).map(|(_, name)| name)
    }
}

/// Looks.
///
/// # Errors
/// When the target can't be asked, or the link is to another source of that name, or by another name of the
/// target's.
pub async fn look(
    target: &Cluster,
    source: &str,
    source_uid: Option<&str>,
    known_as: Option<&str>,
) -> anyhow::Result<Link> {
    let mut links = linked::all(target).await?;
    links.retain(|link| link.cluster_name == source);
    for import in links.iter().filter_map(|link| link.import.as_ref()) {
        let name = &import.spec.name;
        if let Some(given) = known_as
            && name != given
        {
            bail!(
                "{}: {source} knows this target as {name}, and not as {given}: nothing is removed; run this again with \
                 --target-name {name}",
                target.name
            );
        }
        let uid = import.annotations().get(CLUSTER_UID);
        if let (Some(uid), Some(source_uid)) = (uid, source_uid)
            && uid != source_uid
        {
            bail!(
                "{}: its link {source} is to another cluster of that name, whose UID is {uid} and not {source_uid}: \
                 nothing is removed; choose that cluster's context, or --local-only if it is gone for good",
                target.name
            );
        }
    }
    let mut imports = list::readable_imports(target, None, ListParams::default()).await?;
    imports.retain(|import| !import.is_link() && import.spec.cluster_name == source);
    Ok(Link { source: source.to_owned(), links, imports })
}

/// Refuses whoever may not remove it, before anything is removed in the source.
///
/// # Errors
/// When something could not be removed.
pub async fn ensure_removable(target: &Cluster, link: &Link, keep_secrets: bool) -> anyhow::Result<()> {
    for object in objects(target, link, keep_secrets).await? {
        remove::rehearse(target, &object).await?;
    }
    Ok(())
}

/// Removes it.
///
/// # Errors
/// When something can't be removed.
pub async fn take(taker: &mut Taker, link: &Link, keep_secrets: bool) -> anyhow::Result<()> {
    for object in objects(&taker.cluster, link, keep_secrets).await? {
        taker.take(&object).await?;
    }
    Ok(())
}

/// What goes. Imports stay: they are what people asked for, and work again once there is a link.
async fn objects(target: &Cluster, link: &Link, keep_secrets: bool) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for linked in &link.links {
        objects.extend(linked.import.as_ref().map(object::dynamic).transpose()?);
        objects.extend(linked.secret.as_ref().map(by_metadata));
    }
    for import in link.imports.iter().filter(|_| !keep_secrets) {
        objects.extend(own_secret(target, import).await?.as_ref().map(by_metadata));
    }
    Ok(objects)
}

/// Says what is left of it.
pub fn report(taker: &Taker, link: &Link, keep_secrets: bool) {
    let Link { source, imports, .. } = link;
    if let Some(those) = told(imports.len(), source) {
        let secrets = if keep_secrets { "with" } else { "without" };
        let said = format!("{those}, {secrets} a Secret, and ClusterNotLinked until there is a link again");
        output::say(&taker.cluster.name, &said);
    }
    if link.links.is_empty() {
        return;
    }
    let expiries = imports.iter().filter_map(|import| import.status.as_ref()?.expiration_time.as_ref());
    let last = expiries.map(|time| time.0).filter(|time| *time > Timestamp::now()).max();
    let last = last.map(|time| format!(": those of imports by {}", to_the_second(time)));
    output::warn(
        &taker.cluster.name,
        &format!(
            "tokens that the link got of other service accounts stay valid in {source} until they expire, within 24 \
             hours at most{}",
            last.unwrap_or_default()
        ),
    );
}

fn told(imports: usize, source: &str) -> Option<String> {
    match imports {
        0 => None,
        1 => Some(format!("an import names {source}: it stays")),
        more => Some(format!("{more} imports name {source}: they stay")),
    }
}

/// The Secret that an import keeps, if it is its own.
async fn own_secret(target: &Cluster, import: &ServiceAccountImport) -> anyhow::Result<Option<Secret>> {
    let (namespace, name) = (import.namespace().unwrap_or_default(), import.secret_name());
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), &namespace);
    let doing = format!("read the metadata of secret {namespace}/{name}");
    let found = target.call(&doing, secrets.get_metadata_opt(&name)).await?;
    let secret = found.map(|found| Secret { metadata: found.metadata, ..Default::default() });
    let uid = import.uid().unwrap_or_default();
    let is_own = |secret: &Secret| secret.owner_references().iter().any(|owner| owner.uid == uid);
    Ok(secret.filter(is_own))
}

fn by_metadata(secret: &Secret) -> DynamicObject {
    let types = Some(list::types::<Secret>());
    let mut metadata = secret.metadata.clone();
    metadata.namespace.get_or_insert_with(|| SYSTEM_NAMESPACE.into());
    DynamicObject { types, metadata, data: Default::default() }
}
