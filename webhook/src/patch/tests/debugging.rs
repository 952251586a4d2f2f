//! Ephemeral containers, which are added to a running pod.

use super::*;

fn stored(ephemeral: Value) -> Value {
    json!({ "spec": {
        "volumes": [volume("sai-a", "a-token"), volume("sai-b", "b-token")],
        "containers": [{ "name": "main" }],
        "ephemeralContainers": ephemeral,
    } })
}

/// The patched ephemeral containers; checks that nothing else changes.
fn patched(stored: &Value, ephemeral: Value, requested: &RequestedImports) -> Value {
    let mut before = stored.clone();
    before["spec"]["ephemeralContainers"] = ephemeral;
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch_ephemeral_containers(&parse(&before), &parse(stored), requested))
        .unwrap();
    assert_eq!(
        patch_ephemeral_containers(&parse(&after), &parse(stored), requested),
        Patch(Vec::new()),
        "the patch is idempotent"
    );
    let ephemeral = after["spec"]["ephemeralContainers"].take();
    before["spec"]["ephemeralContainers"].take();
    assert_eq!(after, before);
    ephemeral
}

fn kubeconfig(imports: &[&str]) -> Value {
    let files: Vec<_> = imports.iter().map(|import| format!("{MOUNT_ROOT}/{import}/config")).collect();
    json!({ "name": "KUBECONFIG", "value": files.join(":") })
}

fn with_kubeconfig(names: &[&str]) -> RequestedImports {
    RequestedImports { kubeconfig_env: true, ..requested(names) }
}

#[rstest]
#[case::null(json!(null))]
#[case::no_other(json!([]))]
fn new_container_gets_the_volumes_of_the_pod(#[case] before: Value) {
    let expected = json!([{
        "name": "debug", "volumeMounts": [mount("sai-b", "b"), mount("sai-a", "a")], "env": [kubeconfig(&["b", "a"])],
    }]);
    // The pod has no volume for c, and can't get one.
    let requested = with_kubeconfig(&["b", "c", "a"]);
    assert_eq!(patched(&stored(before), json!([{ "name": "debug" }]), &requested), expected);
}

#[test]
fn existing_container_is_unchanged() {
    let old = json!({ "name": "old" });
    let after = patched(&stored(json!([old])), json!([old, { "name": "new" }]), &requested(&["a"]));
    assert_eq!(after, json!([old, { "name": "new", "volumeMounts": [mount("sai-a", "a")] }]));
}

#[test]
fn conflicting_imports_are_skipped() {
    let taken = mount("data", "a");
    let after = patched(
        &stored(json!([])),
        json!([{ "name": "debug", "volumeMounts": [taken] }]),
        &with_kubeconfig(&["a", "b"]),
    );
    let expected = json!([{
        "name": "debug", "volumeMounts": [taken, mount("sai-b", "b")], "env": [kubeconfig(&["b"])],
    }]);
    assert_eq!(after, expected);
    let mut stored = stored(json!([]));
    stored["spec"]["volumes"][0] = json!({ "name": "sai-a", "emptyDir": {} });
    let after = patched(&stored, json!([{ "name": "debug" }]), &requested(&["a"]));
    assert_eq!(after, json!([{ "name": "debug" }]), "the volume is not the Secret");
}

#[test]
fn container_with_its_own_mount_gets_the_variable() {
    let debug = json!({ "name": "debug", "volumeMounts": [mount("sai-a", "a")] });
    let after = patched(&stored(json!([])), json!([debug]), &with_kubeconfig(&["a"]));
    assert_eq!(after[0]["env"], json!([kubeconfig(&["a"])]));
    assert_eq!(after[0]["volumeMounts"], debug["volumeMounts"]);
}

#[test]
fn pod_without_containers_gets_nothing() {
    for pod in [json!({}), json!({ "spec": null }), json!({ "spec": {} })] {
        assert_eq!(
            patch_ephemeral_containers(&parse(&pod), &parse(&pod), &with_kubeconfig(&["a"])),
            Patch(Vec::new())
        );
    }
}

#[test]
fn imports_are_those_that_the_pod_has() {
    let own = json!({ "name": "KUBECONFIG", "value": "/mine" });
    let old = json!({ "name": "KUBECONFIG", "value": format!("{MOUNT_ROOT}/a/old:{MOUNT_ROOT}/ab/other") });
    let source = json!([{ "secret": { "name": "c-token" } }]);
    let stored = json!({ "spec": {
        "volumes": [
            volume("sai-b", "b-secret"),
            volume("sai-a", "a-secret"),
            { "name": "sai-c", "projected": { "sources": source } },
            { "name": "sai-d", "emptyDir": {} },
        ],
        "initContainers": [{ "name": "init", "env": [own] }],
        "containers": [{ "name": "main", "env": [{ "name": "A", "value": "b" }, old] }],
    } });
    let cached = |name: &str| (name != "c").then(|| Cow::from("cached"));
    let imports = stored_imports(&parse(&stored), &["c", "e", "d", "b", "a"], cached);
    let expected = |name: &str, secret: &str, kubeconfig: Option<&'static str>| Import {
        name: name.to_owned(),
        secret: secret.to_owned(),
        kubeconfig: kubeconfig.map(Into::into),
    };
    let [a, b] = [("a", "a-secret", "old"), ("b", "b-secret", "cached")]
        .map(|(name, secret, kubeconfig)| expected(name, secret, Some(kubeconfig)));
    assert_eq!(imports, [expected("c", "c-token", None), b, a]);
}

#[rstest]
#[case::windows(format!("C:/x;{MOUNT_ROOT}/a/k"), Some("k"))]
#[case::folder(format!("{MOUNT_ROOT}/a/"), None)]
#[case::below(format!("{MOUNT_ROOT}/a/b/c"), None)]
#[case::another_import(format!("{MOUNT_ROOT}/ab/c"), None)]
fn kubeconfig_of_a_stored_pod_is_that_of_its_variable(#[case] value: String, #[case] expected: Option<&str>) {
    let mut stored = stored(json!([{ "name": "old", "env": [{ "name": "KUBECONFIG", "value": value }] }]));
    stored["spec"]["volumes"] = json!([volume("sai-a", "a-token")]);
    let imports = stored_imports(&parse(&stored), &["a"], |_| None);
    assert_eq!(imports.len(), 1);
    assert_eq!(imports[0].kubeconfig.as_deref(), expected);
}
