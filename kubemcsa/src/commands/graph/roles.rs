//! All roles of a source, and to whom they are bound: read once, whoever is asked about.

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

/// What is granted in a cluster, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// The rules of a cluster role, by its name. Those of an aggregated one are filled in by a controller.
    pub cluster_roles: BTreeMap<String, Vec<PolicyRule>>,
    /// The rules of a role, by its namespace and name.
    pub roles: BTreeMap<(String, String), Vec<PolicyRule>>,
    /// Bindings of either kind.
    pub bindings: Vec<Binding>,
}

/// A ClusterRoleBinding or a RoleBinding.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The namespace in which it grants; none of a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// What it grants.
    pub role: RoleRef,
    /// To whom.
    pub subjects: Vec<Subject>,
}

/// Reads them, as the first of these users who may. In part they would be misleading, so it is all or none;
/// the errors are told, and what is returned of them is short enough for a graph.
pub async fn read(ways: &[Cluster]) -> Result<Roles, String> {
    let mut errors = Vec::new();
    for cluster in ways {
        match try_read(cluster).await {
            Ok(roles) => return Ok(roles),
            Err(error) => errors.push((cluster, error)),
        }
    }
    errors.iter().for_each(|(_, error)| output::warn_of(error));
    let refused = errors.iter().filter(|(_, error)| error.refusal().is_some());
    let refused: Vec<_> = refused.map(|(cluster, _)| cluster.identity.as_str()).collect();
    Err(match refused.is_empty() {
        true => "the roles there could not be listed".into(),
        false => format!("{} may not list the roles there", refused.join(" and ")),
    })
}

async fn try_read(cluster: &Cluster) -> Result<Roles, CallError> {
    let (cluster_roles, roles, everywhere, somewhere) = tokio::try_join!(
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
        bindings: everywhere.into_iter().chain(somewhere).collect(),
    })
}

/// What is kept of each object of a kind.
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
