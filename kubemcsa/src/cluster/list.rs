//! Lists objects, page by page.

use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, TypeMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// Objects per page.
const PAGE: u32 = 500;

/// The parameters to list the Secrets or the imports of links.
pub(crate) fn link_params() -> ListParams {
    ListParams::default().labels(&format!("{LINK_LABEL}=true"))
}

/// The API of a namespace, or of all.
pub(crate) fn within<K>(cluster: &Cluster, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    }
}

/// Collects all pages of a list.
pub(crate) async fn pages<T: Clone>(
    cluster: &Cluster,
    doing: &str,
    params: ListParams,
    page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
) -> Result<Vec<T>, CallError> {
    let mut all = Vec::new();
    each_page(cluster, doing, params, page, |page| all.extend(page)).await?;
    Ok(all)
}

/// Visits each page of a list, without keeping all objects.
pub(crate) async fn each_page<T: Clone>(
    cluster: &Cluster,
    doing: &str,
    params: ListParams,
    page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
    mut visit: impl FnMut(Vec<T>),
) -> Result<(), CallError> {
    let mut params = params.limit(PAGE);
    loop {
        let page = cluster.call(doing, page(&params)).await?;
        visit(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Lists the objects of a kind that have this name, in all namespaces.
pub(crate) async fn by_name<K>(cluster: &Cluster, name: &str) -> Result<Vec<DynamicObject>, CallError>
where
    K: Resource<DynamicType = ()>,
{
    named(cluster, &ApiResource::erase::<K>(&()), name).await
}

/// The same, of a kind without a Rust type.
pub(crate) async fn named(
    cluster: &Cluster,
    kind: &ApiResource,
    name: &str,
) -> Result<Vec<DynamicObject>, CallError> {
    of_kind(cluster, kind, ListParams::default().fields(&format!("metadata.name={name}"))).await
}

/// Lists the objects of a kind in all namespaces.
pub(crate) async fn all<K>(cluster: &Cluster, params: ListParams) -> Result<Vec<DynamicObject>, CallError>
where
    K: Resource<DynamicType = ()>,
{
    of_kind(cluster, &ApiResource::erase::<K>(&()), params).await
}

async fn of_kind(
    cluster: &Cluster,
    kind: &ApiResource,
    params: ListParams,
) -> Result<Vec<DynamicObject>, CallError> {
    let api = Api::<DynamicObject>::all_with(cluster.client.clone(), kind);
    let doing = format!("list {}s", object::words(&kind.kind));
    let page = async |params: &ListParams| api.list(params).await;
    let found = pages(cluster, &doing, params, page).await?;
    let types = Some(TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
    Ok(found.into_iter().map(|it| DynamicObject { types: types.clone(), ..it }).collect())
}

/// Lists imports, including links. Empty if the CRD is not installed.
pub(crate) async fn imports(
    cluster: &Cluster,
    namespace: Option<&str>,
    params: ListParams,
) -> Result<Vec<DynamicObject>, CallError> {
    let resource = ApiResource::erase::<ServiceAccountImport>(&());
    let client = cluster.client.clone();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let page = async |params: &ListParams| api.list(params).await;
    let imports = match pages(cluster, "list imports", params, page).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        imports => imports?,
    };
    let types = Some(types::<ServiceAccountImport>());
    Ok(imports.into_iter().map(|it| DynamicObject { types: types.clone(), ..it }).collect())
}

/// Lists imports, and skips invalid ones with a warning.
pub(crate) async fn readable_imports(
    cluster: &Cluster,
    namespace: Option<&str>,
    params: ListParams,
) -> Result<Vec<ServiceAccountImport>, CallError> {
    let read = |import: DynamicObject| {
        let reference = object::reference(&import);
        let import = import.try_parse();
        if let Err(error) = &import {
            output::warn(&cluster.name, &format!("{reference} skipped: it is not valid: {error}"));
        }
        import.ok()
    };
    Ok(imports(cluster, namespace, params).await?.into_iter().filter_map(read).collect())
}

pub(crate) fn is_link(import: &DynamicObject) -> bool {
    import.namespace().as_deref() == Some(SYSTEM_NAMESPACE)
        && import.labels().get(LINK_LABEL).is_some_and(|value| value == "true")
}

/// The API version and kind of a type: items of a list don't have these fields.
pub(crate) fn types<K: Resource<DynamicType = ()>>() -> TypeMeta {
    TypeMeta { api_version: K::api_version(&()).into_owned(), kind: K::kind(&()).into_owned() }
}
