//! With `--delete-imports`: the imports, their Secrets, and the links.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, TypeMeta};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{GROUP, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::link::cluster_name;
use tokio::time::{Instant, sleep};

use super::gone::{PAUSE, still_there};
use super::look::is_ours;
use super::take::Taker;
use crate::call::CallError;
use crate::cluster::Cluster;
use crate::{apply, manifests, object, output, remove};

/// How many objects are listed at a time.
const PAGE: u32 = 500;

/// How many deletions are on their way at once.
const AT_A_TIME: usize = 16;

/// A link, and whom its source knows by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The source's name.
    pub cluster_name: String,
    /// The service account in the source; none of a link that was made by hand.
    pub identity: Option<String>,
}

/// The links that there are.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn links(cluster: &Cluster) -> Result<Vec<Link>, CallError> {
    let mut links: BTreeMap<String, Option<String>> = BTreeMap::new();
    for secret in link_secrets(cluster).await? {
        links.insert(cluster_name(&Secret { metadata: secret.metadata, ..Default::default() }), None);
    }
    for import in list(cluster).await?.iter().filter(|import| is_link(import)) {
        let text = |field: &str| import.data["spec"][field].as_str().map(str::to_owned);
        links.insert(text("clusterName").unwrap_or_default(), text("name"));
    }
    Ok(links.into_iter().map(|(cluster_name, identity)| Link { cluster_name, identity }).collect())
}

/// All imports, links among them; none where they are not even defined.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn list(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    // Whatever is in them: one that can't be read goes like the others.
    let resource = ApiResource::erase::<ServiceAccountImport>(&());
    let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &resource);
    let page = async |params: &ListParams| api.list(params).await;
    let imports = match pages(cluster, "list imports", ListParams::default(), page).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        imports => imports?,
    };
    let types = Some(types::<ServiceAccountImport>());
    Ok(imports.into_iter().map(|it| DynamicObject { types: types.clone(), ..it }).collect())
}

/// Whether it is the import of a link.
pub fn is_link(import: &DynamicObject) -> bool {
    import.namespace().as_deref() == Some(SYSTEM_NAMESPACE)
        && import.labels().get(LINK_LABEL).is_some_and(|value| value == "true")
}

/// Removes them all, and waits until they are gone.
///
/// # Errors
/// When something can't be removed, or is not gone in time.
pub async fn take(taker: &mut Taker) -> anyhow::Result<()> {
    let definition = apply::read(&taker.cluster, &manifests::crd()?).await?;
    if definition.is_some_and(|definition| !is_ours(&definition)) {
        output::warn(&taker.cluster.name, "imports are left alone: their definition is someone else's");
        return Ok(());
    }
    let mut secrets = owned_secrets(&taker.cluster).await?;
    take_imports(taker).await?;
    if !taker.dry_run {
        secrets.extend(take_secrets(taker).await?);
    }
    let secrets: BTreeMap<_, _> = secrets.iter().map(|secret| (object::title(secret), secret)).collect();
    secrets.into_values().for_each(|secret| taker.took(secret));
    for link in link_secrets(&taker.cluster).await? {
        // In a dry run, those of imports are still there.
        if !is_owned(&link) {
            taker.take(&link).await?;
        }
    }
    Ok(())
}

/// Those that someone declares meanwhile go, too.
async fn take_imports(taker: &mut Taker) -> anyhow::Result<()> {
    let mut deadline = Instant::now() + taker.timeout;
    loop {
        let imports = list(&taker.cluster).await?;
        let Some(last) = imports.last() else { return Ok(()) };
        let new: Vec<_> = imports.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
        if !taker.dry_run {
            let cluster = &taker.cluster;
            let removals = new.iter().map(|import| remove::remove(cluster, import));
            stream::iter(removals).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        }
        new.iter().for_each(|import| taker.took(import));
        if taker.dry_run {
            return Ok(());
        }
        // However many there are, each has the same time to go.
        if !new.is_empty() {
            deadline = Instant::now() + taker.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_there(&taker.cluster, last, taker.timeout));
        }
        sleep(PAUSE).await;
    }
}

/// What the garbage collector has not come to. Once the definition is gone, it can't tell whether their
/// owners are.
async fn take_secrets(taker: &Taker) -> anyhow::Result<Vec<DynamicObject>> {
    let mut taken = Vec::new();
    let mut deadline = Instant::now() + taker.timeout;
    let mut before = usize::MAX;
    loop {
        let left = owned_secrets(&taker.cluster).await?;
        let Some(last) = left.last() else { return Ok(taken) };
        if left.len() < before {
            deadline = Instant::now() + taker.timeout;
        } else if Instant::now() >= deadline {
            bail!("{}", still_there(&taker.cluster, last, taker.timeout));
        }
        before = left.len();
        let removals = left.iter().map(async |secret| {
            match remove::remove_unchanged(&taker.cluster, secret).await {
                // It has changed since, its owner perhaps.
                Err(error) if error.is_conflict() => Ok(()),
                removed => removed,
            }
        });
        stream::iter(removals).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        taken.extend(left);
        sleep(PAUSE).await;
    }
}

/// The metadata of the Secrets that imports control, whichever labels they have.
async fn owned_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let all = Api::<Secret>::all(cluster.client.clone());
    Ok(secrets(cluster, all, ListParams::default()).await?.into_iter().filter(is_owned).collect())
}

async fn link_secrets(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let system = Api::<Secret>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    secrets(cluster, system, ListParams::default().labels(&format!("{LINK_LABEL}=true"))).await
}

async fn secrets(
    cluster: &Cluster,
    api: Api<Secret>,
    params: ListParams,
) -> Result<Vec<DynamicObject>, CallError> {
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let secrets = pages(cluster, "list the metadata of secrets", params, page).await?;
    let types = Some(types::<Secret>());
    let by_metadata = |metadata| DynamicObject { types: types.clone(), metadata, data: Default::default() };
    Ok(secrets.into_iter().map(|secret| by_metadata(secret.metadata)).collect())
}

/// All objects of a list that is told page by page.
async fn pages<T: Clone>(
    cluster: &Cluster,
    doing: &str,
    params: ListParams,
    page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
) -> Result<Vec<T>, CallError> {
    let mut params = params.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = cluster.call(doing, page(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn types<K: Resource<DynamicType = ()>>() -> TypeMeta {
    TypeMeta { api_version: K::api_version(&()).into_owned(), kind: K::kind(&()).into_owned() }
}

fn is_owned(secret: &DynamicObject) -> bool {
    secret.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == ServiceAccountImport::kind(&())
            && owner.api_version.split('/').next() == Some(GROUP)
    })
}
