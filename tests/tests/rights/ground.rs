//! All that there is to ask about.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::Deserialize;

use crate::list::List;

/// What is no one's resource and yet in rules, by group.
const VIRTUAL: [(&str, &str); 15] = [
    ("", "groups"),
    ("", "nodes/configz"),
    ("", "nodes/healthz"),
    ("", "nodes/log"),
    ("", "nodes/metrics"),
    ("", "nodes/pods"),
    ("", "nodes/stats"),
    ("", "users"),
    ("authentication.k8s.io", "uids"),
    ("authentication.k8s.io", "userextras/scopes"),
    ("certificates.k8s.io", "signers"),
    ("policy", "podsecuritypolicies"),
    ("*", "*"),
    ("*", "*/scale"),
    ("*", "*/status"),
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
    /// Groups, and their resources and subresources.
    pub resources: BTreeSet<(String, String)>,
    /// The non-resource URLs.
    pub paths: BTreeSet<String>,
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
async fn resources(client: &Client) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut resources =
        BTreeSet::from(VIRTUAL.map(|(group, resource)| (group.to_owned(), resource.to_owned())));
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
        resources.extend(list.resources.into_iter().map(|resource| (group.clone(), resource.name)));
        resources.insert((group, "*".to_owned()));
    }
    // A walk through nothing would find nothing.
    for (group, resource) in
        [("", "pods/exec"), ("multicluster.admiralty.io", "serviceaccountimports/status")]
    {
        ensure!(
            resources.contains(&(group.to_owned(), resource.to_owned())),
            "discovery does not tell of {resource}"
        );
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
