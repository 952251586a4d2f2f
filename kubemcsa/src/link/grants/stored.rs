//! Reads the grants of a link from the source.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde_json::Value;

use super::{Grants, Names, binding_name, identity_binding_name};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list, object};

/// The grants of a link, as stored in the source.
#[derive(Clone, Debug)]
pub(crate) struct StoredGrants {
    /// `None`: the link has no RBAC objects.
    pub(crate) grants: Option<Grants>,
    pub(crate) objects: Vec<DynamicObject>,
}

impl StoredGrants {
    /// Whether there are both a binding to everything and Roles, so the intended grants are unknown.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.grants == Some(Grants::Everything) && self.objects.len() > 1
    }

    /// Adds the resource version that was read, so that applying the object fails if it changed since.
    pub(crate) fn with_resource_version(&self, object: &DynamicObject) -> DynamicObject {
        let reference = object::reference(object);
        let stored = self.objects.iter().find(|stored| object::reference(stored) == reference);
        let mut object = object.clone();
        object.metadata.resource_version = stored.and_then(|stored| stored.resource_version());
        object
    }

    /// The stored objects that are not `wanted`.
    pub(crate) fn obsolete<'a>(
        &'a self,
        wanted: &'a [DynamicObject],
    ) -> impl Iterator<Item = &'a DynamicObject> {
        let wanted: BTreeSet<_> = wanted.iter().map(object::reference).collect();
        self.objects.iter().filter(move |object| !wanted.contains(&object::reference(object)))
    }
}

/// Lists the objects by their name, which is the same in all namespaces.
pub(crate) async fn read(source: &Cluster, target: &str) -> Result<StoredGrants, CallError> {
    let name = binding_name(target);
    let identity_name = identity_binding_name(target);
    let (everything, identity, roles, bindings) = tokio::join!(
        list::by_name::<ClusterRoleBinding>(source, &name),
        list::by_name::<ClusterRoleBinding>(source, &identity_name),
        list::by_name::<Role>(source, &name),
        list::by_name::<RoleBinding>(source, &name),
    );
    let objects = [everything?, identity?, roles?, bindings?].concat();
    Ok(StoredGrants { grants: grants(&objects, target), objects })
}

fn grants(objects: &[DynamicObject], target: &str) -> Option<Grants> {
    let has_everything = |object: &DynamicObject| {
        object::kind(object) == "ClusterRoleBinding" && object.name_any() == binding_name(target)
    };
    if objects.iter().any(has_everything) {
        return Some(Grants::Everything);
    }
    if objects.is_empty() {
        return None;
    }
    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|it| object::kind(it) == "RoleBinding")
        .filter_map(|it| it.namespace())
        .collect();
    let roles = objects.iter().filter(|it| object::kind(it) == "Role");
    let granted = roles.filter_map(|role| Some((role.namespace()?, mintable(&role.data["rules"])?)));
    let granted = granted.filter(|(namespace, _)| bound.contains(namespace) && namespace != SYSTEM_NAMESPACE);
    Some(Grants::Only(granted.collect::<BTreeMap<_, _>>()))
}

/// The service accounts whose tokens can be minted with these rules.
fn mintable(rules: &Value) -> Option<Names> {
    let rules = rules.as_array()?.iter();
    let has = |rule: &Value, field: &str, value: &str| {
        rule[field].as_array().is_some_and(|values| values.iter().any(|it| it == value))
    };
    let mint_rules =
        rules.filter(|rule| has(rule, "resources", "serviceaccounts/token") && has(rule, "verbs", "create"));
    let mut all = BTreeSet::new();
    for rule in mint_rules {
        match rule["resourceNames"].as_array() {
            Some(names) if !names.is_empty() => {
                all.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => return Some(Names::All),
        }
    }
    (!all.is_empty()).then_some(Names::These(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::Grant;
    use rstest::rstest;

    #[rstest]
    #[case(&[])]
    #[case(&["a"])]
    #[case(&["a/x", "a/y", "b"])]
    fn grants_are_read_as_written(#[case] grants: &[&str]) {
        let parsed: Vec<Grant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let written: Grants = parsed.iter().collect();
        let objects = written.objects("c1").unwrap();
        assert_eq!(super::grants(&objects, "c1"), Some(written));
    }

    #[test]
    fn everything_is_one_cluster_role_binding() {
        let objects = Grants::Everything.objects("c1").unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(grants(&objects, "c1"), Some(Grants::Everything));
        assert_eq!(grants(&[], "c1"), None);
    }

    #[test]
    fn role_without_binding_grants_nothing() {
        let grant: Grant = "a".parse().unwrap();
        let mut objects = Grants::from_iter([&grant]).objects("c1").unwrap();
        objects.retain(|object| object::kind(object) != "RoleBinding");
        assert_eq!(grants(&objects, "c1"), Some(Grants::Only(BTreeMap::new())));
    }
}
