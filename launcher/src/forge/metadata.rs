//! Labels and annotations of the remote pod. They follow those of the home pod.
//!
//! Others write labels and annotations of the remote pod, too: the source's admission, its kubelets, its CNI. So an
//! annotation of the remote pod records the keys that were copied; all others are left alone. The managed fields would
//! say the same, but caches drop them, and a client that replaces the whole object takes them over.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ObjectMeta, PartialObjectMeta, PartialObjectMetaExt};
use mcsa_client::contract::owner;
use serde_json::{Map, Value, json};

use super::Destination;

/// Annotation of the remote pod: the copied keys, as `<labels>;<annotations>`, separated by commas. Neither character
/// occurs in a key.
pub(super) const COPIED_KEYS: &str = "multicluster.admiralty.io/copied-keys";

/// Keys that are not copied.
const EXCLUDED_KEYS: [&str; 4] = [
    // The source has its own history of `kubectl apply`, if any.
    "kubectl.kubernetes.io/last-applied-configuration",
    // By these, a ReplicaSet of the same Deployment in the source would adopt the pod, and delete one too many.
    "pod-template-hash",
    // By these, an Argo controller in the source would process the pod.
    "workflows.argoproj.io/completed",
    "workflows.argoproj.io/controller-instanceid",
];

/// Prefixes of keys that are not copied.
const EXCLUDED_PREFIXES: [&str; 4] = [
    // Ours have a meaning of their own in the source, which may be a target as well. Includes the owner annotation.
    "multicluster.admiralty.io/",
    // The owner is set by `Owner::apply_to`.
    "owner.multicluster.admiralty.io/",
    // The API server copies them from the node, so these are of the virtual node.
    "topology.kubernetes.io/",
    // A Kueue of the source would queue again what was admitted at home.
    "kueue.x-k8s.io/",
];

/// Labels or annotations.
pub(super) type Strings = BTreeMap<String, String>;

/// The strings of a JSON object.
pub(super) fn strings(object: Option<&Value>) -> Strings {
    let entries = object.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The remote pod's metadata.
pub(super) fn remote(name: &str, labels: &Strings, annotations: &Strings, to: &Destination<'_>) -> Value {
    let labels: Strings = owned(copied(labels));
    let mut annotations: Strings = owned(copied(annotations));
    let keys =
        Keys { labels: labels.keys().cloned().collect(), annotations: annotations.keys().cloned().collect() };
    if let Some(record) = keys.record() {
        annotations.insert(COPIED_KEYS.into(), record);
    }
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some(to.namespace.into()),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let mut object: PartialObjectMeta<Pod> = metadata.into_response_partial();
    to.owner.apply_to(&mut object);
    json!(object.metadata)
}

/// The JSON merge patch by which the remote pod's labels and annotations follow those of the home pod. `None` if they
/// do already.
///
/// A key that someone in the source set before the home pod had it is left alone, as all foreign keys are.
pub(crate) fn metadata_patch(home: &ObjectMeta, remote: &ObjectMeta) -> Option<Value> {
    let empty = Strings::new();
    let of = |map: &Option<Strings>| map.clone().unwrap_or_default();
    let remote_annotations = remote.annotations.as_ref().unwrap_or(&empty);
    let record = remote_annotations.get(COPIED_KEYS);
    let before = record.map(|record| Keys::parse(record)).unwrap_or_default();

    let (labels, label_keys) = follow(&of(&home.labels), &of(&remote.labels), &before.labels);
    let (mut annotations, annotation_keys) =
        follow(&of(&home.annotations), remote_annotations, &before.annotations);
    let new_record = Keys { labels: label_keys, annotations: annotation_keys }.record();
    if new_record.as_ref() != record {
        annotations.insert(COPIED_KEYS.into(), json!(new_record));
    }
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let mut metadata = Map::new();
    if let Some(uid) = &remote.uid {
        metadata.insert("uid".into(), json!(uid));
    }
    for (field, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            metadata.insert(field.into(), changes.into());
        }
    }
    Some(json!({ "metadata": metadata }))
}

/// The changes of the remote map, and the keys that are copied from now on.
fn follow(
    home: &Strings,
    remote: &Strings,
    before: &BTreeSet<String>,
) -> (Map<String, Value>, BTreeSet<String>) {
    let (mut changes, mut keys) = (Map::new(), BTreeSet::new());
    for (key, value) in copied(home) {
        let is_foreign = remote.contains_key(key) && !before.contains(key);
        if is_foreign {
            continue;
        }
        keys.insert(key.clone());
        if remote.get(key) != Some(value) {
            changes.insert(key.clone(), json!(value));
        }
    }
    let lost = before.iter().filter(|key| is_copied(key) && !keys.contains(*key));
    changes.extend(lost.filter(|key| remote.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    (changes, keys)
}

fn copied(home: &Strings) -> impl Iterator<Item = (&String, &String)> {
    home.iter().filter(|(key, _)| is_copied(key))
}

fn owned<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> Strings {
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn is_copied(key: &str) -> bool {
    key != owner::ANNOTATION
        && !EXCLUDED_KEYS.contains(&key)
        && !EXCLUDED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The keys of a remote pod that were copied from its home pod.
#[derive(Debug, Default, PartialEq, Eq)]
struct Keys {
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Keys {
    fn parse(record: &str) -> Self {
        let set = |list: &str| list.split(',').filter(|key| !key.is_empty()).map(Into::into).collect();
        let (labels, annotations) = record.split_once(';').unwrap_or((record, ""));
        Self { labels: set(labels), annotations: set(annotations) }
    }

    /// `None` if there are no keys.
    fn record(&self) -> Option<String> {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let record = format!("{};{}", list(&self.labels), list(&self.annotations));
        (record != ";").then_some(record)
    }
}
