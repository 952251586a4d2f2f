//! What placed the home pod on its virtual node is removed; what is about the source's nodes stays.

use mcsa_credentials::contract::launch::{NODE_LABEL, NODE_TAINT, UNREACHABLE_TAINT};
use rstest::rstest;
use serde_json::{Value, json};

use super::forged_spec;

fn default_toleration(key: &str, seconds: i64) -> Value {
    json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds })
}

#[rstest]
#[case::node(json!({ "key": NODE_TAINT, "operator": "Equal", "value": "c2", "effect": "NoSchedule" }), false)]
#[case::unreachable_source(json!({ "key": UNREACHABLE_TAINT, "operator": "Exists" }), false)]
#[case::default_not_ready(default_toleration("node.kubernetes.io/not-ready", 300), false)]
#[case::default_unreachable(default_toleration("node.kubernetes.io/unreachable", 300), false)]
#[case::of_the_user(default_toleration("node.kubernetes.io/unreachable", 30), true)]
#[case::forever(json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" }), true)]
#[case::of_the_webhook(
    json!({ "key": "node.kubernetes.io/not-ready", "operator": "Equal", "effect": "NoExecute" }),
    false
)]
#[case::of_the_sources_nodes(json!({ "key": "gpu", "operator": "Exists" }), true)]
#[case::of_all_taints(json!({ "operator": "Exists" }), true)]
fn tolerations_of_virtual_nodes_are_removed(#[case] toleration: Value, #[case] is_kept: bool) {
    let spec = forged_spec(json!({ "tolerations": [toleration] }));
    assert_eq!(spec, if is_kept { json!({ "tolerations": [toleration] }) } else { json!({}) });
}

#[rstest]
#[case(json!({ NODE_LABEL: "c2" }), json!({}))]
#[case(json!({ "type": "virtual-kubelet", "kubernetes.io/hostname": "c2", "gpu": "yes" }), json!({ "gpu": "yes" }))]
#[case(json!({ "type": "fast" }), json!({ "type": "fast" }))]
#[case(json!({ "kubernetes.io/hostname": "n1" }), json!({ "kubernetes.io/hostname": "n1" }))]
fn node_selectors_of_the_virtual_node_are_removed(#[case] selector: Value, #[case] rest: Value) {
    let spec = forged_spec(json!({ "nodeSelector": selector }));
    assert_eq!(spec.get("nodeSelector").cloned().unwrap_or(json!({})), rest);
}

fn any_of(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({ "key": key, "operator": operator, "values": values })
}

fn term(requirements: &[Value]) -> Value {
    json!({ "matchExpressions": requirements })
}

fn gpu() -> Value {
    any_of("gpu", "In", &["yes"])
}

fn here() -> Value {
    any_of(NODE_LABEL, "In", &["c2", "c3"])
}

fn elsewhere() -> Value {
    any_of(NODE_LABEL, "In", &["c3"])
}

