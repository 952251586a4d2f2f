//! The patch of a home pod's status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;
use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_POD, REMOTE_UID};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields that the patch replaces.
const ATOMIC: [&str; 10] = [
    "phase",
    "reason",
    "message",
    "startTime",
    "podIP",
    "hostIP",
    "resize",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];

/// Lists that a strategic merge patch merges by address unless it says otherwise.
const ADDRESSES: [&str; 2] = ["podIPs", "hostIPs"];

const CONDITIONS: &str = "conditions";

/// A strategic merge patch for a pod's subresource `status`: only in such a patch can conditions of others stay as they
/// are. It holds for the pod with the UID that it was computed from, and no other.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct StatusPatch(Value);

impl StatusPatch {
    /// The patch that makes the home pod's status this one, and records the remote pod. `None` if nothing differs.
    pub(super) fn new(home: &Pod, status: &PodStatus, remote: Option<&Pod>) -> Option<Self> {
        let changes = if home.status.as_ref() == Some(status) {
            Map::new()
        } else {
            changes(&object(&home.status), &object(status))
        };
        let annotations = remote.map(|remote| new_annotations(home, remote)).unwrap_or_default();
        if changes.is_empty() && annotations.is_empty() {
            return None;
        }
        let mut metadata = Map::new();
        if let Some(uid) = &home.metadata.uid {
            metadata.insert("uid".into(), json!(uid));
        }
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), json!(annotations));
        }
        let mut body = Map::new();
        body.insert("metadata".into(), metadata.into());
        if !changes.is_empty() {
            body.insert("status".into(), changes.into());
        }
        Some(Self(body.into()))
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &Value {
        &self.0
    }

    /// Whether the patch records the remote pod.
    pub(super) fn records(&self) -> bool {
        self.0.pointer("/metadata/annotations").is_some()
    }

    /// The patch without container statuses and addresses, for an API server that refuses those of the source. `None`:
    /// nothing else changes.
    pub(crate) fn essential(&self) -> Option<Self> {
        let mut body = self.0.clone();
        let status = body.get_mut("status")?.as_object_mut()?;
        let before = status.len();
        status.retain(|field, _| matches!(field.as_str(), "phase" | "reason" | "message" | "conditions"));
        (!status.is_empty() && status.len() < before).then_some(Self(body))
    }

    /// The phase, if the patch changes it.
    pub(super) fn phase(&self) -> Option<&str> {
        self.0.pointer("/status/phase")?.as_str()
    }

    /// The status of a condition, if the patch writes the condition.
    pub(super) fn condition(&self, type_: &str) -> Option<&str> {
        let conditions = self.0.pointer("/status/conditions")?.as_array()?;
        conditions.iter().find(|condition| condition["type"] == type_)?.get("status")?.as_str()
    }
}

/// `<namespace>/<name>`
pub(super) fn remote_pod(remote: &Pod) -> String {
    format!("{}/{}", remote.namespace().unwrap_or_default(), remote.name_any())
}

fn new_annotations(home: &Pod, remote: &Pod) -> BTreeMap<&'static str, String> {
    let (Some(uid), Some(home_uid)) = (&remote.metadata.uid, &home.metadata.uid) else {
        return BTreeMap::new();
    };
    let wanted = [(REMOTE_POD, remote_pod(remote)), (REMOTE_UID, uid.clone()), (HOME_UID, home_uid.clone())];
    wanted.into_iter().filter(|(key, value)| home.annotations().get(*key) != Some(value)).collect()
}

fn object(status: &impl Serialize) -> Map<String, Value> {
    match json!(status) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn changes(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut changes = Map::new();
    let changed = |field: &str| old.get(field) != new.get(field);
    for field in ATOMIC.into_iter().filter(|field| changed(field)) {
        changes.insert(field.into(), new.get(field).cloned().unwrap_or_default());
    }
    for field in ADDRESSES.into_iter().filter(|field| changed(field)) {
        let list = match new.get(field).and_then(Value::as_array) {
            Some(list) => [&[json!({ "$patch": "replace" })], list.as_slice()].concat().into(),
            None => Value::Null,
        };
        changes.insert(field.into(), list);
    }
    let conditions = condition_changes(old.get(CONDITIONS), new.get(CONDITIONS));
    if !conditions.is_empty() {
        changes.insert(CONDITIONS.into(), conditions.into());
    }
    changes
}

fn condition_changes(old: Option<&Value>, new: Option<&Value>) -> Vec<Value> {
    let list = |list: Option<&'_ Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    let find = |conditions: &[Value], type_: &Value| {
        conditions.iter().find(|condition| condition["type"] == *type_).cloned()
    };
    let removed = old.iter().filter(|condition| find(&new, &condition["type"]).is_none());
    let mut changes: Vec<_> =
        removed.map(|condition| json!({ "$patch": "delete", "type": condition["type"] })).collect();
    for condition in &new {
        let before = find(&old, &condition["type"]);
        if before.as_ref() == Some(condition) {
            continue;
        }
        // Fields are merged, so those that are no more must be removed.
        let mut change = condition.clone();
        for field in before.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if condition.get(field).is_none() {
                change[field] = Value::Null;
            }
        }
        changes.push(change);
    }
    changes
}
