//! Labels, annotations, taints and cordon of a virtual node. Pure functions.
//!
//! They are written by merge patch with the resource version as the precondition, not by server-side apply: `taints`
//! is an atomic list, and the node lifecycle controller and `kubectl taint` write it, too. An apply would own the whole
//! list, and remove their taints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use mcsa_client::names::label_value;
use mcsa_credentials::contract::launch::{
    FIELD_MANAGER, NODE_CORDONED, NODE_LABEL, NODE_MANAGED_BY, NODE_TAINT, UNREACHABLE_TAINT,
};
use serde_json::{Map, Value, json};

use super::VirtualNode;
use super::health::Reachability;

/// Annotation that tells metrics-server the path of a node's usage.
const METRICS_PATH: &str = "metrics.k8s.io/resource-metrics-path";

const NO_SCHEDULE: &str = "NoSchedule";

/// Whether the launcher created this node.
pub(crate) fn is_ours(node: &Node) -> bool {
    node.annotations().get(NODE_MANAGED_BY).is_some_and(|value| value == FIELD_MANAGER)
}

/// A node that does not exist yet.
pub(crate) fn new(node: &VirtualNode, reachability: &Reachability) -> Node {
    let metadata = ObjectMeta {
        name: Some(node.name.clone()),
        labels: Some(labels(node).map(|(key, value)| (key.to_owned(), value)).into()),
        annotations: Some(
            [
                (NODE_MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned()),
                (METRICS_PATH.to_owned(), metrics_path(node)),
            ]
            .into(),
        ),
        ..Default::default()
    };
    let spec = NodeSpec { taints: Some(taints(&[], node, reachability)), ..Default::default() };
    Node { metadata, spec: Some(spec), status: None }
}

/// A merge patch that makes the node as desired. `None` if it is. Leaves alone what others wrote.
///
/// A node that `is_leaving` is cordoned. An administrator's cordon stays, also when the node stays.
pub(crate) fn patch(
    observed: &Node,
    node: &VirtualNode,
    reachability: &Reachability,
    is_leaving: bool,
) -> Option<Value> {
    let spec = observed.spec.clone().unwrap_or_default();
    let (known, mut annotations, mut changes) = (observed.annotations(), Map::new(), Map::new());
    let differs =
        |(key, value): &(&str, String)| observed.labels().get(*key).is_none_or(|known| known != value);
    let labels: BTreeMap<_, _> = labels(node).into_iter().filter(differs).collect();

    if known.get(METRICS_PATH) != Some(&metrics_path(node)) {
        annotations.insert(METRICS_PATH.into(), json!(metrics_path(node)));
    }
    let current = spec.taints.unwrap_or_default();
    let taints = taints(&current, node, reachability);
    if taints != current {
        changes.insert("taints".into(), json!(taints));
    }
    match (is_leaving, spec.unschedulable == Some(true), known.contains_key(NODE_CORDONED)) {
        (true, false, _) => {
            changes.insert("unschedulable".into(), json!(true));
            annotations.insert(NODE_CORDONED.into(), json!("true"));
        }
        (false, _, true) => {
            changes.insert("unschedulable".into(), Value::Null);
            annotations.insert(NODE_CORDONED.into(), Value::Null);
        }
        _ => {}
    }
    let is_desired = labels.is_empty() && annotations.is_empty() && changes.is_empty();
    (!is_desired).then(|| {
        json!({
            "metadata": {
                "uid": observed.uid(),
                "resourceVersion": observed.resource_version(),
                "labels": labels,
                "annotations": annotations,
            },
            "spec": changes,
        })
    })
}

/// Where the endpoint serves the usage of the node.
fn metrics_path(node: &VirtualNode) -> String {
    format!("/metrics/resource/{}", node.name)
}

/// A name that is longer than a label's value is shortened. The admission policy refuses such a node.
fn labels(node: &VirtualNode) -> [(&'static str, String); 6] {
    let name = label_value(&node.name);
    [
        (NODE_LABEL, name.clone()),
        // Charts of CNI plugins and kube-proxy avoid nodes with this label.
        ("type", "virtual-kubelet".into()),
        ("node.kubernetes.io/exclude-from-external-load-balancers", String::new()),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", node.platform.os.clone()),
        ("kubernetes.io/arch", node.platform.arch.clone()),
    ]
}

/// The taints of others, then ours.
fn taints(current: &[Taint], node: &VirtualNode, reachability: &Reachability) -> Vec<Taint> {
    let was_unreachable = current.iter().any(|taint| taint.key == UNREACHABLE_TAINT);
    let is_unreachable = match reachability {
        Reachability::Reachable => false,
        Reachability::Unreachable { .. } => true,
        Reachability::Unknown => was_unreachable,
    };
    let mut missing = vec![taint(NODE_TAINT, Some(label_value(&node.name)))];
    if is_unreachable {
        missing.push(taint(UNREACHABLE_TAINT, None));
    }
    let mut taints = Vec::new();
    for present in current {
        if let Some(index) = missing.iter().position(|ours| is_same(ours, present)) {
            missing.remove(index);
            taints.push(present.clone());
        } else if ![NODE_TAINT, UNREACHABLE_TAINT].contains(&present.key.as_str()) {
            taints.push(present.clone());
        }
    }
    taints.extend(missing);
    taints
}

fn taint(key: &str, value: Option<String>) -> Taint {
    Taint { key: key.into(), value, effect: NO_SCHEDULE.into(), time_added: None }
}

/// The API server may store an empty value for none.
fn is_same(one: &Taint, other: &Taint) -> bool {
    let value = |taint: &Taint| taint.value.clone().unwrap_or_default();
    one.key == other.key && one.effect == other.effect && value(one) == value(other)
}

#[cfg(test)]
mod tests;
