//! Reads all roles and bindings of a source, once for all its identities.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::{ListParams, ObjectList};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// The RBAC of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    /// Rules, by the name of the ClusterRole. Kubernetes has filled in the rules of aggregated ClusterRoles.
    pub(crate) cluster_roles: BTreeMap<String, Vec<PolicyRule>>,
    /// Rules, by namespace and name of the Role.
    pub(crate) roles: BTreeMap<(String, String), Vec<PolicyRule>>,
    pub(crate) bindings: Vec<Binding>,
}

/// A ClusterRoleBinding or a RoleBinding.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    /// `None` for a ClusterRoleBinding.
    pub(crate) namespace: Option<String>,
    pub(crate) role: RoleRef,
    pub(crate) subjects: Vec<Subject>,
}

/// Reads the RBAC with the first connection whose user may read all of it, because a part would be misleading. Prints
/// warnings about failures, and returns a summary for the graph.
pub(crate) async fn read(connections: &[Cluster]) -> Result<Roles, String> {
    let mut errors = Vec::new();
    for cluster in connections {
        match try_read(cluster).await {
            Ok(roles) => return Ok(roles),
            Err(error) => errors.push((cluster, error)),
        }
    }
    errors.iter().for_each(|(_, error)| output::warn_of(error));
    let refused = errors.iter().filter(|(_, error)| error.refusal().is_some());
    let refused: Vec<_> = refused.map(|(cluster, _)| cluster.identity.as_str()).collect();
    Err(match refused.is_empty() {
        true => "roles could not be listed".into(),
        false => format!("{} cannot list roles", refused.join(" and ")),
    })
}

async fn try_read(cluster: &Cluster) -> Result<Roles, CallError> {
    let (cluster_roles, roles, cluster_bindings, bindings) = tokio::try_join!(
        all::<ClusterRole, _>(cluster, "list cluster roles", |it| (it.name_any(), it.rules.clone())),
        all::<Role, _>(cluster, "list roles", |it| {
            ((it.namespace().unwrap_or_default(), it.name_any()), it.rules.clone())
        }),
        all::<ClusterRoleBinding, _>(cluster, "list cluster role bindings", |it| Binding {
            name: it.name_any(),
            namespace: None,
            role: it.role_ref.clone(),
            subjects: it.subjects.clone().unwrap_or_default(),
        }),
        all::<RoleBinding, _>(cluster, "list role bindings", |it| Binding {
            name: it.name_any(),
            namespace: it.namespace(),
            role: it.role_ref.clone(),
            subjects: it.subjects.clone().unwrap_or_default(),
        }),
    )?;
    let rules = |rules: Option<Vec<PolicyRule>>| rules.unwrap_or_default();
    Ok(Roles {
        cluster_roles: cluster_roles.into_iter().map(|(name, it)| (name, rules(it))).collect(),
        roles: roles.into_iter().map(|(name, it)| (name, rules(it))).collect(),
        bindings: cluster_bindings.into_iter().chain(bindings).collect(),
    })
}

/// Lists a kind, and keeps a part of each object.
async fn all<K, T>(cluster: &Cluster, doing: &str, keep: fn(&K) -> T) -> Result<Vec<T>, CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    T: Clone,
{
    let api: Api<K> = Api::all(cluster.client.clone());
    let page = async |params: &ListParams| {
        let list = api.list(params).await?;
        let items = list.items.iter().map(keep).collect();
        Ok(ObjectList { items, types: list.types, metadata: list.metadata })
    };
    list::pages(cluster, doing, ListParams::default(), page).await
}
