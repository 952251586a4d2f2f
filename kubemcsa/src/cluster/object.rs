//! Dynamic objects and their names.

use anyhow::Context;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Resource, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::Serialize;

/// Label of all installed objects; its value is [`SYSTEM_NAMESPACE`].
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";

/// Converts a typed object.
pub(crate) fn dynamic(object: &impl Serialize) -> anyhow::Result<DynamicObject> {
    let value = serde_json::to_value(object).context("can't write an object as JSON")?;
    serde_json::from_value(value).context("can't read an object from JSON")
}

/// Parses the objects of an embedded YAML file.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let values: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).context("not YAML")?;
    values.into_iter().map(|value| serde_json::from_value(value).context("not an object")).collect()
}

/// The kind; empty if there is none.
pub(crate) fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// The Helm release that an object belongs to, for messages.
pub(crate) fn helm_release(object: &DynamicObject) -> Option<String> {
    let annotation = |name: &str| object.annotations().get(&format!("meta.helm.sh/{name}"));
    let (name, namespace) = annotation("release-name").zip(annotation("release-namespace"))?;
    Some(format!("release {name} in namespace {namespace}"))
}

/// Whether the object has the label of installed objects.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(PART_OF).is_some_and(|value| value == SYSTEM_NAMESPACE)
}

pub(crate) fn resource(object: &DynamicObject) -> ApiResource {
    let (group, version) = object
        .types
        .as_ref()
        .map(|types| types.api_version.split_once('/').unwrap_or(("", &types.api_version)))
        .unwrap_or_default();
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind(object)))
}

/// The object as kubectl prints it, with the flag to select its namespace: `role.rbac.authorization.k8s.io/a -n team`.
/// It can be pasted after `kubectl get`.
pub(crate) fn reference(object: &DynamicObject) -> String {
    reference_of(object, &resource(object))
}

/// [`reference()`] of a typed object.
pub(crate) fn reference_of<K: Resource>(object: &K, kind: &K::DynamicType) -> String {
    let group = Some(K::group(kind)).filter(|group| !group.is_empty());
    let group = group.map(|group| format!(".{group}")).unwrap_or_default();
    let namespace = object.namespace().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    format!("{}{group}/{}{namespace}", K::kind(kind).to_lowercase(), object.name_any())
}

/// The object in a sentence: `service account multicluster-service-account/c1`.
pub(crate) fn title(object: &DynamicObject) -> String {
    titled(kind(object), object.namespace().as_deref(), &object.name_any())
}

/// Like [`title`], for an object of which only kind, namespace and name are known.
pub(crate) fn titled(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let namespace = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {namespace}{name}", words(kind))
}

/// A kind as words: `service account`.
pub(crate) fn words(kind: &str) -> String {
    let mut words = String::new();
    for letter in kind.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("ServiceAccount", Some("kube-system"), "service account kube-system/x")]
    #[case("Namespace", None, "namespace x")]
    #[case("ValidatingAdmissionPolicy", None, "validating admission policy x")]
    fn title_has_the_kind_as_words(
        #[case] kind: &str,
        #[case] namespace: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(titled(kind, namespace, "x"), expected);
    }

    #[test]
    fn core_group_is_empty() {
        let objects = parse(
            "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\n\
             {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: b}}",
        )
        .unwrap();
        assert_eq!(
            (resource(&objects[0]).group.as_str(), resource(&objects[0]).version.as_str()),
            ("", "v1")
        );
        assert_eq!(resource(&objects[1]).group, "rbac.authorization.k8s.io");
        assert_eq!(resource(&objects[1]).plural, "clusterroles");
    }

    #[rstest]
    #[case("v1", "Namespace", "", "namespace/a")]
    #[case("v1", "Secret", "namespace: team", "secret/a -n team")]
    #[case("apps/v1", "Deployment", "namespace: team", "deployment.apps/a -n team")]
    #[case("rbac.authorization.k8s.io/v1", "ClusterRole", "", "clusterrole.rbac.authorization.k8s.io/a")]
    fn references_are_those_of_kubectl(
        #[case] version: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] expected: &str,
    ) {
        let text = format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: a, {namespace}}}}}");
        let object = parse(&text).unwrap().remove(0);
        assert_eq!(reference(&object), expected);
    }

    #[test]
    fn typed_object_has_the_same_reference() {
        let mut secret = k8s_openapi::api::core::v1::Secret::default();
        secret.metadata.name = Some("a".into());
        secret.metadata.namespace = Some("team".into());
        assert_eq!(reference_of(&secret, &()), "secret/a -n team");
    }
}
