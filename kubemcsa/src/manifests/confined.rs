//! Confines the importer to some namespaces: Roles in these replace its ClusterRole.

use std::collections::BTreeSet;

use anyhow::Context;
use kube::api::{DynamicObject, ListParams, TypeMeta};
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde_json::{Value, json};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};

/// Name of the ClusterRole with the importer's rights, of the Roles that replace it, and of their bindings.
pub(crate) const RIGHTS: &str = "multicluster-service-account-importer";

/// Name of the ClusterRole that a confined importer has, too: the rights to read policies and namespaces.
const POLICY_RIGHTS: &str = "multicluster-service-account-importer-policies";

/// The kinds of objects with the name [`RIGHTS`].
const KINDS: [&str; 4] = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// Confines the importer to these namespaces, unless the list is empty. It always gets a Role in the system namespace,
/// because links are there.
pub(crate) fn confine(
    objects: Vec<DynamicObject>,
    namespaces: &[String],
) -> anyhow::Result<Vec<DynamicObject>> {
    if namespaces.is_empty() {
        return Ok(objects);
    }
    let mut unique = BTreeSet::new();
    let named: Vec<&str> =
        namespaces.iter().map(String::as_str).filter(|name| unique.insert(*name)).collect();
    let mut served = named.clone();
    if unique.insert(SYSTEM_NAMESPACE) {
        served.push(SYSTEM_NAMESPACE);
    }
    let mut confined = Vec::new();
    for mut object in objects {
        match (object::kind(&object), object.name_any().as_str()) {
            ("ClusterRole", RIGHTS) => {
                confined.extend(served.iter().map(|namespace| in_namespace(&object, "Role", namespace)));
            }
            ("ClusterRoleBinding", RIGHTS) => {
                object.data["roleRef"]["kind"] = "Role".into();
                confined
                    .extend(served.iter().map(|namespace| in_namespace(&object, "RoleBinding", namespace)));
            }
            // The importer reads the labels of the namespaces that it serves.
            ("ClusterRole", POLICY_RIGHTS) => {
                let rules = object.data.get_mut("rules").and_then(Value::as_array_mut);
                let rules = rules.context("the importer's ClusterRole has no rules")?;
                for rule in rules.iter_mut().filter(|rule| rule["resources"] == json!(["namespaces"])) {
                    rule["resourceNames"] = json!(served);
                }
                confined.push(object);
            }
            ("Deployment", "importer") => {
                let args = object.data.pointer_mut("/spec/template/spec/containers/0/args");
                let args = args.and_then(Value::as_array_mut).context("the importer has no arguments")?;
                args.push(json!(format!("--namespaces={}", named.join(","))));
                confined.push(object);
            }
            _ => confined.push(object),
        }
    }
    Ok(confined)
}

/// A ClusterRole as a Role, or a ClusterRoleBinding as a RoleBinding, in one namespace.
fn in_namespace(object: &DynamicObject, kind: &str, namespace: &str) -> DynamicObject {
    let mut object = object.clone();
    if let Some(types) = &mut object.types {
        kind.clone_into(&mut types.kind);
    }
    object.metadata.namespace = Some(namespace.to_owned());
    object
}

/// The stored roles and bindings of the importer, confined or not.
pub(crate) async fn granted(cluster: &Cluster) -> Result<Vec<DynamicObject>, CallError> {
    let mut granted = Vec::new();
    let params = ListParams::default().fields(&format!("metadata.name={RIGHTS}"));
    for kind in KINDS {
        let types = TypeMeta { api_version: "rbac.authorization.k8s.io/v1".into(), kind: kind.into() };
        let example =
            DynamicObject { types: Some(types.clone()), metadata: Default::default(), data: Value::Null };
        let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &object::resource(&example));
        let doing = format!("list {}s called {RIGHTS}", object::words(kind));
        let listed = cluster.call(&doing, api.list(&params)).await?;
        // Items of a list have no kind.
        granted.extend(listed.into_iter().map(|it| DynamicObject { types: Some(types.clone()), ..it }));
    }
    Ok(granted)
}

