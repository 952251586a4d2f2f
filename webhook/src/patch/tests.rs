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

fn wanted(names: &[&str]) -> Wanted {
    Wanted { imports: names.iter().map(|name| import(name)).collect(), kubeconfig_env: false }
}

fn parse(pod: &Value) -> Pod<'_> {
    Pod::deserialize(pod).unwrap()
}

/// The pod after its patch, which must be a pod, and lack nothing.
fn patched(pod: &Value, wanted: &Wanted) -> Value {
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch(&parse(pod), wanted).unwrap()).unwrap();
    assert_eq!(patch(&parse(&after), wanted), Ok(Patch(Vec::new())), "twice is once");
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

/// Mounts above, below and beside the path of the import `a`.
fn around() -> Vec<Value> {
    let beside = ["/", "/var/run", MOUNT_ROOT, "/a"].map(str::to_owned);
    let below = ["a/below", "a/..", "ab", "A"].map(|end| format!("{MOUNT_ROOT}/{end}"));
    beside.iter().chain(&below).map(|path| data_mount(path)).collect()
}

#[rstest]
#[case::nothing_there(
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
#[case::users_own_stay(
    json!({
        "volumes": [{ "name": "data", "emptyDir": {} }],
        "containers": [{ "name": "main", "volumeMounts": [data_mount("/data")] }],
    }),
    json!({
        "volumes": [{ "name": "data", "emptyDir": {} }, volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [data_mount("/data"), mount("sai-a", "a")] }],
    })
)]
#[case::above_and_below_is_not_taken(
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
#[case::null_is_nothing(
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
#[case::our_volume_mounted_elsewhere_in_part(
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
#[case::all_there_as_the_api_server_stores_it(
    json!({
        "volumes": [{ "name": "sai-a", "secret": { "secretName": "a-token", "defaultMode": 420 } }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    }),
    json!({
        "volumes": [{ "name": "sai-a", "secret": { "secretName": "a-token", "defaultMode": 420 } }],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    })
)]
#[case::our_volume_as_its_maker_likes_it(
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
fn what_is_added(#[case] spec: Value, #[case] expected: Value) {
    assert_eq!(patched(&json!({ "spec": spec }), &wanted(&["a"]))["spec"], expected);
}

#[test]
fn the_patch_is_minimal() {
    let pod = json!({ "spec": {
        "volumes": [{ "name": "data", "emptyDir": {} }],
        "containers": [{ "name": "main" }, { "name": "other", "volumeMounts": [data_mount("/data")] }],
    } });
    let operations = patch(&parse(&pod), &wanted(&["b", "a"])).unwrap();
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
fn odd_pods(#[case] pod: Value) {
    patched(&pod, &wanted(&["a"]));
    assert_eq!(patch(&parse(&pod), &wanted(&[])), Ok(Patch(Vec::new())));
}
