//! The fields of a pod that choose its node.

use mcsa_credentials::contract::launch::{NODE_LABEL, NODE_TAINT};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::List;
use crate::json::{Object, Text};

const EFFECT: &str = "NoSchedule";

/// The label of nodes with their operating system.
const OS_LABEL: &str = "kubernetes.io/os";

pub(super) const WINDOWS: &str = "windows";

/// Taints of a node that failed.
const FAILED: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The pod's operating system.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Os<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

/// The labels of nodes that the pod selects.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeLabels<'a> {
    /// [`OS_LABEL`].
    #[serde(borrow, rename = "kubernetes.io/os")]
    pub(super) os: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Toleration<'a> {
    /// Every key if empty.
    #[serde(borrow)]
    key: Text<'a>,
    /// `Equal` if empty.
    #[serde(borrow)]
    operator: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
    /// Every effect if empty.
    #[serde(borrow)]
    effect: Text<'a>,
    /// How long after the taint the pod is evicted. `None`: never.
    #[serde(rename = "tolerationSeconds")]
    seconds: Option<i64>,
}

impl Toleration<'_> {
    /// Whether this is about virtual nodes.
    pub(crate) fn is_of_virtual_nodes(&self) -> bool {
        &*self.key == NODE_TAINT
    }

    /// The taint of a failed node from which this has the pod evicted after the API server's default time.
    pub(crate) fn default_eviction(&self) -> Option<&str> {
        let is_default = (&*self.operator, &*self.effect, &*self.value, self.seconds)
            == ("Exists", "NoExecute", "", Some(300));
        Some(&*self.key).filter(|key| is_default && FAILED.contains(key))
    }

    /// Whether this tolerates the virtual node of a cluster by the key of its taint.
    ///
    /// A toleration of every taint does not count, although the scheduler accepts it: the launcher runs only pods that
    /// tolerate this taint by its key, and an admission policy lets it write no others (`manifests/policy.yaml`).
    pub(crate) fn tolerates(&self, cluster: &str) -> bool {
        let values = match &*self.operator {
            "Exists" => true,
            "" | "Equal" => &*self.value == cluster,
            // `Lt` and `Gt` compare numbers, and are not available everywhere.
            _ => false,
        };
        self.is_of_virtual_nodes() && values && matches!(&*self.effect, "" | EFFECT)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Affinity {
    pub(crate) node_affinity: Option<Object<NodeAffinity>>,
}

impl Affinity {
    /// Whether only nodes with this operating system match. Terms without requirements match no node.
    pub(super) fn requires_os(&self, os: &str) -> bool {
        let required = self.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let terms = required.into_iter().flat_map(NodeSelector::terms);
        let mut terms = terms.filter(|term| !term.is_empty()).peekable();
        terms.peek().is_some() && terms.all(|term| term.has_only(OS_LABEL, |value| value == os))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Option<NodeSelector>,
}

/// A node must match one of the terms. Kept as text: parsed, they take a hundred times the memory.
#[derive(Debug)]
pub(crate) struct NodeSelector(Box<RawValue>);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terms {
    node_selector_terms: List<NodeSelectorTerm>,
}

impl NodeSelector {
    /// Largest text, in bytes.
    const MAX_LENGTH: usize = 64 * 1024;

    pub(crate) fn terms(&self) -> impl Iterator<Item = NodeSelectorTerm> {
        // Never fails: the text was parsed before.
        let Object(terms) = serde_json::from_str::<Object<Terms>>(self.0.get()).unwrap_or_default();
        terms.node_selector_terms.into_iter().flatten().map(|term| term.0)
    }
}

impl<'de> Deserialize<'de> for NodeSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get().len() > Self::MAX_LENGTH {
            return Err(D::Error::custom(format_args!("it exceeds {} KiB", Self::MAX_LENGTH >> 10)));
        }
        serde_json::from_str::<Object<Terms>>(text.get()).map_err(D::Error::custom)?;
        Ok(Self(text))
    }
}

/// A node must match all requirements. Kept as JSON, because a term may be copied.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeSelectorTerm(pub(crate) Map<String, Value>);

impl NodeSelectorTerm {
    pub(crate) const EXPRESSIONS: &str = "matchExpressions";

