//! Who owns an object, across clusters.
//!
//! An owner reference of Kubernetes can't name another cluster: its garbage collector would find no such owner,
//! and delete the object. So the owner is written in an annotation, whole, and in labels, to select by.

use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{ApiResource, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::contract::owner as names;
use crate::system::names::{label_value, short_hash};

/// Whom an object belongs to: an object in any cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The cluster's name in the set of whoever wrote this.
    pub cluster: String,
    /// The cluster's identity: the UID of its namespace `kube-system`.
    pub cluster_uid: String,
    /// The API version by which the owner was known.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's namespace, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The owner's name.
    pub name: String,
    /// The owner's UID.
    pub uid: String,
}

impl Owner {
    /// This object as an owner, which is in a cluster of that name and identity.
    ///
    /// `None` for one that was not read from a cluster: it has no name or no UID.
    pub fn new<K: Resource>(
        cluster: &str,
        cluster_uid: &str,
        object: &K,
        dyntype: &K::DynamicType,
    ) -> Option<Self> {
        let meta = object.meta();
        let owner = Self {
            cluster: cluster.to_owned(),
            cluster_uid: cluster_uid.to_owned(),
            api_version: K::api_version(dyntype).into_owned(),
            kind: K::kind(dyntype).into_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
        };
        Some(owner)
    }

    /// Writes the owner into an object that is to belong to it, in place of an earlier one.
    pub fn mark(&self, object: &mut impl ResourceExt) {
        let labels = object.labels_mut();
        labels.insert(names::CLUSTER.into(), label(&self.cluster));
        labels.insert(names::NAME.into(), label(&self.name));
        labels.insert(names::UID.into(), label(&self.uid));
        match &self.namespace {
            Some(namespace) => drop(labels.insert(names::NAMESPACE.into(), label(namespace))),
            None => drop(labels.remove(names::NAMESPACE)),
        }
        // It is made of strings alone, which can always be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        object.annotations_mut().insert(names::ANNOTATION.into(), json);
    }

    /// The owner that is written in an object.
    ///
    /// `None` where it can't be told for sure: annotation and label have to agree.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        let text = meta.annotations.as_ref()?.get(names::ANNOTATION)?;
        let owner = read(text).filter(|owner| {
            let uid = meta.labels.as_ref().and_then(|labels| labels.get(names::UID));
            uid.is_some_and(|uid| *uid == label(&owner.uid))
        });
        if owner.is_none() {
            warn(meta);
        }
        owner
    }

    /// The owner's name among all clusters.
    pub fn key(&self) -> Key {
        Key::new(self.cluster.as_str(), self.namespace.as_deref(), &self.name)
    }

    /// Whether the owner is of this group and kind, in whatever version.
    pub(super) fn is_a(&self, resource: &ApiResource) -> bool {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        group == resource.group && self.kind == resource.kind
    }
}

/// Selects all that says to belong to somebody.
pub(super) fn selector() -> &'static str {
    names::UID
}

/// Selects what may belong to the owner of this UID.
pub(super) fn selector_of(uid: &str) -> String {
    format!("{}={}", names::UID, label(uid))
}

fn read(text: &str) -> Option<Owner> {
    let owner: Owner = serde_json::from_str(text).ok()?;
    let needed =
        [&owner.cluster, &owner.cluster_uid, &owner.api_version, &owner.kind, &owner.name, &owner.uid];
    needed.iter().all(|text| !text.is_empty()).then_some(owner)
}

/// Once: whoever writes such annotations writes many.
fn warn(meta: &ObjectMeta) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        tracing::warn!(
            namespace,
            name,
            "the annotation {} names no owner; the object is left alone",
            names::ANNOTATION
        );
    }
}

/// Names of clusters, and of some kinds, may have characters that a label's value can't.
fn label(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_end = |c: char| c.is_ascii_alphanumeric();
    if text.chars().all(is_allowed) && text.starts_with(is_end) && text.ends_with(is_end) {
        return label_value(text);
    }
    let readable: String = text.chars().map(|c| if is_allowed(c) { c } else { '-' }).collect();
    let readable = readable.trim_start_matches(|c| !is_end(c));
    let readable = &readable[..readable.len().min(40)];
    format!("{readable}{}{}", if readable.is_empty() { "" } else { "-" }, short_hash(text.as_bytes(), 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use rstest::rstest;

    fn owner() -> Owner {
        let mut parent = ConfigMap::default();
        parent.metadata.namespace = Some("default".into());
        parent.metadata.name = Some("a".into());
        parent.metadata.uid = Some("11111111-2222-3333-4444-555555555555".into());
        Owner::new("c1", "cluster-uid", &parent, &()).unwrap()
    }

    #[test]
    fn what_is_marked_is_read_back() {
        let (owner, mut child) = (owner(), ConfigMap::default());
        owner.mark(&mut child);
        assert_eq!(Owner::of(&child.metadata), Some(owner.clone()));
        assert_eq!(owner.key(), Key::new("c1", Some("default"), "a"));
        assert_eq!(child.labels()[names::NAMESPACE], "default");
        assert_eq!(selector_of(&owner.uid), format!("{}={}", names::UID, child.labels()[names::UID]));
    }

    #[test]
    fn another_owner_takes_the_place_of_the_first() {
        let (mut other, mut child) = (owner(), ConfigMap::default());
        other.mark(&mut child);
        other.namespace = None;
        other.uid = "other".into();
        other.mark(&mut child);
        assert_eq!(Owner::of(&child.metadata), Some(other));
        assert!(!child.labels().contains_key(names::NAMESPACE));
    }

    #[test]
    fn any_version_of_a_kind_is_the_kind() {
        let resource = ApiResource::erase::<ConfigMap>(&());
        let mut owner = owner();
        assert!(owner.is_a(&resource));
        owner.api_version = "v2".into();
        assert!(owner.is_a(&resource));
        owner.api_version = "example.com/v1".into();
        assert!(!owner.is_a(&resource));
    }

    #[rstest]
    #[case("")]
    #[case("c1/default/a")]
    #[case("{}")]
    #[case(r#"{"cluster":"c1","clusterUid":"","apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"u"}"#)]
    #[case(r#"{"cluster":"c1","apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"u"}"#)]
    fn nonsense_names_no_owner(#[case] text: &str) {
        let mut child = ConfigMap::default();
        child.labels_mut().insert(names::UID.into(), "u".into());
        child.annotations_mut().insert(names::ANNOTATION.into(), text.into());
        assert_eq!(Owner::of(&child.metadata), None);
    }

    #[test]
    fn a_label_of_another_owner_is_nonsense() {
        let mut child = ConfigMap::default();
        owner().mark(&mut child);
        child.labels_mut().insert(names::UID.into(), "other".into());
        assert_eq!(Owner::of(&child.metadata), None);
        child.labels_mut().clear();
        assert_eq!(Owner::of(&child.metadata), None);
    }

    #[rstest]
    #[case("c1", "c1")]
    #[case("arn:aws:eks:eu-west-1:1:cluster/c1", "arn-aws-eks-eu-west-1-1-cluster-c1-")]
    #[case("-a", "a-")]
    #[case("ä", "")]
    fn labels_are_valid(#[case] text: &str, #[case] start: &str) {
        let label = label(text);
        assert!(label.starts_with(start) && label.len() <= 63, "{label}");
        assert!(label.starts_with(|c: char| c.is_ascii_alphanumeric()), "{label}");
        assert!(label.ends_with(|c: char| c.is_ascii_alphanumeric()), "{label}");
    }
}
