//! Owners of objects, across clusters.
//!
//! A Kubernetes owner reference cannot name another cluster: the garbage collector would not find the owner, and
//! would delete the object. So an annotation holds the owner, and labels allow selecting objects by owner.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{ApiResource, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::contract::owner as names;
use crate::names::{label_value, short_hash};

/// The owner of an object: an object in any cluster.
///
/// Owners are compared by the UIDs of cluster and object. The other fields help to find it: names of clusters and API
/// versions may change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The name of the owner's cluster in the [`Clusters`](crate::clusters::Clusters) of the program that wrote this.
    /// A hint: the cluster may have another name now.
    pub cluster: String,
    /// The UID of the namespace `kube-system` in the owner's cluster.
    pub cluster_uid: String,
    /// The owner's API version, as the program that wrote this read it.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's namespace. `None` for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The owner's name.
    pub name: String,
    /// The owner's UID.
    pub uid: String,
}

impl Owner {
    /// This object as an owner. `cluster` is the name of its cluster, and `cluster_uid` the UID of the cluster's
    /// namespace `kube-system`.
    ///
    /// `None` if the object has no name or no UID, because it was not read from a cluster.
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

    /// Makes this the owner of an object, by labels and an annotation. Replaces a previous owner.
    pub fn apply_to(&self, object: &mut impl ResourceExt) {
        let labels = object.labels_mut();
        labels.insert(names::CLUSTER.into(), label(&self.cluster));
        labels.insert(names::NAME.into(), label(&self.name));
        labels.insert(names::UID.into(), label(&self.uid));
        match &self.namespace {
            Some(namespace) => drop(labels.insert(names::NAMESPACE.into(), label(namespace))),
            None => drop(labels.remove(names::NAMESPACE)),
        }
        // A struct of strings always serializes.
        let json = serde_json::to_string(self).unwrap_or_default();
        object.annotations_mut().insert(names::ANNOTATION.into(), json);
    }

    /// The owner of an object with this metadata.
    ///
    /// `None` if there is no valid annotation, or the UID label does not match it.
    pub fn from_metadata(meta: &ObjectMeta) -> Option<Self> {
        let text = meta.annotations.as_ref()?.get(names::ANNOTATION)?;
        let owner = parse(text).filter(|owner| {
            let uid = meta.labels.as_ref().and_then(|labels| labels.get(names::UID));
            uid.is_some_and(|uid| *uid == label(&owner.uid))
        });
        if owner.is_none() {
            warn(meta);
        }
        owner
    }

    /// Whether this is the owner of an object with this metadata.
    pub fn owns(&self, meta: &ObjectMeta) -> bool {
        Self::from_metadata(meta).is_some_and(|owner| owner == *self)
    }

    /// The owner's cluster, namespace and name. The cluster's name is the one that the writer used.
    pub fn key(&self) -> Key {
        Key::new(self.cluster.as_str(), self.namespace.as_deref(), &self.name)
    }

    /// Whether the owner has this group and kind, in any version.
    pub(super) fn is_a(&self, resource: &ApiResource) -> bool {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        group == resource.group && self.kind == resource.kind
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.cluster_uid == other.cluster_uid && self.uid == other.uid
    }
}

impl Eq for Owner {}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.cluster_uid, &self.uid).hash(state);
    }
}

/// A label selector for all objects with an owner.
pub(super) fn selector() -> &'static str {
    names::UID
}

/// A label selector for the objects whose owner may have this UID.
pub(super) fn selector_of(uid: &str) -> String {
    format!("{}={}", names::UID, label(uid))
}

fn parse(text: &str) -> Option<Owner> {
    let owner: Owner = serde_json::from_str(text).ok()?;
    let required =
        [&owner.cluster, &owner.cluster_uid, &owner.api_version, &owner.kind, &owner.name, &owner.uid];
    required.iter().all(|text| !text.is_empty()).then_some(owner)
}

/// Warns only once per process, since there may be many such objects.
fn warn(meta: &ObjectMeta) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        tracing::warn!(
            namespace,
            name,
            "the annotation {} is not a valid owner: ignoring it here and in other objects",
            names::ANNOTATION
        );
    }
}

/// Makes a valid label value. Names of clusters and of some objects may have characters that label values may not.
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
    fn an_applied_owner_is_read_back() {
        let (owner, mut child) = (owner(), ConfigMap::default());
        owner.apply_to(&mut child);
        let read = Owner::from_metadata(&child.metadata).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&owner).unwrap());
        assert_eq!(owner.key(), Key::new("c1", Some("default"), "a"));
        assert_eq!(child.labels()[names::NAMESPACE], "default");
        assert_eq!(selector_of(&owner.uid), format!("{}={}", names::UID, child.labels()[names::UID]));
    }

    #[test]
    fn a_second_owner_replaces_the_first() {
        let (mut other, mut child) = (owner(), ConfigMap::default());
        other.apply_to(&mut child);
        other.namespace = None;
        other.uid = "other".into();
        other.apply_to(&mut child);
        let read = Owner::from_metadata(&child.metadata).unwrap();
        assert_eq!((read.namespace, read.uid.as_str()), (None, "other"));
        assert!(!child.labels().contains_key(names::NAMESPACE));
    }

    #[rstest]
    #[case::same(|_: &mut Owner| {}, true)]
    #[case::renamed_cluster(|owner: &mut Owner| owner.cluster = "prod".into(), true)]
    #[case::another_version(|owner: &mut Owner| owner.api_version = "v2".into(), true)]
    #[case::another_object(|owner: &mut Owner| owner.uid = "other".into(), false)]
    #[case::another_cluster(|owner: &mut Owner| owner.cluster_uid = "other".into(), false)]
    fn an_owner_is_known_by_the_uids_of_cluster_and_object(
        #[case] change: fn(&mut Owner),
        #[case] is_owner: bool,
    ) {
        let (mut owner, mut child) = (owner(), ConfigMap::default());
        owner.apply_to(&mut child);
        change(&mut owner);
        assert_eq!(owner.owns(&child.metadata), is_owner);
        assert!(!owner.owns(&ObjectMeta::default()));
    }

    #[test]
    fn an_owner_of_any_version_has_the_kind() {
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
    fn an_invalid_annotation_is_no_owner(#[case] text: &str) {
        let mut child = ConfigMap::default();
        child.labels_mut().insert(names::UID.into(), "u".into());
        child.annotations_mut().insert(names::ANNOTATION.into(), text.into());
        assert_eq!(Owner::from_metadata(&child.metadata), None);
    }

    #[test]
    fn a_uid_label_that_does_not_match_is_no_owner() {
        let mut child = ConfigMap::default();
        owner().apply_to(&mut child);
        child.labels_mut().insert(names::UID.into(), "other".into());
        assert_eq!(Owner::from_metadata(&child.metadata), None);
        child.labels_mut().clear();
        assert_eq!(Owner::from_metadata(&child.metadata), None);
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
