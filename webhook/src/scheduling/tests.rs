mod properties;

use super::*;
use rstest::rstest;
use serde::Deserialize;

fn placement(home: bool, clusters: &[&str]) -> Placement {
    let clusters = clusters.iter().map(ToString::to_string).collect();
    Placement { home, clusters, ..Placement::default() }
}

/// The patched pod; checks that a second patch is empty.
fn patched(pod: &Value, placement: &Placement) -> Value {
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch(&Pod::deserialize(pod).unwrap(), placement)).unwrap();
    let again = patch(&Pod::deserialize(&after).unwrap(), placement);
    assert_eq!(again, Patch(Vec::new()), "the patch is idempotent");
    after
}

fn toleration(cluster: &str) -> Value {
    json!({ "key": NODE_TAINT, "operator": "Equal", "value": cluster, "effect": "NoSchedule" })
}

fn home() -> Value {
    json!({ "key": NODE_LABEL, "operator": "DoesNotExist" })
}

fn within(clusters: &[&str]) -> Value {
    json!({ "key": NODE_LABEL, "operator": "In", "values": clusters })
}

fn zone(zone: &str) -> Value {
    json!({ "key": "zone", "operator": "In", "values": [zone] })
}

fn term(expressions: &[Value]) -> Value {
    json!({ "matchExpressions": expressions })
}

fn required(terms: &[Value]) -> Value {
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } })
}

#[rstest]
#[case::elect(placement(true, &["c2", "c3"]), &["c2", "c3"], &[term(&[home()]), term(&[within(&["c2", "c3"])])])]
#[case::cluster(placement(false, &["c2"]), &["c2"], &[term(&[within(&["c2"])])])]
#[case::home(placement(true, &[]), &[], &[term(&[home()])])]
fn plain_pod_gets_tolerations_and_affinity(
    #[case] placement: Placement,
    #[case] clusters: &[&str],
    #[case] terms: &[Value],
) {
    for nothing in [json!({}), json!({ "tolerations": null, "affinity": null })] {
        let after = patched(&json!({ "spec": nothing }), &placement);
        let tolerations: Vec<_> = clusters.iter().map(|cluster| toleration(cluster)).collect();
        let tolerations =
            if tolerations.is_empty() { nothing["tolerations"].clone() } else { tolerations.into() };
        assert_eq!(
            (&after["spec"]["tolerations"], &after["spec"]["affinity"]),
            (&tolerations, &required(terms))
        );
    }
}

#[rstest]
#[case::no_node_affinity(json!({ "podAffinity": {} }))]
#[case::null(json!({ "podAffinity": {}, "nodeAffinity": null }))]
#[case::preferred(json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1 }] } }))]
#[case::null_required(json!({ "nodeAffinity": {
    "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1 }],
    "requiredDuringSchedulingIgnoredDuringExecution": null,
} }))]
fn other_affinity_is_kept(#[case] affinity: Value) {
    let after = patched(&json!({ "spec": { "affinity": affinity } }), &placement(false, &["c2"]));
    let mut expected = affinity;
    let ours = required(&[term(&[within(&["c2"])])])["nodeAffinity"].take();
    match expected["nodeAffinity"].as_object_mut() {
        Some(fields) => fields.extend(ours.as_object().unwrap().clone()),
        None => expected["nodeAffinity"] = ours,
    }
    assert_eq!(after["spec"]["affinity"], expected);
}

