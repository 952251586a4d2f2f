//! The target's side: the link's import and Secret, and the Secrets of the imports from that source.

use std::collections::BTreeSet;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, ObjectMeta};
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{CLUSTER_UID, IMPORT_NAME};
use mcsa_credentials::SecretString;

use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, delete, list, object};
use crate::link::existing::{self, ExistingLink};

/// What a target has of a source.
pub struct Link {
    source: String,
    links: Vec<ExistingLink>,
    imports: Vec<ServiceAccountImport>,
    /// Of the imports; none where they are to stay.
    secrets: Vec<DynamicObject>,
}

impl Link {
    /// The link's own import and Secret.
    fn own(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = Vec::new();
        for linked in &self.links {
            objects.extend(linked.import.as_ref().map(object::dynamic).transpose()?);
            objects.extend(linked.secret.as_ref().map(|secret| by_metadata(secret.metadata.clone())));
        }
        Ok(objects)
    }

    /// The link's token, if there is one.
    pub fn token(&self) -> Option<SecretString> {
        self.links.iter().find_map(|link| link.link()?.ok()?.config.auth_info.token)
    }

    /// Whom the source knows by the link.
    pub fn identity(&self) -> Option<String> {
        self.links.iter().find_map(ExistingLink::identity).map(|(_, name)| name)
    }
}

/// Looks.
///
/// # Errors
/// When the target can't be asked, or the link is to another source of that name, or by another name of the
/// target's.
pub async fn find(
    target: &Cluster,
    source: &str,
    source_uid: Option<&str>,
    known_as: Option<&str>,
    keep_secrets: bool,
) -> anyhow::Result<Link> {
    let mut links = existing::list(target).await?;
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
    let secrets =
        if keep_secrets || imports.is_empty() { Vec::new() } else { secrets_of(target, &imports).await? };
    Ok(Link { source: source.to_owned(), links, imports, secrets })
}

/// Refuses whoever may not remove it, before anything is removed in the source: of many Secrets, in each
/// namespace one is asked about, as rights are the same for all.
///
/// # Errors
/// When something could not be removed.
pub async fn ensure_removable(target: &Cluster, link: &Link) -> anyhow::Result<()> {
    let mut namespaces = BTreeSet::new();
    let samples = link.secrets.iter().filter(|secret| namespaces.insert(secret.namespace()));
    for object in link.own()?.iter().chain(samples) {
        delete::rehearse(target, object).await?;
    }
    Ok(())
}

/// Removes it. Imports stay: they are what people asked for, and work again once there is a link.
///
/// # Errors
/// When something can't be removed.
pub async fn delete(deleter: &mut Deleter, link: &Link) -> anyhow::Result<()> {
    for object in link.own()? {
        deleter.delete(&object).await?;
    }
    deleter.delete_all(&link.secrets).await
}

/// The Secrets that these imports own, found by their label.
async fn secrets_of(
    target: &Cluster,
    imports: &[ServiceAccountImport],
) -> anyhow::Result<Vec<DynamicObject>> {
    let uids: BTreeSet<_> = imports.iter().filter_map(ResourceExt::uid).collect();
    let api: Api<Secret> = Api::all(target.client.clone());
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let labelled = ListParams::default().labels(IMPORT_NAME);
    let found = list::pages(target, "list the metadata of imports' secrets", labelled, page).await?;
    let own =
        found.into_iter().filter(|secret| secret.owner_references().iter().any(|it| uids.contains(&it.uid)));
    Ok(own.map(|secret| by_metadata(secret.metadata)).collect())
}

/// Says what is left of it.
pub fn report(deleter: &Deleter, link: &Link, keep_secrets: bool) {
    let Link { source, imports, .. } = link;
    if let Some(those) = told(imports.len(), source) {
        let secrets = if keep_secrets { "with" } else { "without" };
        let said = format!("{those}, {secrets} a Secret, and ClusterNotLinked until there is a link again");
        output::say(&deleter.cluster.name, &said);
    }
    if link.links.is_empty() {
        return;
    }
    let expiries = imports.iter().filter_map(|import| import.status.as_ref()?.expiration_time.as_ref());
    let last = expiries.map(|time| time.0).filter(|time| *time > Timestamp::now()).max();
    let last = last.map(|time| format!(": those of imports by {}", to_the_second(time)));
    output::warn(
        &deleter.cluster.name,
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

fn by_metadata(metadata: ObjectMeta) -> DynamicObject {
    DynamicObject { types: Some(list::types::<Secret>()), metadata, data: Default::default() }
}
