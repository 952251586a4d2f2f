mod conflicts;
mod debugging;
mod kubeconfig;
mod properties;

use super::*;
use rstest::rstest;
use serde::Deserialize;

fn import(name: &str) -> Import {
    Import { name: name.to_owned(), secret: format!("{name}-token"), kubeconfig: Some("config".into()) }
}

fn requested(names: &[&str]) -> RequestedImports {
    RequestedImports { imports: names.iter().map(|name| import(name)).collect(), kubeconfig_env: false }
}

fn parse(pod: &Value) -> Pod<'_> {
    Pod::deserialize(pod).unwrap()
}

/// The patched pod; checks that a second patch is empty.
fn patched(pod: &Value, requested: &RequestedImports) -> Value {
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch(&parse(pod), requested).unwrap()).unwrap();
    assert_eq!(patch(&parse(&after), requested), Ok(Patch(Vec::new())), "the patch is idempotent");
    after
}

fn volume(name: &str, secret: &str) -> Value {
    json!({ "name": name, "secret": { "secretName": secret } })
}

fn mount(volume: &str, import: &str) -> Value {
    let path = format!("/var/run/secrets/admiralty.io/serviceaccountimports/{import}");
    json!({ "name": volume, "mountPath": path, "readOnly": true })
}

fn data_mount(path: &str) -> Value {
    json!({ "name": "data", "mountPath": path })
}

/// Mounts at paths around the path of the import `a`.
fn around() -> Vec<Value> {
    let beside = ["/", "/var/run", MOUNT_ROOT, "/a"].map(str::to_owned);
    let below = ["a/below", "a/..", "ab", "A"].map(|end| format!("{MOUNT_ROOT}/{end}"));
    beside.iter().chain(&below).map(|path| data_mount(path)).collect()
}

#[rstest]
#[case::no_lists(
    json!({ "containers": [{ "name": "main" }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::empty_arrays(
    json!({ "volumes": [], "containers": [{ "name": "main", "volumeMounts": [] }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::own_volumes_are_preserved(
    json!({
        "volumes": [{ "name": "data", "emptyDir": {} }],
        "containers": [{ "name": "main", "volumeMounts": [data_mount("/data")] }],
    }),
    json!({
        "volumes": [{ "name": "data", "emptyDir": {} }, volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [data_mount("/data"), mount("sai-a", "a")] }],
    })
)]
#[case::mounts_at_parent_and_child_paths(
    json!({ "containers": [{ "name": "main", "volumeMounts": around() }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": ([around(), vec![mount("sai-a", "a")]].concat()) }],
    })
)]
#[case::every_kind_of_container(
    json!({
        "initContainers": [{ "name": "init" }, { "name": "sidecar", "restartPolicy": "Always" }],
        "containers": [{ "name": "main" }, { "name": "other" }],
        "ephemeralContainers": [{ "name": "debug" }],
    }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "initContainers": [
            { "name": "init", "volumeMounts": [mount("sai-a", "a")] },
            { "name": "sidecar", "restartPolicy": "Always", "volumeMounts": [mount("sai-a", "a")] },
        ],
        "containers": [
            { "name": "main", "volumeMounts": [mount("sai-a", "a")] },
            { "name": "other", "volumeMounts": [mount("sai-a", "a")] },
        ],
        "ephemeralContainers": [{ "name": "debug", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::another_webhook_added_a_container(
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }, { "name": "injected" }],
    }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [
            { "name": "main", "volumeMounts": [mount("sai-a", "a")] },
            { "name": "injected", "volumeMounts": [mount("sai-a", "a")] },
        ],
    })
)]
#[case::null_lists(
    json!({ "volumes": null, "initContainers": null, "containers": [{ "name": "main", "volumeMounts": null }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")], "initContainers": null,
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::the_same_secret_mounted_elsewhere(
    json!({
        "volumes": [volume("mine", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [{ "name": "mine", "mountPath": "/mine" }] }],
    }),
    json!({
        "volumes": [volume("mine", "a-token"), volume("sai-a", "a-token")],
        "containers": [{
            "name": "main", "volumeMounts": [{ "name": "mine", "mountPath": "/mine" }, mount("sai-a", "a")],
        }],
    })
)]
#[case::the_same_secret_mounted_here(
    json!({
        "volumes": [volume("mine", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount("mine", "a")] }, { "name": "other" }],
    }),
    json!({
        "volumes": [volume("mine", "a-token"), volume("sai-a", "a-token")],
        "containers": [
            { "name": "main", "volumeMounts": [mount("mine", "a")] },
            { "name": "other", "volumeMounts": [mount("sai-a", "a")] },
        ],
    })
)]
#[case::sub_path_of_the_volume_mounted_elsewhere(
    json!({ "containers": [{
        "name": "main", "volumeMounts": [{ "name": "sai-a", "mountPath": "/token", "subPath": "token" }],
    }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{
            "name": "main",
            "volumeMounts": [{ "name": "sai-a", "mountPath": "/token", "subPath": "token" }, mount("sai-a", "a")],
        }],
    })
)]
#[case::complete_as_stored_by_the_api_server(
    json!({
        "volumes": [{ "name": "sai-a", "secret": { "secretName": "a-token", "defaultMode": 420 } }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    }),
    json!({
        "volumes": [{ "name": "sai-a", "secret": { "secretName": "a-token", "defaultMode": 420 } }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::volume_with_other_options(
    json!({
        "volumes": [{
            "name": "sai-a",
            "secret": { "secretName": "a-token", "defaultMode": 256, "optional": true, "items": null },
        }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    }),
    json!({
        "volumes": [{
            "name": "sai-a",
            "secret": { "secretName": "a-token", "defaultMode": 256, "optional": true, "items": null },
        }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
fn volumes_and_mounts_are_added(#[case] spec: Value, #[case] expected: Value) {
    assert_eq!(patched(&json!({ "spec": spec }), &requested(&["a"]))["spec"], expected);
}

#[test]
fn patch_is_minimal() {
    let pod = json!({ "spec": {
        "volumes": [{ "name": "data", "emptyDir": {} }],
        "containers": [{ "name": "main" }, { "name": "other", "volumeMounts": [data_mount("/data")] }],
    } });
    let operations = patch(&parse(&pod), &requested(&["b", "a"])).unwrap();
    assert_eq!(
        json!(operations),
        json!([
            { "op": "add", "path": "/spec/volumes/-", "value": volume("sai-b", "b-token") },
            { "op": "add", "path": "/spec/volumes/-", "value": volume("sai-a", "a-token") },
            {
                "op": "add", "path": "/spec/containers/0/volumeMounts",
                "value": [mount("sai-b", "b"), mount("sai-a", "a")],
            },
            { "op": "add", "path": "/spec/containers/1/volumeMounts/-", "value": mount("sai-b", "b") },
            { "op": "add", "path": "/spec/containers/1/volumeMounts/-", "value": mount("sai-a", "a") },
        ])
    );
}

#[rstest]
#[case(json!({}))]
#[case(json!({ "spec": null }))]
#[case(json!({ "spec": { "containers": [] } }))]
fn pod_without_containers_is_accepted(#[case] pod: Value) {
    patched(&pod, &requested(&["a"]));
    assert_eq!(patch(&parse(&pod), &requested(&[])), Ok(Patch(Vec::new())));
}
