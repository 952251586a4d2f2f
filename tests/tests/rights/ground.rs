//! All that there is to ask about.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::Deserialize;

use super::list::List;

/// What is no one's resource and yet in rules, by group; and whether it is in namespaces.
const VIRTUAL: [(&str, &str, bool); 15] = [
    ("", "groups", false),
    ("", "nodes/configz", false),
    ("", "nodes/healthz", false),
    ("", "nodes/log", false),
    ("", "nodes/metrics", false),
    ("", "nodes/pods", false),
    ("", "nodes/stats", false),
    ("", "users", false),
    ("authentication.k8s.io", "uids", false),
    ("authentication.k8s.io", "userextras/scopes", false),
    ("certificates.k8s.io", "signers", false),
    ("policy", "podsecuritypolicies", true),
    ("*", "*", true),
    ("*", "*/scale", true),
    ("*", "*/status", true),
];

/// Besides those that the API server tells of.
const PATHS: [&str; 8] = [
    "*",
    "/",
    "/anything",
    "/configz",
    "/debug/pprof/heap",
    "/flagz",
    "/logs/kube-apiserver.log",
    "/metrics/slis",
];

/// Who may do what, on this cluster.
pub struct Ground {
    /// The service accounts of the list, each with the names that there are rights of.
    pub accounts: Vec<(String, BTreeSet<String>)>,
    /// All resources and subresources.
    pub resources: BTreeSet<Resource>,
    /// The non-resource URLs.
    pub paths: BTreeSet<String>,
}

/// What there are rights to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    pub group: String,
    /// With its subresource, after a slash.
    pub name: String,
    /// To what is not, a right in a namespace is none.
    pub is_in_namespaces: bool,
}

impl Resource {
    fn new(group: &str, name: &str, is_in_namespaces: bool) -> Self {
        Self { group: group.to_owned(), name: name.to_owned(), is_in_namespaces }
    }
}

impl Ground {
    /// Reads it from the API server.
    pub async fn read(client: &Client, list: &List) -> anyhow::Result<Self> {
        let mut accounts = Vec::new();
        for account in list.accounts() {
            accounts.push((account.to_owned(), names(client, list, account).await?));
        }
        Ok(Self { accounts, resources: resources(client).await?, paths: paths(client, list).await? })
    }
}

/// What discovery tells of, in all versions.
async fn resources(client: &Client) -> anyhow::Result<BTreeSet<Resource>> {
    let mut resources = BTreeSet::from(VIRTUAL.map(|(group, name, scope)| Resource::new(group, name, scope)));
    let mut lists = Vec::new();
    for version in client.list_core_api_versions().await?.versions {
        lists.push(("".to_owned(), client.list_core_api_resources(&version).await?));
    }
    for group in client.list_api_groups().await?.groups {
        for version in group.versions {
            lists.push((group.name.clone(), client.list_api_group_resources(&version.group_version).await?));
        }
    }
    for (group, list) in lists {
        resources.extend(list.resources.iter().map(|it| {
            // Who asks for a namespace is in it already.
            let is_namespace = it.name.split('/').next() == Some("namespaces");
            Resource::new(&group, &it.name, it.namespaced || is_namespace)
        }));
        resources.insert(Resource::new(&group, "*", true));
    }
    // A walk through nothing would find nothing.
    for (group, name) in [("", "pods/exec"), ("multicluster.admiralty.io", "serviceaccountimports/status")] {
        ensure!(resources.contains(&Resource::new(group, name, true)), "discovery does not tell of {name}");
    }
    Ok(resources)
}

async fn paths(client: &Client, list: &List) -> anyhow::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Paths {
        paths: Vec<String>,
    }
    let known: Paths = client.request(http::Request::get("/").body(Vec::new())?).await?;
    // Of what begins alike, one.
    let listed = list.paths().map(|path| path.replace('*', "x"));
    Ok(PATHS.map(str::to_owned).into_iter().chain(known.paths).chain(listed).collect())
}

/// The names that the list has, and those that the account's rules have.
async fn names(client: &Client, list: &List, account: &str) -> anyhow::Result<BTreeSet<String>> {
    let is_of = |subjects: &Option<Vec<Subject>>| {
        let is = |one: &Subject| one.name == account && one.namespace.as_deref() == Some(SYSTEM_NAMESPACE);
        subjects.iter().flatten().any(is)
    };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if is_of(&binding.subjects) {
            let role = Api::<ClusterRole>::all(client.clone()).get(&binding.role_ref.name).await?;
            rules.extend(role.rules.unwrap_or_default());
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if is_of(&binding.subjects) {
            let namespace = binding.namespace().context("a role binding has a namespace")?;
            ensure!(
                binding.role_ref.kind == "Role",
                "{namespace}/{} binds a cluster role",
                binding.name_any()
            );
            let roles = Api::<Role>::namespaced(client.clone(), &namespace);
            let of_role = roles.get(&binding.role_ref.name).await?.rules.unwrap_or_default();
            let named = of_role.iter().any(|rule| rule.resource_names.is_some());
            ensure!(
                !named || namespace == SYSTEM_NAMESPACE,
                "a rule with names in {namespace}: nobody asks of it"
            );
            rules.extend(of_role);
        }
    }
    ensure!(!rules.is_empty(), "{account} has no rights");
    let names = rules.into_iter().flat_map(|rule| rule.resource_names).flatten();
    Ok(names.chain(list.names(account).map(str::to_owned)).collect())
}
