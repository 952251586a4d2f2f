//! Undoes what an API server does with `matchLabelKeys` and `mismatchLabelKeys` when a pod is created: it adds the
//! pod's labels to the selector beside. The source's API server does so again, and refuses a pod whose selector has
//! such a key already.

use serde_json::{Map, Value};

use super::json::{remove_items, rows};
use super::metadata::Strings;

/// Removes the generated requirements from the selectors of topology spread constraints and pod (anti-)affinity.
pub(super) fn separate(spec: &mut Map<String, Value>, labels: &Strings) {
    for constraint in items(spec.get_mut("topologySpreadConstraints")) {
        separate_term(constraint, labels);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.get_mut("affinity").and_then(|affinity| affinity.get_mut(kind)) else {
            continue;
        };
        for term in items(affinity.get_mut("requiredDuringSchedulingIgnoredDuringExecution")) {
            separate_term(term, labels);
        }
        for preferred in items(affinity.get_mut("preferredDuringSchedulingIgnoredDuringExecution")) {
            if let Some(term) = preferred.get_mut("podAffinityTerm") {
                separate_term(term, labels);
            }
        }
    }
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

fn separate_term(term: &mut Value, labels: &Strings) {
    let keys = |field| rows(term.get(field)).filter_map(|key| Some(key.as_str()?.to_owned())).collect();
    let (matched, mismatched): (Vec<String>, Vec<String>) =
        (keys("matchLabelKeys"), keys("mismatchLabelKeys"));
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    remove_items(selector, "matchExpressions", |requirement| {
        let text = |field| requirement.get(field).and_then(Value::as_str).unwrap_or_default();
        let (key, operator) = (text("key"), text("operator"));
        // A user may require more of a mismatched key, but nothing of a matched one.
        let is_own_label = || {
            let mut values = rows(requirement.get("values")).map(Value::as_str);
            values.next() == Some(labels.get(key).map(String::as_str)) && values.next().is_none()
        };
        (operator == "In" && matched.iter().any(|matched| matched == key))
            || (operator == "NotIn" && mismatched.iter().any(|other| other == key) && is_own_label())
    });
}
