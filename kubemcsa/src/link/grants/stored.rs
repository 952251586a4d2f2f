//! The grants that a source has of a link.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DynamicObject, ListParams, ObjectList};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Grants, Names, binding_name, identity_binding_name};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list, object};

/// What there is of a link's grants.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What they amount to; none where the link was never given any.
    pub grants: Option<Grants>,
    /// The objects themselves.
    pub objects: Vec<DynamicObject>,
}

impl Stored {
    /// Whether there are both forms, the right to everything and Roles for some, so that nobody can tell which
    /// of them is meant.
    pub fn is_ambiguous(&self) -> bool {
        self.grants == Some(Grants::Everything) && self.objects.len() > 1
    }

    /// The object as it is to be written: over the one that was read, if there is one, and no other.
    pub fn at_its_version(&self, object: &DynamicObject) -> DynamicObject {
        let reference = object::reference(object);
        let before = self.objects.iter().find(|stored| object::reference(stored) == reference);
        let mut object = object.clone();
        object.metadata.resource_version = before.and_then(|stored| stored.resource_version());
        object
    }

    /// What of it is not among `wanted`.
    pub fn beyond<'a>(&'a self, wanted: &'a [DynamicObject]) -> impl Iterator<Item = &'a DynamicObject> {
        let wanted: BTreeSet<_> = wanted.iter().map(object::reference).collect();
        self.objects.iter().filter(move |object| !wanted.contains(&object::reference(object)))
    }
}

/// Reads them. They have one name, in whichever namespace they are.
///
/// # Errors
/// When the source can't be asked.
pub async fn stored(source: &Cluster, target: &str) -> Result<Stored, CallError> {
    let name = binding_name(target);
    let identity = identity_binding_name(target);
    let (everywhere, known, roles, bindings) = tokio::join!(
        named::<ClusterRoleBinding>(source, &name),
        named::<ClusterRoleBinding>(source, &identity),
        named::<Role>(source, &name),
        named::<RoleBinding>(source, &name),
    );
    let objects = [everywhere?, known?, roles?, bindings?].concat();
    Ok(Stored { grants: grants(&objects, target), objects })
}

async fn named<K>(source: &Cluster, name: &str) -> Result<Vec<DynamicObject>, CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let resource = kube::api::ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::all_with(source.client.clone(), &resource);
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let doing = format!("list the {}s of links", object::words(&K::kind(&())));
    let page =
        async |params: &ListParams| -> kube::Result<ObjectList<DynamicObject>> { api.list(params).await };
    let types = Some(list::types::<K>());
    let found = list::pages(source, &doing, params, page).await?;
    Ok(found.into_iter().map(|it| DynamicObject { types: types.clone(), ..it }).collect())
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
    let granted = roles.filter_map(|role| Some((role.namespace()?, minted(&role.data["rules"])?)));
    let elsewhere =
        granted.filter(|(namespace, _)| bound.contains(namespace) && namespace != SYSTEM_NAMESPACE);
    Some(Grants::Only(elsewhere.collect::<BTreeMap<_, _>>()))
}

/// The service accounts of which these rules let tokens be minted.
fn minted(rules: &Value) -> Option<Names> {
    let rules = rules.as_array()?.iter();
    let has = |rule: &Value, field: &str, value: &str| {
        rule[field].as_array().is_some_and(|values| values.iter().any(|it| it == value))
    };
    let minting =
        rules.filter(|rule| has(rule, "resources", "serviceaccounts/token") && has(rule, "verbs", "create"));
    let mut all = BTreeSet::new();
    for rule in minting {
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
    fn what_is_written_is_read(#[case] grants: &[&str]) {
        let named: Vec<Grant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let written: Grants = named.iter().collect();
        let objects = written.objects("c1").unwrap();
        assert_eq!(super::grants(&objects, "c1"), Some(written));
    }

    #[test]
    fn everything_is_one_binding() {
        let objects = Grants::Everything.objects("c1").unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(grants(&objects, "c1"), Some(Grants::Everything));
        assert_eq!(grants(&[], "c1"), None);
    }

    #[test]
    fn a_role_that_is_not_bound_grants_nothing() {
        let named: Grant = "a".parse().unwrap();
        let mut objects = Grants::from_iter([&named]).objects("c1").unwrap();
        objects.retain(|object| object::kind(object) != "RoleBinding");
        assert_eq!(grants(&objects, "c1"), Some(Grants::Only(BTreeMap::new())));
    }
}
