//! The API surface that rights can be for.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::Deserialize;

use super::documented::DocumentedRights;

/// The namespaces in which rights to named objects are checked.
pub const NAMED: [&str; 2] = [SYSTEM_NAMESPACE, "kube-system"];

/// Resources that discovery doesn't return, but that rules can name: (group, name, is namespaced).
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

/// Paths in addition to those that the API server lists.
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

/// The accounts, resources and paths of a cluster.
pub struct Surface {
    /// The documented service accounts, each with the object names in its rights.
    pub accounts: Vec<(String, BTreeSet<String>)>,
    /// All resources and subresources.
    pub resources: BTreeSet<Resource>,
    /// The non-resource URLs.
    pub paths: BTreeSet<String>,
}

/// A resource or subresource.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    pub group: String,
    /// With the subresource, after a slash.
    pub name: String,
    /// A Role can't grant rights to resources that are not namespaced.
    pub is_namespaced: bool,
}

impl Resource {
    fn new(group: &str, name: &str, is_namespaced: bool) -> Self {
        Self { group: group.to_owned(), name: name.to_owned(), is_namespaced }
    }
}

impl Surface {
    /// Reads the surface from the API server.
    pub async fn read(client: &Client, documented: &DocumentedRights) -> anyhow::Result<Self> {
        let mut accounts = Vec::new();
        for account in documented.accounts() {
            accounts.push((account.to_owned(), names(client, documented, account).await?));
        }
        Ok(Self { accounts, resources: resources(client).await?, paths: paths(client, documented).await? })
    }
}

/// All resources in all versions, from discovery.
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
            // The API server checks requests for a namespace as requests in that namespace.
            let is_namespace = it.name.split('/').next() == Some("namespaces");
            Resource::new(&group, &it.name, it.namespaced || is_namespace)
        }));
        resources.insert(Resource::new(&group, "*", true));
    }
    // An incomplete discovery would make the test succeed.
    for (group, name) in [("", "pods/exec"), ("multicluster.admiralty.io", "serviceaccountimports/status")] {
        ensure!(resources.contains(&Resource::new(group, name, true)), "discovery does not return {name}");
    }
    Ok(resources)
}

async fn paths(client: &Client, documented: &DocumentedRights) -> anyhow::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Paths {
        paths: Vec<String>,
    }
    let known: Paths = client.request(http::Request::get("/").body(Vec::new())?).await?;
    // One path for each documented prefix.
    let prefixes = documented.paths().map(|path| path.replace('*', "x"));
    Ok(PATHS.map(str::to_owned).into_iter().chain(known.paths).chain(prefixes).collect())
}

/// The object names in the account's documented rights and in its actual rules.
async fn names(
    client: &Client,
    documented: &DocumentedRights,
    account: &str,
) -> anyhow::Result<BTreeSet<String>> {
    let binds_account = |subjects: &Option<Vec<Subject>>| {
        let is = |one: &Subject| one.name == account && one.namespace.as_deref() == Some(SYSTEM_NAMESPACE);
        subjects.iter().flatten().any(is)
    };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if binds_account(&binding.subjects) {
            let role = Api::<ClusterRole>::all(client.clone()).get(&binding.role_ref.name).await?;
            rules.extend(role.rules.unwrap_or_default());
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&ListParams::default()).await? {
        if binds_account(&binding.subjects) {
            let namespace = binding.namespace().context("the role binding has no namespace")?;
            ensure!(
                binding.role_ref.kind == "Role",
                "{namespace}/{} binds a cluster role",
                binding.name_any()
            );
            let roles = Api::<Role>::namespaced(client.clone(), &namespace);
            let of_role = roles.get(&binding.role_ref.name).await?.rules.unwrap_or_default();
            let named = of_role.iter().any(|rule| rule.resource_names.is_some());
            ensure!(
                !named || NAMED.contains(&&*namespace),
                "{namespace} has a rule with object names, which this test does not check there"
            );
            rules.extend(of_role);
        }
    }
    ensure!(!rules.is_empty(), "{account} has no rights");
    let names = rules.into_iter().flat_map(|rule| rule.resource_names).flatten();
    Ok(names.chain(documented.names(account).map(str::to_owned)).collect())
}
