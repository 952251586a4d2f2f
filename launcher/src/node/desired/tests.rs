use rstest::rstest;

use super::*;
use crate::node::Platform;
use crate::node::fake_target::merge;

fn node() -> VirtualNode {
    let endpoint = "10.0.0.7:10250".parse().unwrap();
    VirtualNode { name: "c2".into(), cluster_uid: "home-uid".into(), endpoint, platform: Platform::default() }
}

fn unreachable() -> Reachability {
    Reachability::Unreachable { reason: "SourceUnavailable", message: String::new() }
}

/// A stored node of ours, and these changes to its spec.
fn stored(spec: Value) -> Node {
    let mut stored = new(&node(), &Reachability::Unknown);
    stored.metadata.uid = Some("uid-1".into());
    stored.metadata.resource_version = Some("7".into());
    stored.spec = Some(serde_json::from_value(spec).unwrap());
    stored
}

fn own_taint() -> Value {
    json!({ "key": NODE_TAINT, "value": "c2", "effect": NO_SCHEDULE })
}

fn unreachable_taint() -> Value {
    json!({ "key": UNREACHABLE_TAINT, "effect": NO_SCHEDULE })
}

fn not_ready() -> Value {
    json!({ "key": "node.kubernetes.io/not-ready", "effect": NO_SCHEDULE })
}

/// The node after the patch, as the API server would store it.
fn patched(observed: &Node, reachability: &Reachability, is_leaving: bool) -> Option<Node> {
    let patch = patch(observed, &node(), reachability, is_leaving)?;
    assert_eq!(patch["metadata"]["uid"], "uid-1", "another node of this name is not changed");
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "taints of others are not overwritten");
    let mut value = serde_json::to_value(observed).unwrap();
    merge(&mut value, &patch);
    Some(serde_json::from_value(value).unwrap())
}

fn taints_of(node: &Node) -> Value {
    json!(node.spec.as_ref().unwrap().taints)
}

#[test]
fn new_node_is_ours_and_needs_no_patch() {
    let mut created = new(&node(), &unreachable());
    assert!(is_ours(&created) && !is_ours(&Node::default()));
    let labels: Vec<_> = created.labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "kubernetes.io/arch=amd64",
            "kubernetes.io/hostname=c2",
            "kubernetes.io/os=linux",
            "multicluster.admiralty.io/cluster=c2",
            "node.kubernetes.io/exclude-from-external-load-balancers=",
            "type=virtual-kubelet",
        ]
    );
    assert_eq!(taints_of(&created), json!([own_taint(), unreachable_taint()]));
    assert_eq!(patch(&created, &node(), &unreachable(), false), None);
    assert_eq!(created.annotations()[METRICS_PATH], "/metrics/resource/c2");
    created.annotations_mut().remove(METRICS_PATH);
    let restored = json!({ METRICS_PATH: "/metrics/resource/c2" });
    assert_eq!(patch(&created, &node(), &unreachable(), false).unwrap()["metadata"]["annotations"], restored);
    created.metadata.annotations = Some([(NODE_MANAGED_BY.into(), "someone".into())].into());
    assert!(!is_ours(&created));
}

#[rstest]
#[case::admission_adds_a_taint(json!([own_taint(), not_ready()]), Reachability::Reachable, None)]
#[case::others_are_first(json!([not_ready(), own_taint()]), Reachability::Reachable, None)]
#[case::own_taint_is_restored(
    json!([not_ready()]),
    Reachability::Reachable,
    Some(json!([not_ready(), own_taint()]))
)]
#[case::own_taint_is_corrected(
    json!([{ "key": NODE_TAINT, "value": "c3", "effect": "NoExecute" }, not_ready()]),
    Reachability::Reachable,
    Some(json!([not_ready(), own_taint()]))
)]
#[case::source_fails(
    json!([own_taint(), not_ready()]),
    unreachable(),
    Some(json!([own_taint(), not_ready(), unreachable_taint()]))
)]
#[case::source_returns(
    json!([own_taint(), unreachable_taint(), not_ready()]),
    Reachability::Reachable,
    Some(json!([own_taint(), not_ready()]))
)]
#[case::source_is_still_away(json!([own_taint(), unreachable_taint()]), unreachable(), None)]
#[case::unknown_keeps_the_taint(json!([own_taint(), unreachable_taint()]), Reachability::Unknown, None)]
#[case::unknown_adds_no_taint(json!([own_taint()]), Reachability::Unknown, None)]
fn own_taints_are_set_and_others_stay(
    #[case] current: Value,
    #[case] reachability: Reachability,
    #[case] expected: Option<Value>,
) {
    let patched = patched(&stored(json!({ "taints": current })), &reachability, false);
    assert_eq!(patched.map(|node| taints_of(&node)), expected);
}

#[test]
fn labels_are_restored_and_others_stay() {
    let mut observed = stored(json!({ "taints": [own_taint()] }));
    observed.labels_mut().remove("type");
    observed.labels_mut().insert("kubernetes.io/arch".into(), "arm64".into());
    observed.labels_mut().insert("pool".into(), "remote".into());
    let patched = patched(&observed, &Reachability::Reachable, false).unwrap();
    let mut expected = new(&node(), &Reachability::Reachable);
    expected.labels_mut().insert("pool".into(), "remote".into());
    assert_eq!(patched.labels(), expected.labels());
    assert_eq!(patched.spec, observed.spec);
}

#[rstest]
#[case::stays(false, false, false, None)]
#[case::administrator_cordoned_it(false, true, false, None)]
#[case::leaves(true, false, false, Some((true, true)))]
#[case::leaves_and_was_cordoned(true, true, false, None)]
#[case::still_leaves(true, true, true, None)]
#[case::was_uncordoned_while_it_leaves(true, false, true, Some((true, true)))]
#[case::an_import_returned(false, true, true, Some((false, false)))]
fn node_that_leaves_is_cordoned(
    #[case] is_leaving: bool,
    #[case] is_cordoned: bool,
    #[case] by_launcher: bool,
    #[case] expected: Option<(bool, bool)>,
) {
    let mut observed = stored(json!({ "taints": [own_taint()], "unschedulable": is_cordoned }));
    if by_launcher {
        observed.annotations_mut().insert(NODE_CORDONED.into(), "true".into());
    }
    let patched = patched(&observed, &Reachability::Unknown, is_leaving).map(|node| {
        let is_cordoned = node.spec.as_ref().unwrap().unschedulable.unwrap_or_default();
        (is_cordoned, node.annotations().contains_key(NODE_CORDONED))
    });
    assert_eq!(patched, expected);
}

#[test]
fn label_and_taint_of_a_long_name_are_shortened() {
    let name = "c".repeat(200);
    let created = new(&VirtualNode { name: name.clone(), ..node() }, &Reachability::Reachable);
    let value = &created.labels()[NODE_LABEL];
    assert_eq!((created.name_any(), value.len()), (name, 63));
    assert_eq!(taints_of(&created)[0]["value"], *value);
}
