//! The remote pod's spec.

use serde_json::{Map, Value};

use super::metadata::Strings;
use super::{label_keys, placement, token_volume};

/// Fields that are not copied.
const EXCLUDED: [&str; 11] = [
    // Name the virtual node, and a scheduler that the source may not have.
    "nodeName",
    "schedulerName",
    // The class may not exist in the source, whose admission sets all three.
    "priority",
    "priorityClassName",
    "preemptionPolicy",
    // The source's admission sets it from its RuntimeClass; other values are refused.
    "overhead",
    // The pod was admitted, and its group scheduled, at home.
    "schedulingGates",
    "schedulingGroup",
    "workloadRef",
    // Only accepted for pods that exist.
    "ephemeralContainers",
    // Their controllers write conditions of the home pod, so `mirror` evaluates them.
    "readinessGates",
];

/// The remote pod's spec. `labels` are those of the home pod.
pub(super) fn remote(home: &Map<String, Value>, labels: &Strings, cluster: &str) -> Map<String, Value> {
    let fields = home.iter().filter(|(field, _)| !EXCLUDED.contains(&field.as_str()));
    let mut spec: Map<_, _> = fields.map(|(field, value)| (field.clone(), value.clone())).collect();
    token_volume::remove(&mut spec);
    placement::remove_virtual_node(&mut spec, cluster);
    label_keys::separate(&mut spec, labels);
    spec
}