/// Our roles and bindings that the installation no longer needs.
pub(crate) fn obsolete(granted: Vec<DynamicObject>, wanted: &[DynamicObject]) -> Vec<DynamicObject> {
    let key =
        |object: &DynamicObject| (object::kind(object).to_owned(), object.namespace(), object.name_any());
    let wanted: BTreeSet<_> = wanted.iter().map(key).collect();
    granted.into_iter().filter(|it| object::is_ours(it) && !wanted.contains(&key(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    fn titles(objects: &[DynamicObject]) -> Vec<String> {
        objects.iter().map(object::title).collect()
    }

    fn confined(namespaces: &[&str]) -> Vec<DynamicObject> {
        let namespaces: Vec<_> = namespaces.iter().map(ToString::to_string).collect();
        confine(manifests::objects().unwrap(), &namespaces).unwrap()
    }

    #[test]
    fn roles_replace_the_cluster_role() {
        let (all, confined) = (manifests::objects().unwrap(), confined(&["b", "a", "b"]));
        let (before, after) = (titles(&all), titles(&confined));
        let removed: Vec<_> = before.iter().filter(|title| !after.contains(title)).collect();
        assert_eq!(removed, [&format!("cluster role {RIGHTS}"), &format!("cluster role binding {RIGHTS}")]);
        let added: Vec<_> = after.iter().filter(|title| !before.contains(title)).cloned().collect();
        let in_each =
            |kind| ["b", "a", SYSTEM_NAMESPACE].map(|namespace| format!("{kind} {namespace}/{RIGHTS}"));
        assert_eq!(added, [in_each("role"), in_each("role binding")].concat());
        let find = |objects: &[DynamicObject], title: &str| {
            objects.iter().find(|object| object::title(object) == title).unwrap().clone()
        };
        let role = find(&confined, &format!("role a/{RIGHTS}"));
        let cluster_role = find(&all, &format!("cluster role {RIGHTS}"));
        assert_eq!(role.data, cluster_role.data);
        assert_eq!(role.metadata.labels, cluster_role.metadata.labels);
        let rules = |objects| find(objects, &format!("cluster role {POLICY_RIGHTS}")).data["rules"].clone();
        let mut expected = rules(&all);
        expected[1]["resourceNames"] = json!(["b", "a", SYSTEM_NAMESPACE]);
        assert_eq!(rules(&confined), expected);
        let binding = find(&confined, &format!("role binding a/{RIGHTS}")).data;
        assert_eq!(binding["roleRef"]["kind"], "Role");
        assert_eq!(
            binding["subjects"],
            find(&all, &format!("cluster role binding {RIGHTS}")).data["subjects"]
        );
        let importer = format!("deployment {SYSTEM_NAMESPACE}/importer");
        let args = |objects| {
            find(objects, &importer).data["spec"]["template"]["spec"]["containers"][0]["args"].clone()
        };
        let (args, mut expected) = (args(&confined), args(&all));
        expected.as_array_mut().unwrap().push("--namespaces=b,a".into());
        assert_eq!(args, expected);
    }

    #[test]
    fn system_namespace_is_always_included_and_no_namespace_means_all() {
        let named = titles(&confined(&["a", SYSTEM_NAMESPACE]));
        assert_eq!(named, titles(&confined(&["a"])));
        assert_eq!(titles(&confined(&[])), titles(&manifests::objects().unwrap()));
    }

    #[test]
    fn only_our_unwanted_objects_are_obsolete() {
        let mut granted: Vec<_> = [confined(&["a", "b"]), manifests::objects().unwrap()].concat();
        granted.retain(|object| object.name_any() == RIGHTS);
        let theirs = granted.iter_mut().find(|object| object.namespace().as_deref() == Some("b")).unwrap();
        theirs.metadata.labels = None;
        let obsolete = titles(&obsolete(granted, &confined(&["a"])));
        let expected = [
            format!("role binding b/{RIGHTS}"),
            format!("cluster role {RIGHTS}"),
            format!("cluster role binding {RIGHTS}"),
        ];
        assert_eq!(obsolete, expected);
    }
}
