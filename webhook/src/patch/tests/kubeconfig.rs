//! The variable `KUBECONFIG`.

use super::*;

const A: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/a/config";
const B: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/b/other";

/// `b` has its kubeconfig under another key, `c` has none.
fn requested() -> RequestedImports {
    let other = Import { kubeconfig: Some("other".into()), ..import("b") };
    let none = Import { kubeconfig: None, ..import("c") };
    RequestedImports { imports: vec![other, none, import("a")], kubeconfig_env: true }
}

/// A pod whose containers have all mounts, but not the variable.
fn pod(env: Option<Value>) -> Value {
    let mut container = json!({
        "name": "main", "volumeMounts": [mount("sai-b", "b"), mount("sai-c", "c"), mount("sai-a", "a")],
    });
    if let Some(env) = env {
        container["env"] = env;
    }
    json!({ "spec": {
        "volumes": [volume("sai-b", "b-token"), volume("sai-c", "c-token"), volume("sai-a", "a-token")],
        "initContainers": [container],
        "containers": [container, container],
        "ephemeralContainers": [container],
    } })
}

fn kubeconfig() -> Value {
    json!({ "name": "KUBECONFIG", "value": format!("{B}:{A}") })
}

#[rstest]
#[case::no_list(None, Some(json!([kubeconfig()])))]
#[case::null(Some(json!(null)), Some(json!([kubeconfig()])))]
#[case::empty_list(Some(json!([])), Some(json!([kubeconfig()])))]
#[case::other_variables_are_preserved(
    Some(json!([{ "name": "KUBECONFIG_TOO", "value": "x" }])),
    Some(json!([{ "name": "KUBECONFIG_TOO", "value": "x" }, kubeconfig()]))
)]
#[case::set(Some(json!([{ "name": "KUBECONFIG", "value": "/mine" }])), None)]
#[case::set_to_nothing(Some(json!([{ "name": "KUBECONFIG" }])), None)]
#[case::set_from_elsewhere(
    Some(json!([{ "name": "KUBECONFIG", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }])),
    None
)]
fn variable_is_added_unless_the_container_sets_it(
    #[case] env: Option<Value>,
    #[case] expected: Option<Value>,
) {
    let before = pod(env.clone());
    assert_eq!(patched(&before, &requested()), pod(expected.or(env)));
}

#[test]
fn variable_is_added_only_if_requested_and_a_kubeconfig_exists() {
    let not_requested = RequestedImports { kubeconfig_env: false, ..requested() };
    assert_eq!(patched(&pod(None), &not_requested), pod(None));
    let none = RequestedImports { imports: vec![requested().imports.remove(1)], ..requested() };
    assert_eq!(patched(&pod(None), &none), pod(None));
}

#[rstest]
#[case::none(json!({}), ":")]
#[case::null(json!({ "os": null, "nodeSelector": null, "affinity": null }), ":")]
#[case::linux(json!({ "os": { "name": "linux" } }), ":")]
#[case::windows(json!({ "os": { "name": "windows" } }), ";")]
#[case::node_selector(json!({ "nodeSelector": { "kubernetes.io/os": "windows", "a": "b" } }), ";")]
#[case::other_node_selector(json!({ "nodeSelector": { "a": "windows" } }), ":")]
#[case::affinity(affinity(json!([windows("In", &["windows"])])), ";")]
#[case::affinity_of_several(affinity(json!([windows("In", &["windows", "linux"])])), ":")]
#[case::affinity_to_others(affinity(json!([windows("NotIn", &["windows"])])), ":")]
#[case::any_of_two_terms(affinity(json!([windows("In", &["windows"]), { "matchExpressions": [{ "key": "a" }] }])), ":")]
#[case::term_that_matches_no_node(affinity(json!([{}, windows("In", &["windows"])])), ";")]
#[case::no_terms(affinity(json!([])), ":")]
fn paths_are_separated_as_the_operating_system_does(#[case] spec: Value, #[case] separator: &str) {
    let mut pod = pod(None);
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let after = patched(&pod, &requested());
    let expected = format!("{B}{separator}{A}");
    for (field, index) in [("initContainers", 0), ("containers", 1), ("ephemeralContainers", 0)] {
        assert_eq!(after["spec"][field][index]["env"][0]["value"], expected);
    }
}

fn affinity(terms: Value) -> Value {
    let required = json!({ "nodeSelectorTerms": terms });
    json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } } })
}

/// A term for nodes by their operating system.
fn windows(operator: &str, values: &[&str]) -> Value {
    let requirement = json!({ "key": "kubernetes.io/os", "operator": operator, "values": values });
    json!({ "matchExpressions": [{ "key": "a", "operator": "Exists" }, requirement] })
}
