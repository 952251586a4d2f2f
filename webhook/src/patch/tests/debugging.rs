//! Ephemeral containers, which are added to a pod that runs.

use super::*;

fn stored(ephemeral: Value) -> Value {
    json!({ "spec": {
        "volumes": [volume("sai-a", "a-token"), volume("sai-b", "b-token")],
        "containers": [{ "name": "main" }],
        "ephemeralContainers": ephemeral,
    } })
}

/// The ephemeral containers after the patch, which touches nothing else.
fn patched(stored: &Value, ephemeral: Value, wanted: &Wanted) -> Value {
    let mut before = stored.clone();
    before["spec"]["ephemeralContainers"] = ephemeral;
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch_debugging(&parse(&before), &parse(stored), wanted)).unwrap();
    assert_eq!(patch_debugging(&parse(&after), &parse(stored), wanted), Patch(Vec::new()), "twice is once");
    let ephemeral = after["spec"]["ephemeralContainers"].take();
    before["spec"]["ephemeralContainers"].take();
    assert_eq!(after, before);
    ephemeral
}

fn kubeconfig(imports: &[&str]) -> Value {
    let files: Vec<_> = imports.iter().map(|import| format!("{MOUNT_ROOT}/{import}/config")).collect();
    json!({ "name": "KUBECONFIG", "value": files.join(":") })
}

fn asked(names: &[&str]) -> Wanted {
    Wanted { kubeconfig_env: true, ..wanted(names) }
}

#[rstest]
#[case::null(json!(null))]
#[case::no_other(json!([]))]
fn a_new_one_gets_what_the_pod_has(#[case] before: Value) {
    let expected = json!([{
        "name": "debug", "volumeMounts": [mount("sai-b", "b"), mount("sai-a", "a")], "env": [kubeconfig(&["b", "a"])],
    }]);
    // The pod has no volume of c, and can't have one any more.
    let wanted = asked(&["b", "c", "a"]);
    assert_eq!(patched(&stored(before), json!([{ "name": "debug" }]), &wanted), expected);
}

#[test]
fn an_old_one_stays_as_it_is() {
    let old = json!({ "name": "old" });
    let after = patched(&stored(json!([old])), json!([old, { "name": "new" }]), &wanted(&["a"]));
    assert_eq!(after, json!([old, { "name": "new", "volumeMounts": [mount("sai-a", "a")] }]));
}

#[test]
fn what_is_in_the_way_is_gone_around() {
    let taken = mount("data", "a");
    let after = patched(
        &stored(json!([])),
        json!([{ "name": "debug", "volumeMounts": [taken] }]),
        &asked(&["a", "b"]),
    );
    let expected = json!([{
        "name": "debug", "volumeMounts": [taken, mount("sai-b", "b")], "env": [kubeconfig(&["b"])],
    }]);
    assert_eq!(after, expected);
    let mut stored = stored(json!([]));
    stored["spec"]["volumes"][0] = json!({ "name": "sai-a", "emptyDir": {} });
    let after = patched(&stored, json!([{ "name": "debug" }]), &wanted(&["a"]));
    assert_eq!(after, json!([{ "name": "debug" }]), "not ours");
}

#[test]
fn who_mounts_it_himself_still_gets_the_variable() {
    let debug = json!({ "name": "debug", "volumeMounts": [mount("sai-a", "a")] });
    let after = patched(&stored(json!([])), json!([debug]), &asked(&["a"]));
    assert_eq!(after[0]["env"], json!([kubeconfig(&["a"])]));
    assert_eq!(after[0]["volumeMounts"], debug["volumeMounts"]);
}

#[test]
fn odd_pods() {
    for pod in [json!({}), json!({ "spec": null }), json!({ "spec": {} })] {
        assert_eq!(patch_debugging(&parse(&pod), &parse(&pod), &asked(&["a"])), Patch(Vec::new()));
    }
}
