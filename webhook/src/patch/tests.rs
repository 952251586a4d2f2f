use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rstest::rstest;

fn import(name: &str) -> Import {
    Import { name: name.to_owned(), secret: format!("{name}-token") }
}

fn imports(names: &[&str]) -> Vec<Import> {
    names.iter().map(|name| import(name)).collect()
}

fn parse(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

/// The pod after its patch, which must be a pod, and lack nothing.
fn patched(pod: &Value, imports: &[Import]) -> Value {
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch(&parse(pod), imports).unwrap()).unwrap();
    assert_eq!(patch(&parse(&after), imports), Ok(Patch(Vec::new())), "twice is once");
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
    json!({ "containers": [{ "name": "main", "volumeMounts": [data_mount("/var/run"), data_mount("/a/b")] }] }),
    json!({
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{
            "name": "main",
            "volumeMounts": [data_mount("/var/run"), data_mount("/a/b"), mount("sai-a", "a")],
        }],
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
fn what_is_added(#[case] spec: Value, #[case] expected: Value) {
    assert_eq!(patched(&json!({ "spec": spec }), &imports(&["a"]))["spec"], expected);
}

#[test]
fn the_patch_is_minimal() {
    let pod = parse(&json!({ "spec": {
        "volumes": [{ "name": "data", "emptyDir": {} }],
        "containers": [{ "name": "main" }, { "name": "other", "volumeMounts": [data_mount("/data")] }],
    } }));
    let operations = patch(&pod, &imports(&["b", "a"])).unwrap();
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
    patched(&pod, &imports(&["a"]));
    assert_eq!(patch(&parse(&pod), &[]), Ok(Patch(Vec::new())));
}

#[rstest]
#[case("/var/run/secrets/admiralty.io/serviceaccountimports/a")]
#[case("/var/run/secrets/admiralty.io/serviceaccountimports/a/")]
#[case("//var/run//secrets/admiralty.io/serviceaccountimports/a//")]
#[case("/var/run/secrets/admiralty.io/./serviceaccountimports/b/../a")]
#[case("/../var/run/secrets/admiralty.io/serviceaccountimports/a")]
#[case("var/run/secrets/admiralty.io/serviceaccountimports/a")]
fn a_taken_path(#[case] path: &str) {
    let pod = json!({ "spec": {
        "initContainers": [{ "name": "init" }],
        "containers": [{ "name": "main" }, { "name": "other", "volumeMounts": [data_mount(path)] }],
    } });
    let conflict = patch(&parse(&pod), &imports(&["a"])).unwrap_err();
    let [container, volume, import] = ["other", "data", "a"].map(str::to_owned);
    assert_eq!(conflict, Conflict::MountPath { container, path: path.to_owned(), volume, import });
    let message = conflict.to_string();
    assert!(["\"other\"", "\"data\"", path].iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn our_volume_at_our_path_in_another_spelling_is_ours() {
    let mount = json!({ "name": "sai-a", "mountPath": format!("{MOUNT_ROOT}//a/") });
    let pod = json!({ "spec": {
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount] }],
    } });
    assert_eq!(patched(&pod, &imports(&["a"])), pod);
}

#[rstest]
#[case(json!({ "name": "sai-a", "emptyDir": {} }))]
#[case(volume("sai-a", "other"))]
#[case(json!({ "name": "sai-a", "projected": { "sources": [{ "secret": { "name": "a-token" } }] } }))]
fn a_taken_volume_name(#[case] volume: Value) {
    let pod = json!({ "spec": { "volumes": [volume], "containers": [{ "name": "main" }] } });
    let conflict = patch(&parse(&pod), &imports(&["a"])).unwrap_err();
    let [volume, secret, import] = ["sai-a", "a-token", "a"].map(str::to_owned);
    assert_eq!(conflict, Conflict::Volume { volume, secret, import });
}

#[test]
fn what_a_user_wrote_makes_no_message_longer_than_it_must_be() {
    let long = "x\n".repeat(10_000);
    let mounts = json!([{ "name": long, "mountPath": format!("{}{MOUNT_ROOT}/a", "/".repeat(10_000)) }]);
    let pod = json!({ "spec": { "containers": [{ "name": long, "volumeMounts": mounts }] } });
    let message = patch(&parse(&pod), &imports(&["a"])).unwrap_err().to_string();
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
}

#[test]
fn names_that_agree_when_cut_get_two_volumes() {
    let (a, b) = (format!("{}a", "x".repeat(63)), format!("{}b", "x".repeat(63)));
    let pod = patched(
        &json!({ "spec": { "containers": [{ "name": "main" }] } }),
        &imports(&[&a, &b, "c.d", "c-d"]),
    );
    let volumes = parse(&pod).spec.unwrap().volumes.unwrap();
    let names: std::collections::BTreeSet<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.len() <= 63));
}

fn any_container() -> impl Strategy<Value = Value> {
    let mount =
        ("[a-z]{1,5}", "/[a-z/]{1,5}").prop_map(|(name, path)| json!({ "name": name, "mountPath": path }));
    ("[a-z]{1,5}", option::of(vec(mount, 0..3))).prop_map(|(name, mounts)| match mounts {
        Some(mounts) => json!({ "name": name, "volumeMounts": mounts }),
        None => json!({ "name": name }),
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let volume = "[a-z]{1,5}".prop_map(|name| json!({ "name": name, "emptyDir": {} }));
    let containers = || vec(any_container(), 0..4);
    (option::of(vec(volume, 0..3)), option::of(containers()), containers()).prop_map(
        |(volumes, init, main)| {
            let mut spec = json!({ "containers": main });
            for (field, value) in [("volumes", volumes), ("initContainers", init)] {
                if let Some(value) = value {
                    spec[field] = value.into();
                }
            }
            json!({ "spec": spec })
        },
    )
}

/// Whether `after` is `before` with items at the end of arrays and new arrays, and no other change.
fn only_added(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before.iter().zip(after).all(|(before, after)| only_added(before, after))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|after| only_added(value, after)))
        }
        (before, after) => before == after,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pod_gets_each_import_in_each_container(pod in any_pod(), names in vec("[a-z]{1,3}([.-][a-z]{1,70})?", 0..4)) {
        let mut names = names;
        names.sort();
        names.dedup();
        let imports: Vec<_> = names.iter().map(|name| import(name)).collect();
        let after = patched(&pod, &imports);
        prop_assert!(only_added(&pod, &after));
        let spec = parse(&after).spec.unwrap();
        let volumes = spec.volumes.clone().unwrap_or_default();
        for import in &imports {
            prop_assert!(volumes.contains(&import.volume()));
            for container in containers(&spec) {
                prop_assert!(container.mounts.unwrap_or_default().contains(&import.volume_mount()));
            }
        }
    }
}
