//! Removes what placed the home pod on its virtual node. The rest is meant for the source's nodes, and stays.

use mcsa_credentials::contract::launch::{NODE_LABEL, NODE_TAINT, UNREACHABLE_TAINT};
use serde_json::{Map, Value};

use super::json::{change, remove_items, rows};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The label of virtual nodes of any make, and its value.
const TYPE_LABEL: (&str, &str) = ("type", "virtual-kubelet");
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
const NAME_FIELD: &str = "metadata.name";

/// The taints that each pod tolerates for five minutes, by the API server's admission.
const DEFAULT_TOLERATIONS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Removes tolerations, node selectors, affinity and topology spread constraints that concern the virtual node.
/// `cluster` is its name.
pub(super) fn remove_virtual_node(spec: &mut Map<String, Value>, cluster: &str) {
    remove_items(spec, "tolerations", is_of_virtual_nodes);
    remove_items(spec, "topologySpreadConstraints", spreads_over_clusters);
    change(spec, "nodeSelector", |labels| {
        labels.retain(|label, value| !names_virtual_node(label, value.as_str(), cluster));
    });
    change(spec, "affinity", |affinity| {
        change(affinity, "nodeAffinity", |affinity| node_affinity(affinity, cluster));
        for kind in ["podAffinity", "podAntiAffinity"] {
            change(affinity, kind, |affinity| {
                remove_items(affinity, REQUIRED, spreads_over_clusters);
                remove_items(affinity, PREFERRED, |preferred| {
                    preferred.get("podAffinityTerm").is_some_and(spreads_over_clusters)
                });
            });
        }
    });
}

fn is_of_virtual_nodes(toleration: &Value) -> bool {
    let text = |field| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
    let key = text("key");
    let seconds = toleration.get("tolerationSeconds").and_then(Value::as_i64);
    let is_default = || {
        DEFAULT_TOLERATIONS.contains(&key)
            && (text("effect"), text("value")) == ("NoExecute", "")
            // The webhook writes `Equal` without a time in place of the defaults. Users write `Exists`.
            && matches!((text("operator"), seconds), ("Exists", Some(300)) | ("Equal", None))
    };
    key == NODE_TAINT || key == UNREACHABLE_TAINT || is_default()
}

/// The scheduler at home has done so, and no node of the source has the label.
fn spreads_over_clusters(term: &Value) -> bool {
    term.get("topologyKey").and_then(Value::as_str) == Some(NODE_LABEL)
}

/// Whether a label with this value is about the virtual node. Labels of the cluster are in any case.
fn names_virtual_node(label: &str, value: Option<&str>, cluster: &str) -> bool {
    label == NODE_LABEL || value.is_some_and(|value| own_value(label, cluster) == Some(value))
}

/// The virtual node's value of a label or field that tells it from the source's nodes.
fn own_value<'a>(key: &str, cluster: &'a str) -> Option<&'a str> {
    match key {
        NODE_LABEL | HOSTNAME_LABEL | NAME_FIELD => Some(cluster),
        _ if key == TYPE_LABEL.0 => Some(TYPE_LABEL.1),
        _ => None,
    }
}

fn node_affinity(affinity: &mut Map<String, Value>, cluster: &str) {
    change(affinity, REQUIRED, |required| {
        let mut fulfilled = false;
        change_terms(required, "nodeSelectorTerms", |term| {
            let rest = rest_of_term(term, cluster);
            fulfilled |= rest == Rest::Fulfilled;
            rest == Rest::Remains
        });
        // One of the terms is enough.
        if fulfilled {
            required.clear();
        }
    });
    change_terms(affinity, PREFERRED, |preferred| {
        preferred.get_mut("preference").is_some_and(|term| rest_of_term(term, cluster) == Rest::Remains)
    });
}

/// Changes the items of a list, and keeps those for which `change` returns true.
fn change_terms(object: &mut Map<String, Value>, field: &str, mut change: impl FnMut(&mut Value) -> bool) {
    let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) else { return };
    list.retain_mut(|item| change(item));
    if list.is_empty() {
        object.remove(field);
    }
}

/// What remains of a requirement or a term for the source's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// The virtual node fulfills it.
    Fulfilled,
    /// The virtual node can't fulfill it.
    Impossible,
    /// It is about the source's nodes.
    Remains,
}

/// Removes the requirements that the virtual node fulfills. Their conjunction is the term. An empty term is never
/// fulfilled: Kubernetes has it match no node.
fn rest_of_term(term: &mut Value, cluster: &str) -> Rest {
    let Some(term) = term.as_object_mut() else { return Rest::Impossible };
    let (mut fulfilled, mut impossible) = (false, false);
    for field in ["matchExpressions", "matchFields"] {
        remove_items(term, field, |requirement| {
            let rest = rest_of_requirement(requirement, cluster);
            fulfilled |= rest == Rest::Fulfilled;
            impossible |= rest == Rest::Impossible;
            rest == Rest::Fulfilled
        });
    }
    let is_empty = term.values().all(|list| list.as_array().is_some_and(Vec::is_empty));
    match (impossible, is_empty) {
        (true, _) => Rest::Impossible,
        (false, false) => Rest::Remains,
        (false, true) if fulfilled => Rest::Fulfilled,
        (false, true) => Rest::Impossible,
    }
}

fn rest_of_requirement(requirement: &Value, cluster: &str) -> Rest {
    let text = |field| requirement.get(field).and_then(Value::as_str).unwrap_or_default();
    let (key, operator) = (text("key"), text("operator"));
    let Some(value) = own_value(key, cluster) else { return Rest::Remains };
    let has_value = rows(requirement.get("values")).any(|item| item.as_str() == Some(value));
    if key != NODE_LABEL && !has_value {
        return Rest::Remains;
    }
    let is_fulfilled = match operator {
        "In" => has_value,
        "NotIn" => !has_value,
        "DoesNotExist" | "Gt" | "Lt" => false,
        // The pod was bound to the virtual node, so an operator that is not known here was fulfilled.
        _ => true,
    };
    if is_fulfilled { Rest::Fulfilled } else { Rest::Impossible }
}
