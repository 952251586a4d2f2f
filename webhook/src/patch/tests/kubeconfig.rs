//! The variable `KUBECONFIG`.

use super::*;

const A: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/a/config";
const B: &str = "/var/run/secrets/admiralty.io/serviceaccountimports/b/other";

/// `b` has its kubeconfig in another file, `c` has none.
fn wanted() -> Wanted {
    let other = Import { kubeconfig: Some("other".into()), ..import("b") };
    let none = Import { kubeconfig: None, ..import("c") };
    Wanted { imports: vec![other, none, import("a")], kubeconfig_env: true }
}

/// A pod whose containers lack nothing but the variable.
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
#[case::others_stay(
    Some(json!([{ "name": "KUBECONFIG_TOO", "value": "x" }])),
    Some(json!([{ "name": "KUBECONFIG_TOO", "value": "x" }, kubeconfig()]))
)]
#[case::set(Some(json!([{ "name": "KUBECONFIG", "value": "/mine" }])), None)]
#[case::set_to_nothing(Some(json!([{ "name": "KUBECONFIG" }])), None)]
#[case::set_from_elsewhere(
    Some(json!([{ "name": "KUBECONFIG", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }])),
    None
)]
fn in_each_container_that_does_not_set_it(#[case] env: Option<Value>, #[case] expected: Option<Value>) {
    let before = pod(env.clone());
    assert_eq!(patched(&before, &wanted()), pod(expected.or(env)));
}

#[test]
fn only_where_it_is_asked_for_and_there_is_one() {
    let unasked = Wanted { kubeconfig_env: false, ..wanted() };
    assert_eq!(patched(&pod(None), &unasked), pod(None));
    let none = Wanted { imports: vec![wanted().imports.remove(1)], ..wanted() };
    assert_eq!(patched(&pod(None), &none), pod(None));
}