    /// The requirements for labels; `None` for no list.
    pub(crate) fn expressions(&self) -> Option<&Vec<Value>> {
        self.0.get(Self::EXPRESSIONS)?.as_array()
    }

    /// Whether the term has no requirements. Such a term matches no node; it would match some with a requirement.
    pub(crate) fn is_empty(&self) -> bool {
        let fields = self.0.get("matchFields").and_then(Value::as_array);
        [self.expressions(), fields].into_iter().flatten().all(Vec::is_empty)
    }

    /// Whether the term matches only nodes of this cluster.
    pub(crate) fn is_home(&self) -> bool {
        self.requirements(NODE_LABEL, "DoesNotExist").next().is_some()
    }

    /// Whether the term matches only virtual nodes of these clusters.
    pub(crate) fn is_within(&self, clusters: &[String]) -> bool {
        self.has_only(NODE_LABEL, |value| clusters.iter().any(|cluster| value == cluster))
    }

    /// Whether the term matches only nodes whose label has one of these values.
    fn has_only(&self, label: &str, is_listed: impl Fn(&Value) -> bool) -> bool {
        let mut lists =
            self.requirements(label, "In").filter_map(|requirement| requirement["values"].as_array());
        lists.any(|values| !values.is_empty() && values.iter().all(&is_listed))
    }

    /// The requirements for a label.
    fn requirements(&self, label: &str, operator: &str) -> impl Iterator<Item = &Value> {
        let is_of_label = move |one: &&Value| one["key"] == label && one["operator"] == operator;
        self.expressions().into_iter().flatten().filter(is_of_label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({ "key": NODE_TAINT, "operator": "Equal", "value": "c2", "effect": "NoSchedule" }), true)]
    #[case(json!({ "key": NODE_TAINT, "value": "c2" }), true)]
    #[case(json!({ "key": NODE_TAINT, "operator": "Exists", "effect": null }), true)]
    #[case(json!({ "operator": "Exists" }), false)]
    #[case(json!({ "key": NODE_TAINT, "value": "c3" }), false)]
    #[case(json!({ "key": NODE_TAINT, "operator": "Exists", "effect": "NoExecute" }), false)]
    #[case(json!({ "key": "other", "operator": "Exists" }), false)]
    #[case(json!({ "value": "c2" }), false)]
    #[case(json!({}), false)]
    fn virtual_node_is_tolerated_by_the_key_of_its_taint(#[case] toleration: Value, #[case] expected: bool) {
        assert_eq!(Toleration::deserialize(&toleration).unwrap().tolerates("c2"), expected);
    }

    #[rstest]
    #[case::fits(60, true)]
    #[case::too_long(64, false)]
    fn length_of_node_affinity_is_limited(#[case] kib: usize, #[case] is_valid: bool) {
        let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "k".repeat(kib * 1024) }] }],
        } } });
        let affinity = Affinity::deserialize(&affinity);
        assert_eq!(affinity.is_ok(), is_valid, "{affinity:?}");
    }

    #[rstest]
    #[case::not_ready("node.kubernetes.io/not-ready", json!({}), true)]
    #[case::unreachable("node.kubernetes.io/unreachable", json!({ "value": "" }), true)]
    #[case::other_taint("node.kubernetes.io/disk-pressure", json!({}), false)]
    #[case::other_time("node.kubernetes.io/not-ready", json!({ "tolerationSeconds": 30 }), false)]
    #[case::no_time("node.kubernetes.io/not-ready", json!({ "tolerationSeconds": null }), false)]
    #[case::other_effect("node.kubernetes.io/not-ready", json!({ "effect": "" }), false)]
    #[case::other_operator("node.kubernetes.io/not-ready", json!({ "operator": "Equal" }), false)]
    fn only_the_api_servers_own_tolerations_are_default_evictions(
        #[case] key: &str,
        #[case] changes: Value,
        #[case] is_default: bool,
    ) {
        let mut toleration =
            json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
        toleration.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let toleration = Toleration::deserialize(&toleration).unwrap();
        assert_eq!(toleration.default_eviction(), is_default.then_some(key));
    }
}
