//! Reads a cluster as a target: its links, its imports, and the pods that hold them.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectList, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::holders::{Owner, Parents, PodInfo};
use super::permitted;
use super::view::{ImportInfo, LinkInfo, View};
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::policies::Policies;
use crate::cluster::{Cluster, list};
use crate::link::existing::{self, ExistingLink};

pub(crate) struct CollectedCluster {
    /// One for each context of the cluster; their users may have different rights.
    pub(crate) connections: Vec<Cluster>,
    pub(crate) view: View,
}

/// Reads a cluster. Prints a warning for each part that can't be read, and omits it.
pub(crate) async fn collect(
    chosen: &ChosenContext,
    namespace: Option<&str>,
) -> anyhow::Result<CollectedCluster> {
    let cluster = chosen.connect().await?;
    let (uid, imports) =
        tokio::join!(cluster.uid(), list::readable_imports(&cluster, namespace, ListParams::default()));
    let (uid, imports) = match (uid, imports) {
        // One error is enough for an unreachable cluster.
        (Err(error), Err(_)) => return Err(error.into()),
        (uid, imports) => (or_warn(uid), or_warn(imports)),
    };
    let is_by_hand =
        |it: &&ExistingLink| it.import.is_none() && namespace.is_none_or(|name| name == SYSTEM_NAMESPACE);
    // One warning is enough for a user who may not even list imports.
    let links = match &imports {
        Some(_) => or_warn(existing::list(&cluster).await),
        None => None,
    };
    let imports = imports.unwrap_or_default();
    let by_hand = links.iter().flatten().filter(is_by_hand).filter_map(ImportInfo::of_link_by_hand);
    let mut view = View {
        name: cluster.name.clone(),
        uid,
        imports: imports.iter().map(ImportInfo::of).chain(by_hand).collect(),
        links: match &links {
            Some(links) => Some(links.iter().map(LinkInfo::of).collect()),
            // Without links that were created by hand: these have no import.
            None if namespace.is_none() => Some(imports.iter().filter_map(LinkInfo::of_import).collect()),
            None => None,
        },
        ..Default::default()
    };
    if !view.imports.is_empty()
        && let Some(policies) = or_warn(Policies::read(&cluster).await)
    {
        permitted::mark(&mut view.imports, &policies);
    }
    view.imports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    if !view.imports.is_empty() {
        let namespaces = view.imports.iter().map(|import| import.namespace.clone()).collect();
        view.pods = pods(&cluster, namespace, &namespaces).await;
        view.parents = parents(&cluster, namespace, view.pods.as_deref().unwrap_or_default()).await;
    }
    Ok(CollectedCluster { connections: vec![cluster], view })
}

/// Merges contexts of the same cluster, by its UID, and keeps the view of the user who could read most.
pub(crate) fn merge_by_uid(collected: impl IntoIterator<Item = CollectedCluster>) -> Vec<CollectedCluster> {
    let mut merged: Vec<CollectedCluster> = Vec::new();
    for it in collected {
        let is_same = |other: &&mut CollectedCluster| it.view.uid.is_some() && other.view.uid == it.view.uid;
        match merged.iter_mut().find(is_same) {
            Some(known) => {
                known.connections.extend(it.connections);
                if it.view.extent() > known.view.extent() {
                    known.view = it.view;
                }
            }
            None => merged.push(it),
        }
    }
    merged.sort_by(|a, b| (&a.view.name, &a.view.uid).cmp(&(&b.view.name, &b.view.uid)));
    merged
}

fn or_warn<T>(result: Result<T, CallError>) -> Option<T> {
    result.map_err(|error| output::warn_of(&error)).ok()
}

/// The pods in namespaces that have imports.
async fn pods(
    cluster: &Cluster,
    namespace: Option<&str>,
    namespaces: &BTreeSet<String>,
) -> Option<Vec<PodInfo>> {
    let api: Api<Pod> = list::within(cluster, namespace);
    let page = async |params: &ListParams| {
        let list = api.list(params).await?;
        let items =
            list.items.iter().filter_map(PodInfo::of).filter(|pod| namespaces.contains(&pod.namespace));
        Ok(ObjectList { items: items.collect(), types: list.types, metadata: list.metadata })
    };
    or_warn(list::pages(cluster, "list pods", ListParams::default(), page).await)
}

async fn parents(cluster: &Cluster, namespace: Option<&str>, pods: &[PodInfo]) -> Parents {
    let has = |kind: &str| pods.iter().any(|pod| pod.owner.kind == kind);
    let (sets, jobs) = tokio::join!(
        owned::<ReplicaSet>(cluster, namespace, has("ReplicaSet")),
        owned::<Job>(cluster, namespace, has("Job")),
    );
    sets.into_iter().chain(jobs).collect()
}

/// The objects of a kind that have an owner, with their owners.
async fn owned<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    is_needed: bool,
) -> Vec<((String, Owner), Owner)>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    if !is_needed {
        return Vec::new();
    }
    let api: Api<K> = list::within(cluster, namespace);
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let doing = format!("list {}", K::plural(&()));
    let objects =
        or_warn(list::pages(cluster, &doing, ListParams::default(), page).await).unwrap_or_default();
    let pair = |object: &PartialObjectMeta<K>| {
        let owned = Owner { kind: K::kind(&()).into_owned(), name: object.name_any() };
        Some(((object.namespace()?, owned), Owner::of(object)?))
    };
    objects.iter().filter_map(pair).collect()
}
