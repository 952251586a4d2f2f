//! What is seen of one cluster as a target: links, imports, and the pods that hold them.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, ObjectList, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::holders::{Owner, Parents, Seen};
use super::view::{ImportSeen, LinkSeen, View};
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::kubeconfig::Chosen;
use crate::cluster::{Cluster, list};
use crate::link::existing::{self, ExistingLink};

/// A cluster that answered: the ways there, and what was seen.
pub struct Looked {
    /// The ways there, as one user or another.
    pub clusters: Vec<Cluster>,
    /// What was seen.
    pub view: View,
}

/// Looks at a cluster. What can't be read is told, and left out.
///
/// # Errors
/// When that is everything.
pub async fn collect(chosen: &Chosen, namespace: Option<&str>) -> anyhow::Result<Looked> {
    let cluster = chosen.connect().await?;
    let (uid, imports) =
        tokio::join!(cluster.uid(), list::readable_imports(&cluster, namespace, ListParams::default()));
    let (uid, imports) = match (uid, imports) {
        // One line is enough of a cluster that is away.
        (Err(error), Err(_)) => return Err(error.into()),
        (uid, imports) => (known(uid), known(imports)),
    };
    let is_here =
        |it: &&ExistingLink| it.import.is_none() && namespace.is_none_or(|name| name == SYSTEM_NAMESPACE);
    // Who may not even list imports is told so once.
    let links = match &imports {
        Some(_) => known(existing::list(&cluster).await),
        None => None,
    };
    let imports = imports.unwrap_or_default();
    let by_hand = links.iter().flatten().filter(is_here).filter_map(ImportSeen::by_hand);
    let mut view = View {
        name: cluster.name.clone(),
        uid,
        imports: imports.iter().map(ImportSeen::of).chain(by_hand).collect(),
        links: match &links {
            Some(links) => Some(links.iter().map(LinkSeen::of).collect()),
            // As far as imports tell: there are links that no import keeps.
            None if namespace.is_none() => Some(imports.iter().filter_map(LinkSeen::kept_by).collect()),
            None => None,
        },
        ..Default::default()
    };
    view.imports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    if !view.imports.is_empty() {
        let holding = view.imports.iter().map(|import| import.namespace.clone()).collect();
        view.pods = pods(&cluster, namespace, &holding).await;
        view.parents = parents(&cluster, namespace, view.pods.as_deref().unwrap_or_default()).await;
    }
    Ok(Looked { clusters: vec![cluster], view })
}

/// Each cluster once, by its UID: several contexts may lead to one, and not each of them sees all.
pub fn once(looked: impl IntoIterator<Item = Looked>) -> Vec<Looked> {
    let mut all: Vec<Looked> = Vec::new();
    for it in looked {
        let is_same = |other: &&mut Looked| it.view.uid.is_some() && other.view.uid == it.view.uid;
        match all.iter_mut().find(is_same) {
            Some(known) => {
                known.clusters.extend(it.clusters);
                if it.view.extent() > known.view.extent() {
                    known.view = it.view;
                }
            }
            None => all.push(it),
        }
    }
    all.sort_by(|a, b| (&a.view.name, &a.view.uid).cmp(&(&b.view.name, &b.view.uid)));
    all
}

fn known<T>(result: Result<T, CallError>) -> Option<T> {
    result.map_err(|error| output::warn_of(&error)).ok()
}

/// The pods of namespaces that have imports. Only what matters of a page is kept.
async fn pods(cluster: &Cluster, namespace: Option<&str>, holding: &BTreeSet<String>) -> Option<Vec<Seen>> {
    let api: Api<Pod> = list::within(cluster, namespace);
    let page = async |params: &ListParams| {
        let list = api.list(params).await?;
        let items = list.items.iter().filter_map(Seen::of).filter(|pod| holding.contains(&pod.namespace));
        Ok(ObjectList { items: items.collect(), types: list.types, metadata: list.metadata })
    };
    known(list::pages(cluster, "list pods", ListParams::default(), page).await)
}

async fn parents(cluster: &Cluster, namespace: Option<&str>, pods: &[Seen]) -> Parents {
    let has = |kind: &str| pods.iter().any(|pod| pod.owner.kind == kind);
    let (sets, jobs) = tokio::join!(
        owned::<ReplicaSet>(cluster, namespace, has("ReplicaSet")),
        owned::<Job>(cluster, namespace, has("Job")),
    );
    sets.into_iter().chain(jobs).collect()
}

async fn owned<K>(cluster: &Cluster, namespace: Option<&str>, needed: bool) -> Vec<((String, Owner), Owner)>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    if !needed {
        return Vec::new();
    }
    let api: Api<K> = list::within(cluster, namespace);
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let doing = format!("list {}", K::plural(&()));
    let objects = known(list::pages(cluster, &doing, ListParams::default(), page).await).unwrap_or_default();
    let pair = |object: &PartialObjectMeta<K>| {
        let owned = Owner { kind: K::kind(&()).into_owned(), name: object.name_any() };
        Some(((object.namespace()?, owned), Owner::of(object)?))
    };
    objects.iter().filter_map(pair).collect()
}
