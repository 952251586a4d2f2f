//! Volumes and mounts of the pod that conflict with imports, and some that do not.

use super::*;

#[rstest]
#[case("/var/run/secrets/admiralty.io/serviceaccountimports/a")]
#[case("/var/run/secrets/admiralty.io/serviceaccountimports/a/")]
#[case("//var/run//secrets/admiralty.io/serviceaccountimports/a//")]
#[case("/var/run/secrets/admiralty.io/./serviceaccountimports/b/../a")]
#[case("/../var/run/secrets/admiralty.io/serviceaccountimports/a")]
#[case("var/run/secrets/admiralty.io/serviceaccountimports/a")]
fn mount_at_the_path_is_a_conflict(#[case] path: &str) {
    let pod = json!({ "spec": {
        "initContainers": [{ "name": "init" }],
        "containers": [{ "name": "main" }, { "name": "other", "volumeMounts": [data_mount(path)] }],
    } });
    let conflict = patch(&parse(&pod), &requested(&["a"])).unwrap_err();
    let [container, volume, import] = ["other", "data", "a"].map(str::to_owned);
    assert_eq!(
        conflict,
        Conflict::MountPath { container, path: path.to_owned(), volume, sub_path: false, import }
    );
    let message = conflict.to_string();
    assert!(["\"other\"", "\"data\"", path].iter().all(|part| message.contains(part)), "{message}");
}

#[rstest]
#[case("sai-a", "subPath")]
#[case("sai-a", "subPathExpr")]
#[case("mine", "subPath")]
fn sub_path_at_the_path_is_a_conflict(#[case] volume: &str, #[case] field: &str) {
    let mut part = mount(volume, "a");
    part[field] = "token".into();
    let pod = json!({ "spec": {
        "volumes": [self::volume(volume, "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [part] }],
    } });
    let message = patch(&parse(&pod), &requested(&["a"])).unwrap_err().to_string();
    assert!(message.contains(&format!("a subPath of volume {volume:?}")), "{message}");
}

fn projected(name: &str, sources: Value) -> Value {
    json!({ "name": name, "projected": { "sources": sources } })
}

#[rstest]
#[case(volume("mine", "a-token"))]
#[case(projected("mine", json!([{ "secret": { "name": "a-token" } }])))]
#[case(projected("mine", json!([{ "secret": { "name": "a-token", "items": [], "optional": true } }])))]
fn volume_of_the_same_secret_is_accepted_at_the_path(#[case] mine: Value) {
    let pod = json!({ "spec": {
        "volumes": [volume("sai-a", "a-token"), mine],
        "containers": [{ "name": "main", "volumeMounts": [mount("mine", "a")] }],
    } });
    assert_eq!(patched(&pod, &requested(&["a"])), pod);
}

#[test]
fn projected_volume_with_the_name_is_accepted() {
    let pod = json!({ "spec": {
        "volumes": [projected("sai-a", json!([{ "secret": { "name": "a-token" } }]))],
        "containers": [{ "name": "main", "volumeMounts": [mount("sai-a", "a")] }],
    } });
    assert_eq!(patched(&pod, &requested(&["a"])), pod);
}

#[test]
fn mount_with_another_spelling_of_the_path_is_accepted() {
    let mount = json!({ "name": "sai-a", "mountPath": format!("{MOUNT_ROOT}//a/") });
    let pod = json!({ "spec": {
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount] }],
    } });
    assert_eq!(patched(&pod, &requested(&["a"])), pod);
}

#[rstest]
#[case(json!({ "name": "sai-a", "emptyDir": {} }))]
#[case(json!({ "name": "sai-a", "hostPath": { "path": "/var/run" } }))]
#[case(json!({ "name": "sai-a", "secret": { "secretName": "a-token", "items": [{ "key": "k", "path": "p" }] } }))]
#[case(volume("sai-a", "other"))]
#[case(projected("sai-a", json!([{ "secret": { "name": "other" } }])))]
#[case(projected("sai-a", json!([{ "secret": { "name": "a-token" } }, { "configMap": { "name": "c" } }])))]
#[case(projected("sai-a", json!([{ "secret": { "name": "a-token", "items": [{ "key": "k", "path": "p" }] } }])))]
#[case(projected("sai-a", json!([{ "configMap": { "name": "a-token" } }])))]
#[case(projected("sai-a", json!([])))]
#[case(projected("sai-a", json!(null)))]
fn other_volume_with_the_name_is_a_conflict(#[case] volume: Value) {
    let pod = json!({ "spec": { "volumes": [volume], "containers": [{ "name": "main" }] } });
    let conflict = patch(&parse(&pod), &requested(&["a"])).unwrap_err();
    let [volume, secret, import] = ["sai-a", "a-token", "a"].map(str::to_owned);
    assert_eq!(conflict, Conflict::Volume { volume, secret, import });
}

#[test]
fn message_with_long_user_input_is_short() {
    let long = "x\n".repeat(10_000);
    let mounts = json!([{ "name": long, "mountPath": format!("{}{MOUNT_ROOT}/a", "/".repeat(10_000)) }]);
    let pod = json!({ "spec": { "containers": [{ "name": long, "volumeMounts": mounts }] } });
    let message = patch(&parse(&pod), &requested(&["a"])).unwrap_err().to_string();
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
}

#[test]
fn imports_that_need_too_many_mounts_are_a_conflict() {
    let pod = |count: usize| json!({ "spec": { "containers": vec![json!({ "name": "c" }); count] } });
    let names: Vec<_> = (0..10).map(|index| format!("i{index}")).collect();
    let requested = requested(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(patch(&parse(&pod(MAX_MOUNTS / 10)), &requested).is_ok());
    let conflict = patch(&parse(&pod(MAX_MOUNTS / 10 + 1)), &requested).unwrap_err();
    assert_eq!(conflict, Conflict::TooManyMounts { imports: 10, containers: MAX_MOUNTS / 10 + 1 });
}
