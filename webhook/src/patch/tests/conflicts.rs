//! What a pod has already, and is in the way, or is not.

use super::*;

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
    let conflict = patch(&parse(&pod), &wanted(&["a"])).unwrap_err();
    let [container, volume, import] = ["other", "data", "a"].map(str::to_owned);
    assert_eq!(
        conflict,
        Conflict::MountPath { container, path: path.to_owned(), volume, part: false, import }
    );
    let message = conflict.to_string();
    assert!(["\"other\"", "\"data\"", path].iter().all(|part| message.contains(part)), "{message}");
}

#[rstest]
#[case("sai-a", "subPath")]
#[case("sai-a", "subPathExpr")]
#[case("mine", "subPath")]
fn a_part_of_the_secret_is_in_the_way_of_all_of_it(#[case] volume: &str, #[case] field: &str) {
    let mut part = mount(volume, "a");
    part[field] = "token".into();
    let pod = json!({ "spec": {
        "volumes": [self::volume(volume, "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [part] }],
    } });
    let message = patch(&parse(&pod), &wanted(&["a"])).unwrap_err().to_string();
    assert!(message.contains(&format!("a subPath of volume {volume:?}")), "{message}");
}

#[test]
fn our_volume_at_our_path_in_another_spelling_is_ours() {
    let mount = json!({ "name": "sai-a", "mountPath": format!("{MOUNT_ROOT}//a/") });
    let pod = json!({ "spec": {
        "volumes": [volume("sai-a", "a-token")],
        "containers": [{ "name": "main", "volumeMounts": [mount] }],
    } });
    assert_eq!(patched(&pod, &wanted(&["a"])), pod);
}

#[rstest]
#[case(json!({ "name": "sai-a", "emptyDir": {} }))]
#[case(json!({ "name": "sai-a", "hostPath": { "path": "/var/run" } }))]
#[case(json!({ "name": "sai-a", "secret": { "secretName": "a-token", "items": [{ "key": "k", "path": "p" }] } }))]
#[case(volume("sai-a", "other"))]
#[case(json!({ "name": "sai-a", "projected": { "sources": [{ "secret": { "name": "a-token" } }] } }))]
fn a_taken_volume_name(#[case] volume: Value) {
    let pod = json!({ "spec": { "volumes": [volume], "containers": [{ "name": "main" }] } });
    let conflict = patch(&parse(&pod), &wanted(&["a"])).unwrap_err();
    let [volume, secret, import] = ["sai-a", "a-token", "a"].map(str::to_owned);
    assert_eq!(conflict, Conflict::Volume { volume, secret, import });
}

#[test]
fn what_a_user_wrote_makes_no_message_longer_than_it_must_be() {
    let long = "x\n".repeat(10_000);
    let mounts = json!([{ "name": long, "mountPath": format!("{}{MOUNT_ROOT}/a", "/".repeat(10_000)) }]);
    let pod = json!({ "spec": { "containers": [{ "name": long, "volumeMounts": mounts }] } });
    let message = patch(&parse(&pod), &wanted(&["a"])).unwrap_err().to_string();
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
}
