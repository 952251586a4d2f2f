//! Computes the JSON patch that places a pod: a pure function of the pod and its placement.

use json_patch::Patch;
use mcsa_credentials::contract::launch::{NODE_LABEL, NODE_TAINT};
use serde_json::{Value, json};

use crate::patch_builder::PatchBuilder;
use crate::placement::Placement;
use crate::pod::{NodeSelectorTerm, Pod, Spec};

const TOLERATIONS: [&str; 2] = ["spec", "tolerations"];

const AFFINITY: [&str; 5] = [
    "spec",
    "affinity",
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
];

/// Computes the patch of a new pod. It adds a toleration of the virtual node of each cluster, and restricts the
/// required node affinity to these nodes, and to the nodes of this cluster if the pod may run at home. It changes only
/// the API server's default tolerations, and never permits a node that the pod's own affinity excludes.
///
/// A toleration of all virtual nodes would be shorter, but then only the affinity would keep the pod from others. The
/// affinity is needed as well, because the pod itself may tolerate every taint. Such a pod gets the tolerations, too,
/// because the launcher does not run it without them.
pub(crate) fn patch(pod: &Pod, placement: &Placement) -> Patch {
    let mut builder = PatchBuilder::default();
    let Some(spec) = &pod.spec else { return builder.build() };
    add_tolerations(&mut builder, spec, placement);
    if !placement.home && !placement.clusters.is_empty() {
        remove_default_evictions(&mut builder, spec);
    }
    restrict_affinity(&mut builder, spec, placement);
    builder.build()
}

fn add_tolerations(builder: &mut PatchBuilder, spec: &Spec, placement: &Placement) {
    let tolerates = |cluster: &&String| {
        spec.tolerations.iter().flatten().any(|toleration| toleration.0.tolerates(cluster))
    };
    let missing = placement.clusters.iter().filter(|cluster| !tolerates(cluster)).map(
        |cluster| json!({ "key": NODE_TAINT, "operator": "Equal", "value": cluster, "effect": "NoSchedule" }),
    );
    builder.append(&TOLERATIONS, spec.tolerations.is_some(), missing.collect());
}

/// Has the pod stay on a virtual node that fails, which it does while the launcher is down: the pod runs on. Without
/// this, it is evicted after five minutes. Other times are the user's own.
///
/// `Equal` matches these taints, which have no value, as `Exists` does. Users write `Exists`, so the launcher can tell
/// these tolerations from theirs, which are meant for the nodes of the source, too.
fn remove_default_evictions(builder: &mut PatchBuilder, spec: &Spec) {
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        if let Some(key) = toleration.default_eviction() {
            let endless = json!({ "key": key, "operator": "Equal", "effect": "NoExecute" });
            builder.replace(&TOLERATIONS, index, endless);
        }
    }
}

fn restrict_affinity(builder: &mut PatchBuilder, spec: &Spec, placement: &Placement) {
    let alternatives = alternatives(placement);
    let node_affinity = spec.affinity.as_ref().map(|affinity| affinity.node_affinity.as_ref());
    let missing = match node_affinity {
        None => 1,
        Some(None) => 2,
        Some(Some(node_affinity)) => match &node_affinity.required {
            None => 3,
            Some(required) => return restrict_terms(builder, required.terms(), placement, &alternatives),
        },
    };
    let terms =
        alternatives.into_iter().map(|alternative| restricted(&NodeSelectorTerm::default(), alternative));
    // Wrap the terms in the fields that the pod lacks.
    let value = AFFINITY[missing + 1..]
        .iter()
        .rev()
        .fold(terms.collect(), |value: Value, field| json!({ *field: value }));
    builder.set(&AFFINITY[..=missing], value);
}

/// A node must match one of the pod's terms, so each must be restricted. A term can't say "home or one of these
/// clusters", so it becomes two.
fn restrict_terms(
    builder: &mut PatchBuilder,
    terms: impl Iterator<Item = NodeSelectorTerm>,
    placement: &Placement,
    alternatives: &[Value],
) {
    let is_restricted =
        |term: &NodeSelectorTerm| (placement.home && term.is_home()) || term.is_within(&placement.clusters);
    let Some((first, others)) = alternatives.split_first() else { return };
    let mut copies = Vec::new();
    for (index, term) in terms.enumerate() {
        if term.is_empty() || is_restricted(&term) {
            continue;
        }
        let index = index.to_string();
        let path = [&AFFINITY[..], &[&index, NodeSelectorTerm::EXPRESSIONS]].concat();
        builder.append(&path, term.expressions().is_some(), vec![first.clone()]);
        copies.extend(others.iter().map(|other| restricted(&term, other.clone())));
    }
    builder.append(&AFFINITY, true, copies);
}

/// The requirements of which a node must match one.
fn alternatives(placement: &Placement) -> Vec<Value> {
    let Placement { home, clusters, .. } = placement;
    let at_home = home.then(|| json!({ "key": NODE_LABEL, "operator": "DoesNotExist" }));
    let elsewhere =
        (!clusters.is_empty()).then(|| json!({ "key": NODE_LABEL, "operator": "In", "values": clusters }));
    at_home.into_iter().chain(elsewhere).collect()
}

/// The term with one more requirement.
fn restricted(term: &NodeSelectorTerm, requirement: Value) -> Value {
    let mut expressions = term.expressions().cloned().unwrap_or_default();
    expressions.push(requirement);
    let mut restricted = term.0.clone();
    restricted.insert(NodeSelectorTerm::EXPRESSIONS.to_owned(), expressions.into());
    restricted.into()
}

#[cfg(test)]
mod tests;