#[rstest]
#[case::only_the_cluster(vec![term(&[here()])], None)]
#[case::cluster_and_node(vec![term(&[here(), gpu()])], Some(vec![term(&[gpu()])]))]
#[case::only_nodes(vec![term(&[gpu()])], Some(vec![term(&[gpu()])]))]
#[case::another_cluster_or_node(vec![term(&[elsewhere()]), term(&[gpu()])], Some(vec![term(&[gpu()])]))]
#[case::this_cluster_or_node(vec![term(&[here()]), term(&[gpu()])], None)]
#[case::another_cluster(vec![term(&[elsewhere()])], None)]
#[case::not_another(vec![term(&[any_of(NODE_LABEL, "NotIn", &["c3"]), gpu()])], Some(vec![term(&[gpu()])]))]
#[case::any_cluster(vec![term(&[any_of(NODE_LABEL, "Exists", &[]), gpu()])], Some(vec![term(&[gpu()])]))]
#[case::no_cluster(
    vec![term(&[any_of(NODE_LABEL, "DoesNotExist", &[])]), term(&[here(), gpu()])],
    Some(vec![term(&[gpu()])])
)]
#[case::virtual_kubelets(vec![term(&[any_of("type", "In", &["virtual-kubelet"])])], None)]
#[case::no_virtual_kubelets(vec![term(&[any_of("type", "NotIn", &["virtual-kubelet"])]), term(&[here()])], None)]
#[case::hostname(vec![term(&[any_of("kubernetes.io/hostname", "In", &["c2", "n1"])])], None)]
#[case::hostname_of_the_source(
    vec![term(&[any_of("kubernetes.io/hostname", "NotIn", &["bad"])])],
    Some(vec![term(&[any_of("kubernetes.io/hostname", "NotIn", &["bad"])])])
)]
#[case::field(vec![json!({ "matchFields": [any_of("metadata.name", "In", &["c2"])] })], None)]
#[case::field_and_node(
    vec![json!({ "matchFields": [any_of("metadata.name", "In", &["c2"])], "matchExpressions": [gpu()] })],
    Some(vec![term(&[gpu()])])
)]
#[case::empty_terms_match_nothing(vec![json!({}), term(&[here(), gpu()])], Some(vec![term(&[gpu()])]))]
fn required_node_affinity_is_what_remains_for_nodes(
    #[case] terms: Vec<Value>,
    #[case] rest: Option<Vec<Value>>,
) {
    let spec = forged_spec(json!({ "affinity": { "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
    }}}));
    let expected = rest.map(|rest| {
        json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": rest },
        }}})
    });
    assert_eq!(spec, expected.unwrap_or(json!({})));
}

#[rstest]
#[case::cluster(term(&[here()]), None)]
#[case::another_cluster(term(&[elsewhere(), gpu()]), None)]
#[case::cluster_and_node(term(&[here(), gpu()]), Some(term(&[gpu()])))]
#[case::node(term(&[gpu()]), Some(term(&[gpu()])))]
fn preferred_node_affinity_is_what_remains_for_nodes(#[case] preference: Value, #[case] rest: Option<Value>) {
    let affinity = |preference: Value| {
        json!({ "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 3, "preference": preference }],
        }}})
    };
    assert_eq!(forged_spec(affinity(preference)), rest.map_or(json!({}), affinity));
}

#[test]
fn spreading_over_clusters_was_done_at_home() {
    let spec = |keys: &[&str]| {
        let terms: Vec<_> = keys.iter().map(|key| json!({ "topologyKey": key })).collect();
        let preferred: Vec<_> =
            terms.iter().map(|term| json!({ "weight": 1, "podAffinityTerm": term })).collect();
        let affinity = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": terms,
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        });
        json!({
            "topologySpreadConstraints": terms,
            "affinity": { "podAffinity": affinity, "podAntiAffinity": affinity },
        })
    };
    assert_eq!(forged_spec(spec(&[NODE_LABEL, "zone"])), spec(&["zone"]));
    assert_eq!(forged_spec(spec(&[NODE_LABEL])), json!({}));
}

#[test]
fn requirements_that_the_api_server_generated_are_removed() {
    let requirement = |key: &str, operator: &str, value: &str| any_of(key, operator, &[value]);
    let term = |generated: &[Value]| {
        let own = [requirement("tier", "In", "web"), requirement("team", "NotIn", "z")];
        let expressions = [&own, generated].concat();
        json!({
            "topologyKey": "zone", "matchLabelKeys": ["pod-template-hash"], "mismatchLabelKeys": ["team"],
            "labelSelector": { "matchLabels": { "app": "web" }, "matchExpressions": expressions },
        })
    };
    let spec = |term: Value| {
        json!({
            "topologySpreadConstraints": [term],
            "affinity": {
                "podAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1, "podAffinityTerm": term }],
                },
                "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] },
            },
        })
    };
    let generated = [requirement("pod-template-hash", "In", "abc"), requirement("team", "NotIn", "a")];
    let home = json!({
        "metadata": { "name": "p", "labels": { "pod-template-hash": "abc", "team": "a" } },
        "spec": spec(term(&generated)),
    });
    assert_eq!(super::forged(&home)["spec"], spec(term(&[])));
}
