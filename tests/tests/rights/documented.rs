//! Parses manifests/rights.md.

use anyhow::{Context, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::question::{Question, What};

/// The namespace of the RoleBinding that grants a right. `None`: a ClusterRoleBinding does.
type Namespace = Option<String>;

/// The documented rights of each service account.
pub struct DocumentedRights {
    accounts: Vec<(String, Vec<(Namespace, PolicyRule)>)>,
    /// The cluster roles that all service accounts have.
    roles: Vec<String>,
    /// The rules of these cluster roles, from [`Self::read_roles`].
    role_rules: Vec<PolicyRule>,
}

impl DocumentedRights {
    /// Reads the tables. Fails if a cell is empty.
    pub fn read() -> anyhow::Result<Self> {
        let mut rights = Self { accounts: Vec::new(), roles: Vec::new(), role_rules: Vec::new() };
        for line in include_str!("../../../manifests/rights.md").lines() {
            let heading = line.strip_prefix("## ").filter(|heading| !heading.contains(' '));
            rights.accounts.extend(heading.map(|account| (account.to_owned(), Vec::new())));
            let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else { continue };
            let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
            ensure!(cells.iter().all(|cell| !cell.is_empty()), "a cell is empty: {line}");
            match cells[..] {
                ["verbs" | "cluster role" | "---", ..] => {}
                [role, _why] => rights.roles.push(role.to_owned()),
                [verbs, resource, group, place, name, _why] => {
                    let (_, own) = rights.accounts.last_mut().context("a right without a service account")?;
                    own.push(right(verbs, resource, group, place, name));
                }
                _ => anyhow::bail!("a row of {} cells: {line}", cells.len()),
            }
        }
        ensure!(rights.accounts.iter().all(|(_, own)| !own.is_empty()), "a service account without rights");
        Ok(rights)
    }

    /// The rights of an importer that is confined to these namespaces. Those to read policies stay cluster-wide, and
    /// those to read namespaces are limited to these names.
    pub fn confined(mut self, namespaces: &[&str]) -> Self {
        self.accounts.retain(|(account, _)| account == "importer");
        let served: Vec<_> = namespaces.iter().chain(&[SYSTEM_NAMESPACE]).map(ToString::to_string).collect();
        let is_for =
            |rule: &PolicyRule, resource: &str| rule.resources.iter().flatten().any(|one| one == resource);
        for (_, rights) in &mut self.accounts {
            let is_confined = |(namespace, rule): &mut (Namespace, PolicyRule)| {
                namespace.is_none() && !is_for(rule, "importpolicies") && !is_for(rule, "namespaces")
            };
            let confined: Vec<_> = rights.extract_if(.., is_confined).collect();
            for (_, rule) in rights.iter_mut().filter(|(_, rule)| is_for(rule, "namespaces")) {
                rule.resource_names = Some(served.clone());
            }
            for namespace in &served {
                let in_namespace = |(_, rule): &(_, PolicyRule)| (Some(namespace.clone()), rule.clone());
                rights.extend(confined.iter().map(in_namespace));
            }
        }
        self
    }

    /// Reads the rules of the documented cluster roles from the cluster.
    pub async fn read_roles(&mut self, client: &Client) -> anyhow::Result<()> {
        let roles = Api::<ClusterRole>::all(client.clone());
        for role in &self.roles {
            self.role_rules.extend(roles.get(role).await?.rules.unwrap_or_default());
        }
        Ok(())
    }

    /// The service accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(|(name, _)| name.as_str())
    }

    /// The object names in an account's rights.
    pub fn names(&self, account: &str) -> impl Iterator<Item = &str> {
        let rules = self.rights(account).map(|(_, rule)| rule);
        rules.flat_map(|rule| rule.resource_names.iter().flatten()).map(String::as_str)
    }

    /// The non-resource URLs of the cluster roles.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.role_rules.iter().flat_map(|rule| rule.non_resource_urls.iter().flatten()).map(String::as_str)
    }

    /// Whether the documented rights allow this.
    pub fn allows(&self, question: &Question<'_>) -> bool {
        let own = self.rights(question.account).any(|(namespace, rule)| {
            let applies = namespace.as_ref().is_none_or(|namespace| question.is_in(namespace));
            applies && allows(rule, question)
        });
        own || self.role_rules.iter().any(|rule| allows(rule, question))
    }

    fn rights(&self, account: &str) -> impl Iterator<Item = &(Namespace, PolicyRule)> {
        let of = move |(name, _): &&(String, _)| name == account;
        self.accounts.iter().filter(of).flat_map(|(_, rights)| rights)
    }
}

fn right(verbs: &str, resource: &str, group: &str, place: &str, name: &str) -> (Namespace, PolicyRule) {
    let unless = |default: &str, value: &str| (value != default).then(|| value.to_owned());
    let rule = PolicyRule {
        verbs: verbs.split(", ").map(str::to_owned).collect(),
        resources: Some(vec![resource.to_owned()]),
        api_groups: Some(vec![unless("core", group).unwrap_or_default()]),
        resource_names: unless("any", name).map(|name| vec![name]),
        ..PolicyRule::default()
    };
    (unless("cluster-wide", place), rule)
}

/// Whether a rule allows it, as RBAC decides (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>).
fn allows(rule: &PolicyRule, question: &Question<'_>) -> bool {
    let has =
        |list: &Option<Vec<String>>, value: &str| list.iter().flatten().any(|one| one == "*" || one == value);
    let verb = rule.verbs.iter().any(|one| one == "*" || one == question.verb);
    verb && match question.what {
        What::Path(path) => rule.non_resource_urls.iter().flatten().any(|url| match url.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == url,
        }),
        What::Resource { group, resource, name, .. } => {
            let names = rule.resource_names.as_deref().unwrap_or_default();
            let named = names.is_empty() || name.is_some_and(|name| names.iter().any(|one| one == name));
            let any_with_subresource =
                resource.split_once('/').is_some_and(|(_, sub)| has(&rule.resources, &format!("*/{sub}")));
            named && has(&rule.api_groups, group) && (has(&rule.resources, resource) || any_with_subresource)
        }
    }
}
