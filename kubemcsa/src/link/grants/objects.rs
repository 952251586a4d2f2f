//! Grants as RBAC objects: a ClusterRoleBinding for everything, or a Role per namespace. With Roles, a link also needs
//! the rights to read the cluster's UID and to mint its own token.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::{Grants, Names};
use crate::cluster::object::{self, PART_OF};

/// Name of the ClusterRole of links that may import everything, and of the admission policy and its binding.
pub(crate) const LINK: &str = "multicluster-service-account-link";

/// Name of the ClusterRole of all other links.
const IDENTITY: &str = "multicluster-service-account-identity";

/// Name of the ClusterRoleBinding, Roles and RoleBindings with a link's grants.
pub(crate) fn binding_name(target: &str) -> String {
    format!("{LINK}-{target}")
}

/// Name of the ClusterRoleBinding that lets a link with limited grants read the cluster's UID.
pub(crate) fn identity_binding_name(target: &str) -> String {
    format!("{IDENTITY}-{target}")
}

impl Grants {
    /// The RBAC objects of `target`.
    pub(crate) fn objects(&self, target: &str) -> anyhow::Result<Vec<DynamicObject>> {
        let Self::Only(namespaces) = self else {
            return Ok(vec![cluster_binding(binding_name(target), LINK, target)?]);
        };
        let mut objects = vec![cluster_binding(identity_binding_name(target), IDENTITY, target)?];
        let own = vec![mint_rule(&Names::These([target.to_owned()].into()))];
        objects.extend(role_and_binding(SYSTEM_NAMESPACE, own, target)?);
        for (namespace, names) in namespaces {
            objects.extend(role_and_binding(namespace, vec![mint_rule(names), read_rule(names)], target)?);
        }
        Ok(objects)
    }
}

fn mint_rule(names: &Names) -> PolicyRule {
    rule("serviceaccounts/token", &["create"], names)
}

/// Lets the importer notice that a service account was recreated.
fn read_rule(names: &Names) -> PolicyRule {
    rule("serviceaccounts", &["get", "list", "watch"], names)
}

fn rule(resource: &str, verbs: &[&str], names: &Names) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: match names {
            Names::All => None,
            Names::These(names) => Some(names.iter().cloned().collect()),
        },
        ..Default::default()
    }
}

fn role_and_binding(
    namespace: &str,
    rules: Vec<PolicyRule>,
    target: &str,
) -> anyhow::Result<[DynamicObject; 2]> {
    let metadata = || ObjectMeta { namespace: Some(namespace.to_owned()), ..metadata(binding_name(target)) };
    let role = Role { metadata: metadata(), rules: Some(rules) };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: role_ref("Role", &binding_name(target)),
        subjects: Some(vec![subject(target)]),
    };
    Ok([object::dynamic(&role)?, object::dynamic(&binding)?])
}

fn cluster_binding(name: String, role: &str, target: &str) -> anyhow::Result<DynamicObject> {
    object::dynamic(&ClusterRoleBinding {
        metadata: metadata(name),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(vec![subject(target)]),
    })
}

fn metadata(name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some([(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned())].into()),
        ..Default::default()
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".into(), kind: kind.into(), name: name.into() }
}

fn subject(target: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: target.to_owned(),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        ..Default::default()
    }
}
