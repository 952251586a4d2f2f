use kube::api::ObjectMeta;
use mcsa_client::contract::owner as names;
use mcsa_credentials::contract::launch::{ELECT, REMOTE_UID};
use rstest::rstest;

use super::*;

mod placement;
mod properties;

pub(super) fn owner() -> Owner {
    serde_json::from_value(json!({
        "cluster": "c1", "clusterUid": "cu", "apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": "p",
        "uid": "hu",
    }))
    .unwrap()
}

/// The remote pod in namespace `batch` of cluster `c2`.
pub(super) fn forged(home: &Value) -> Value {
    forge(home, &Destination { cluster: "c2", namespace: "batch", owner: &owner() }).unwrap()
}

pub(super) fn forged_spec(spec: Value) -> Value {
    forged(&json!({ "metadata": { "name": "p" }, "spec": spec }))["spec"].take()
}

fn home_metadata(labels: Value, annotations: Value) -> ObjectMeta {
    serde_json::from_value(json!({ "name": "p", "labels": labels, "annotations": annotations })).unwrap()
}

fn remote_metadata(home: &ObjectMeta) -> ObjectMeta {
    let remote = forged(&json!({ "metadata": home, "spec": {} }));
    serde_json::from_value(remote["metadata"].clone()).unwrap()
}

pub(super) fn patched(metadata: &ObjectMeta, patch: &Value) -> ObjectMeta {
    let mut object = json!({ "metadata": metadata });
    merge(&mut object, patch);
    serde_json::from_value(object["metadata"].take()).unwrap()
}

/// Applies a JSON merge patch (RFC 7396).
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *object = patch.clone() };
    if !object.is_object() {
        *object = json!({});
    }
    for (field, value) in patch {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(field)),
            value => merge(&mut object[field], value),
        }
    }
}

#[test]
fn remote_pod_keeps_what_the_user_wrote() {
    let spec = json!({
        "hostname": "h", "subdomain": "s", "serviceAccountName": "sa", "serviceAccount": "sa",
        "activeDeadlineSeconds": 7, "terminationGracePeriodSeconds": 3, "restartPolicy": "Never",
        "imagePullSecrets": [{ "name": "pull" }],
        "aFieldOfTheFuture": { "deep": [1, null, "x"] },
        "volumes": [{ "name": "v", "emptyDir": {} }],
        "initContainers": [{ "name": "sidecar", "restartPolicy": "Always", "image": "i" }],
        "containers": [{
            "name": "main", "image": "i", "resources": { "limits": { "cpu": "1" } },
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
        }],
        "tolerations": [{ "operator": "Exists" }],
        "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "kubernetes.io/hostname" }],
        "affinity": { "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "kubernetes.io/hostname" }],
        }},
    });
    assert_eq!(forged_spec(spec.clone()), spec);
}

#[test]
fn fields_of_the_home_cluster_are_dropped() {
    let home = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "team-a", "uid": "hu", "resourceVersion": "7", "generation": 2,
            "generateName": "p-", "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "x",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30,
            "ownerReferences": [{ "kind": "Job" }], "finalizers": ["f"], "managedFields": [{}],
        },
        "spec": {
            "nodeName": "c2", "schedulerName": "s", "priority": 1, "priorityClassName": "high",
            "preemptionPolicy": "Never", "overhead": { "cpu": "1" }, "schedulingGates": [{ "name": "g" }],
            "schedulingGroup": { "podGroupName": "g" }, "workloadRef": {}, "ephemeralContainers": [{ "name": "e" }],
            "readinessGates": [{ "conditionType": "t" }], "containers": [],
        },
        "status": { "phase": "Running" },
    });
    let remote = forged(&home);
    assert_eq!((&remote["apiVersion"], &remote["kind"]), (&json!("v1"), &json!("Pod")));
    assert_eq!(remote["spec"], json!({ "containers": [] }));
    assert_eq!(remote.get("status"), None);
    let mut metadata = remote["metadata"].as_object().unwrap().clone();
    metadata.remove("labels");
    metadata.remove("annotations");
    assert_eq!(Value::from(metadata), json!({ "name": "p", "namespace": "batch" }));
}

#[rstest]
#[case(json!({}), ForgeError::NoName)]
#[case(json!({ "metadata": { "name": "" }, "spec": {} }), ForgeError::NoName)]
#[case(json!({ "metadata": { "name": "p" } }), ForgeError::NoSpec)]
#[case(json!({ "metadata": { "name": "p" }, "spec": null }), ForgeError::NoSpec)]
fn object_that_is_no_pod_is_refused(#[case] home: Value, #[case] error: ForgeError) {
    let owner = owner();
    let to = Destination { cluster: "c2", namespace: "batch", owner: &owner };
    assert_eq!(forge(&home, &to), Err(error));
}