#[rstest]
#[case::each_term_is_doubled(
    &[term(&[zone("a")]), term(&[zone("b")])],
    &[
        term(&[zone("a"), home()]), term(&[zone("b"), home()]),
        term(&[zone("a"), within(&["c2", "c3"])]), term(&[zone("b"), within(&["c2", "c3"])]),
    ]
)]
#[case::fields_only(
    &[json!({ "matchFields": [zone("a")] })],
    &[
        json!({ "matchFields": [zone("a")], "matchExpressions": [home()] }),
        json!({ "matchFields": [zone("a")], "matchExpressions": [within(&["c2", "c3"])] }),
    ]
)]
#[case::null_expressions(
    &[json!({ "matchFields": [zone("a")], "matchExpressions": null })],
    &[
        json!({ "matchFields": [zone("a")], "matchExpressions": [home()] }),
        json!({ "matchFields": [zone("a")], "matchExpressions": [within(&["c2", "c3"])] }),
    ]
)]
#[case::term_that_matches_nothing(&[json!({}), term(&[])], &[json!({}), term(&[])])]
#[case::no_terms(&[], &[])]
#[case::one_of_the_clusters(&[term(&[zone("a"), within(&["c3"])])], &[term(&[zone("a"), within(&["c3"])])])]
#[case::home(&[term(&[home()])], &[term(&[home()])])]
#[case::other_cluster(
    &[term(&[within(&["c2", "c9"])])],
    &[term(&[within(&["c2", "c9"]), home()]), term(&[within(&["c2", "c9"]), within(&["c2", "c3"])])]
)]
fn own_terms_are_restricted(#[case] terms: &[Value], #[case] expected: &[Value]) {
    let after = patched(&json!({ "spec": { "affinity": required(terms) } }), &placement(true, &["c2", "c3"]));
    assert_eq!(after["spec"]["affinity"], required(expected));
}

#[rstest]
#[case::home(home())]
#[case::other_cluster(within(&["c3"]))]
fn term_of_other_nodes_matches_nothing_after(#[case] own: Value) {
    let pod = json!({ "spec": { "affinity": required(&[term(std::slice::from_ref(&own))]) } });
    let after = patched(&pod, &placement(false, &["c2"]));
    assert_eq!(after["spec"]["affinity"], required(&[term(&[own, within(&["c2"])])]));
}

#[test]
fn only_missing_tolerations_are_added() {
    let own = [toleration("c2"), json!({ "key": "other", "operator": "Exists" })];
    let pod = json!({ "spec": { "tolerations": own } });
    let after = patched(&pod, &placement(true, &["c2", "c3"]));
    assert_eq!(after["spec"]["tolerations"], json!([own[0], own[1], toleration("c3")]));
}

#[test]
fn pod_that_tolerates_every_taint_gets_the_toleration_that_the_launcher_requires() {
    let own = json!({ "operator": "Exists" });
    let pod = json!({ "spec": { "tolerations": [own] } });
    let after = patched(&pod, &placement(false, &["c2"]));
    assert_eq!(after["spec"]["tolerations"], json!([own, toleration("c2")]));
}

/// A toleration of a failed node.
fn failed(taint: &str, operator: &str, seconds: Option<u32>) -> Value {
    let key = format!("node.kubernetes.io/{taint}");
    let mut toleration = json!({ "key": key, "operator": operator, "effect": "NoExecute" });
    if let Some(seconds) = seconds {
        toleration["tolerationSeconds"] = seconds.into();
    }
    toleration
}

#[rstest]
#[case::cluster(placement(false, &["c2"]), "Equal", None)]
#[case::elect(placement(true, &["c2"]), "Exists", Some(300))]
#[case::home(placement(true, &[]), "Exists", Some(300))]
fn pod_of_another_cluster_stays_while_the_launcher_is_down(
    #[case] placement: Placement,
    #[case] operator: &str,
    #[case] seconds: Option<u32>,
) {
    let [not_ready, unreachable] = ["not-ready", "unreachable"];
    let own = [failed(not_ready, "Exists", Some(30)), failed(unreachable, "Exists", None)];
    let defaults = [not_ready, unreachable].map(|taint| failed(taint, "Exists", Some(300)));
    let pod = json!({ "spec": { "tolerations": [own[0], defaults[0], own[1], defaults[1]] } });
    let after = patched(&pod, &placement);
    let expected = [not_ready, unreachable].map(|taint| failed(taint, operator, seconds));
    let tolerations = &after["spec"]["tolerations"].as_array().unwrap()[..4];
    assert_eq!(tolerations, [&own[0], &expected[0], &own[1], &expected[1]].map(Value::clone));
}

#[test]
fn pod_without_spec_is_unchanged() {
    assert_eq!(patched(&json!({ "spec": null }), &placement(true, &["c2"])), json!({ "spec": null }));
}
