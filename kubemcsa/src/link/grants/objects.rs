//! Grants as RBAC objects. Everything: a ClusterRoleBinding. Else a Role for each namespace, and what
//! every link needs that has no right to everything: to know the cluster, and to mint its own token.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::{Grants, Names};
use crate::cluster::object::{self, PART_OF};

/// Name of the ClusterRole of links that may import everything, of the admission policy, and of its
/// binding.
pub const LINK: &str = "multicluster-service-account-link";

/// Name of the ClusterRole of the others.
const IDENTITY: &str = "multicluster-service-account-identity";

/// Name of the ClusterRoleBinding, Roles and RoleBindings with a link's grants.
pub fn binding_name(target: &str) -> String {
    format!("{LINK}-{target}")
}

/// Name of the ClusterRoleBinding by which a link that may not import everything knows the cluster.
pub fn identity_binding_name(target: &str) -> String {
    format!("{IDENTITY}-{target}")
}

impl Grants {
    /// The objects by which `target` has these grants.
    ///
    /// # Errors
    /// Never, but for what serde could find.
    pub fn objects(&self, target: &str) -> anyhow::Result<Vec<DynamicObject>> {
        let Self::Only(namespaces) = self else {
            return Ok(vec![bound_everywhere(binding_name(target), LINK, target)?]);
        };
        let mut objects = vec![bound_everywhere(identity_binding_name(target), IDENTITY, target)?];
        let own = vec![mints(&Names::These([target.to_owned()].into()))];
        objects.extend(bound_in(SYSTEM_NAMESPACE, own, target)?);
        for (namespace, names) in namespaces {
            objects.extend(bound_in(namespace, vec![mints(names), reads(names)], target)?);
        }
        Ok(objects)
    }
}

fn mints(names: &Names) -> PolicyRule {
    rule("serviceaccounts/token", &["create"], names)
}

/// Notices that a service account was deleted and recreated.
fn reads(names: &Names) -> PolicyRule {
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

fn bound_in(namespace: &str, rules: Vec<PolicyRule>, target: &str) -> anyhow::Result<[DynamicObject; 2]> {
    let metadata = || ObjectMeta { namespace: Some(namespace.to_owned()), ..metadata(binding_name(target)) };
    let role = Role { metadata: metadata(), rules: Some(rules) };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: role_ref("Role", &binding_name(target)),
        subjects: Some(vec![subject(target)]),
    };
    Ok([object::dynamic(&role)?, object::dynamic(&binding)?])
}

fn bound_everywhere(name: String, role: &str, target: &str) -> anyhow::Result<DynamicObject> {
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