#[test]
fn home_pod_cannot_forge_its_owner() {
    let forgery =
        json!({ names::ANNOTATION: "{}", names::UID: "other", names::NAMESPACE: "kube-system", "a": "b" });
    let remote = remote_metadata(&home_metadata(forgery.clone(), forgery));
    assert!(owner().owns(&remote));
    assert_eq!(remote.labels.as_ref().unwrap()[names::NAMESPACE], "team-a");
    assert_eq!(remote.annotations.as_ref().unwrap().get(names::UID), None);
    assert_eq!(remote.annotations.as_ref().unwrap()["a"], "b");
}

#[rstest]
#[case("app", true)]
#[case("app.kubernetes.io/name", true)]
#[case("workflows.argoproj.io/workflow", true)]
#[case("workflows.argoproj.io/completed", false)]
#[case("workflows.argoproj.io/controller-instanceid", false)]
#[case("kubectl.kubernetes.io/last-applied-configuration", false)]
#[case("pod-template-hash", false)]
#[case("topology.kubernetes.io/zone", false)]
#[case("kueue.x-k8s.io/queue-name", false)]
#[case(ELECT, false)]
#[case(REMOTE_UID, false)]
fn keys_with_a_meaning_of_their_own_are_not_copied(#[case] key: &str, #[case] is_copied: bool) {
    let home = home_metadata(json!({ key: "v" }), json!({ key: "v" }));
    let remote = remote_metadata(&home);
    assert_eq!(remote.labels.as_ref().unwrap().contains_key(key), is_copied);
    assert_eq!(remote.annotations.as_ref().unwrap().contains_key(key), is_copied);
    assert_eq!(metadata_patch(&home, &remote), None);
}

#[test]
fn changes_of_the_home_pod_follow_and_foreign_keys_stay() {
    let home = home_metadata(json!({ "kept": "1", "changed": "1", "lost": "1" }), json!({ "lost": "1" }));
    let mut remote = remote_metadata(&home);
    remote.uid = Some("ru".into());
    for map in [&mut remote.labels, &mut remote.annotations] {
        map.as_mut().unwrap().insert("foreign".into(), "source".into());
    }
    let home =
        home_metadata(json!({ "kept": "1", "changed": "2", "foreign": "home" }), json!({ "new": "1" }));
    let patch = metadata_patch(&home, &remote).unwrap();
    let expected = json!({ "metadata": {
        "uid": "ru",
        "labels": { "changed": "2", "lost": null },
        "annotations": { "lost": null, "new": "1", "multicluster.admiralty.io/copied-keys": "changed,kept;new" },
    }});
    assert_eq!(patch, expected);
    assert_eq!(metadata_patch(&home, &patched(&remote, &patch)), None);
}

#[test]
fn without_a_record_nothing_in_the_remote_pod_is_ours() {
    let remote = home_metadata(json!({ "app": "other" }), json!({}));
    assert_eq!(metadata_patch(&home_metadata(json!({ "app": "web" }), json!({})), &remote), None);
    assert_eq!(metadata_patch(&home_metadata(json!({}), json!({})), &remote), None);
}

#[test]
fn token_volume_and_its_mounts_are_removed() {
    let volume = |name: &str, sources: Value| json!({ "name": name, "projected": { "sources": sources } });
    let token = volume("kube-api-access-x", json!([{ "serviceAccountToken": {} }, { "configMap": {} }]));
    let config = volume("kube-api-access-y", json!([{ "configMap": {} }]));
    let mount = |name: &str| json!({ "name": name, "mountPath": format!("/{name}") });
    let container = |mounts: Value| json!({ "name": "c", "volumeMounts": mounts });
    let spec = json!({
        "volumes": [token, config],
        "initContainers": [container(json!([mount("kube-api-access-x")]))],
        "containers": [container(json!([mount("kube-api-access-y"), mount("kube-api-access-x")]))],
    });
    let expected = json!({
        "volumes": [config],
        "initContainers": [{ "name": "c" }],
        "containers": [container(json!([mount("kube-api-access-y")]))],
    });
    assert_eq!(forged_spec(spec), expected);
    assert_eq!(forged_spec(json!({ "volumes": [token], "containers": [] })), json!({ "containers": [] }));
}
