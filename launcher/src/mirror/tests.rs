use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus};
use kube::ResourceExt;
use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_POD, REMOTE_UID};
use rstest::rstest;
use serde_json::{Value, json};

use self::strategic_merge::apply;
use super::phase::{SUCCEEDED, of};
use super::*;

mod conditions;
mod containers;
mod endings;
mod properties;
mod strategic_merge;

pub(super) const AT: &str = "2026-01-01T00:00:00Z";
pub(super) const LATER: &str = "2026-01-01T00:01:00Z";

pub(super) fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// A pod with the container `main`.
fn pod(namespace: &str, uid: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "namespace": namespace, "name": "p", "uid": uid },
        "spec": { "nodeName": "c2", "restartPolicy": "Never", "containers": [{ "name": "main", "image": "i" }] },
        "status": status,
    }))
    .unwrap()
}

pub(super) fn home(status: Value) -> Pod {
    pod("team-a", "hu", status)
}

pub(super) fn remote(status: Value) -> Pod {
    pod("batch", "ru", status)
}

/// A home pod as the scheduler left it.
pub(super) fn bound() -> Pod {
    home(json!({
        "phase": "Pending", "qosClass": "BestEffort",
        "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": AT }],
    }))
}

pub(super) fn patch(home: &Pod, remote: &Pod) -> Option<StatusPatch> {
    mirror(home, remote, "c2").unwrap()
}

/// The home pod after the remote pod was mirrored.
pub(super) fn mirrored(home: &Pod, remote: &Pod) -> Pod {
    let Some(patch) = patch(home, remote) else { return home.clone() };
    let after = apply(home, &patch);
    assert_eq!(mirror(&after, remote, "c2"), Ok(None), "a second patch changes nothing");
    after
}

pub(super) fn status(pod: &Pod) -> &PodStatus {
    pod.status.as_ref().unwrap()
}

pub(super) fn running(started_at: &str) -> Value {
    json!({ "running": { "startedAt": started_at } })
}

pub(super) fn waiting(reason: &str) -> Value {
    json!({ "waiting": { "reason": reason } })
}

pub(super) fn exited(exit_code: i32, started_at: &str) -> Value {
    json!({ "terminated": { "exitCode": exit_code, "startedAt": started_at, "finishedAt": LATER } })
}

pub(super) fn container(name: &str, restart_count: i32, state: Value) -> Value {
    let ready = state.get("running").is_some();
    json!({ "name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": restart_count, "state": state })
}

#[test]
fn first_patch_records_the_remote_pod() {
    let remote = remote(json!({ "phase": "Pending" }));
    let patch = patch(&bound(), &remote).unwrap();
    let expected = json!({
        "metadata": { "uid": "hu", "annotations": { REMOTE_POD: "batch/p", REMOTE_UID: "ru", HOME_UID: "hu" } },
        "status": { "message": "runs in cluster c2, namespace batch" },
    });
    assert_eq!(*patch.body(), expected);
    assert_eq!(mirror(&apply(&bound(), &patch), &remote, "c2"), Ok(None));
}

#[test]
fn other_remote_pod_is_not_mirrored() {
    let home = mirrored(&bound(), &remote(json!({ "phase": "Pending" })));
    let other = pod("batch", "other", json!({ "phase": "Running" }));
    let error = mirror(&home, &other, "c2").unwrap_err();
    assert_eq!((error.recorded.as_str(), error.actual.as_str()), ("ru", "other"));
    let gone = apply(&home, &gone(&home, Some(&other), "c2", now()).unwrap());
    assert_eq!(status(&gone).phase.as_deref(), Some(FAILED));
    assert_eq!(gone.annotations()[REMOTE_UID], "ru");
}

#[test]
fn running_pod_shows_what_its_kubelet_reports() {
    let remote = remote(json!({
        "phase": "Running", "startTime": AT, "resize": "Proposed", "qosClass": "Guaranteed",
        "nominatedNodeName": "n", "observedGeneration": 7, "resourceClaimStatuses": [{ "name": "remote" }],
        "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
        "hostIP": "192.168.0.1", "hostIPs": [{ "ip": "192.168.0.1" }],
        "conditions": [
            { "type": "PodScheduled", "status": "True", "lastTransitionTime": LATER, "observedGeneration": 7 },
            { "type": "Ready", "status": "True", "lastTransitionTime": LATER, "observedGeneration": 7 },
            { "type": "example.com/of-the-source", "status": "True" },
        ],
        "containerStatuses": [container("main", 0, running(AT)), container("injected", 0, running(AT))],
    }));
    let home = mirrored(&bound(), &remote);
    let expected = json!({
        "phase": "Running", "startTime": AT, "qosClass": "BestEffort", "resize": "Proposed",
        "message": "runs in cluster c2, namespace batch",
        "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
        "hostIP": "192.168.0.1", "hostIPs": [{ "ip": "192.168.0.1" }],
        "conditions": [
            { "type": "PodScheduled", "status": "True", "lastTransitionTime": AT },
            { "type": "Ready", "status": "True", "lastTransitionTime": LATER },
        ],
        "containerStatuses": [container("main", 0, running(AT))],
    });
    assert_eq!(json!(home.status), expected);
}

#[test]
fn addresses_are_replaced() {
    let addresses = |ip: &str| {
        let list = json!([{ "ip": ip }]);
        json!({ "phase": "Running", "podIP": ip, "podIPs": list, "hostIP": ip, "hostIPs": list })
    };
    let home = mirrored(&bound(), &remote(addresses("10.0.0.1")));
    let home = mirrored(&home, &remote(addresses("10.0.0.2")));
    assert_eq!(json!(status(&home).pod_ips), json!([{ "ip": "10.0.0.2" }]));
    assert_eq!(json!(status(&home).host_ips), json!([{ "ip": "10.0.0.2" }]));
    let home = mirrored(&home, &remote(json!({ "phase": "Running" })));
    assert_eq!((&status(&home).pod_ips, &status(&home).host_ip), (&None, &None));
}

#[rstest]
#[case("Pending", "Running", "Running")]
#[case("Running", "Pending", "Running")]
#[case("Running", "Unknown", "Running")]
#[case("Pending", "Unknown", "Pending")]
#[case("", "Unknown", "Pending")]
#[case("", "", "Pending")]
#[case("Running", "Succeeded", "Succeeded")]
#[case("Pending", "Failed", "Failed")]
#[case("Succeeded", "Failed", "Succeeded")]
#[case("Failed", "Running", "Failed")]
fn phase_moves_forward_only(#[case] before: &str, #[case] remote_phase: &str, #[case] after: &str) {
    let home = mirrored(&home(json!({ "phase": before })), &remote(json!({ "phase": remote_phase })));
    assert_eq!(status(&home).phase.as_deref(), Some(after));
}

#[rstest]
#[case::place(json!({ "phase": "Running" }), None, Some("runs in cluster c2, namespace batch"))]
#[case::own(json!({ "phase": "Pending", "reason": "R", "message": "m" }), Some("R"), Some("m"))]
#[case::empty(
    json!({ "phase": "Pending", "reason": "", "message": "" }),
    None,
    Some("runs in cluster c2, namespace batch")
)]
#[case::failed(json!({ "phase": "Failed", "reason": "Evicted", "message": "disk" }), Some("Evicted"), Some("disk"))]
#[case::succeeded(json!({ "phase": "Succeeded" }), None, None)]
#[case::unschedulable(
    json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available" },
    ]}),
    Some("Unschedulable"),
    Some("cluster c2 can't schedule the pod: 0/1 nodes are available")
)]
#[case::node_lost(
    json!({ "phase": "Running", "reason": "NodeLost", "message": "m" }),
    Some("Old"),
    Some("cluster c2 lost contact to the pod's node")
)]
fn message_says_where_the_pod_runs_or_what_the_source_says(
    #[case] remote_status: Value,
    #[case] reason: Option<&str>,
    #[case] message: Option<&str>,
) {
    let old = home(json!({ "phase": "Pending", "reason": "Old", "message": "old" }));
    let home = mirrored(&old, &remote(remote_status));
    assert_eq!((status(&home).reason.as_deref(), status(&home).message.as_deref()), (reason, message));
}

#[rstest]
#[case::waits(json!({ "phase": "Pending" }), true)]
#[case::says_so_already(json!({ "phase": "Pending", "reason": "QuotaExceeded", "message": "m" }), false)]
#[case::runs(json!({ "phase": "Running" }), false)]
#[case::initializes(
    json!({ "phase": "Pending", "initContainerStatuses": [container("init", 0, running(AT))] }),
    false
)]
#[case::ended(json!({ "phase": "Failed" }), false)]
fn pod_that_ran_is_not_pending(#[case] status: Value, #[case] is_written: bool) {
    let home = home(status);
    let patch = pending(&home, "QuotaExceeded", "m");
    assert_eq!(patch.is_some(), is_written);
    if let Some(patch) = patch {
        assert_eq!(pending(&apply(&home, &patch), "QuotaExceeded", "m"), None);
    }
}

fn home_status(home: &Pod) -> Value {
    json!(home.status)
}

#[rstest]
#[case::runs(json!({ "phase": "Running" }), true)]
#[case::ended(json!({ "phase": "Succeeded" }), true)]
#[case::ready(json!({ "phase": "Pending", "conditions": [{ "type": "Ready", "status": "True" }] }), true)]
#[case::new_reason(
    json!({ "phase": "Pending", "conditions": [{ "type": "Ready", "status": "False", "reason": "New" }] }),
    false
)]
#[case::address(json!({ "phase": "Pending", "podIP": "10.0.0.1" }), false)]
fn changes_that_others_wait_for_are_urgent(#[case] remote_status: Value, #[case] urgent: bool) {
    let unready = home(json!({ "phase": "Pending", "conditions": [{ "type": "Ready", "status": "False" }] }));
    for home in [bound(), unready] {
        // The record of the remote pod.
        let first = patch(&home, &remote(home_status(&home))).unwrap();
        assert!(is_urgent(&home, &first));
        let home = apply(&home, &first);
        let patch = patch(&home, &remote(remote_status.clone())).unwrap();
        assert_eq!(is_urgent(&home, &patch), urgent);
    }
}

#[test]
fn deleted_pods_are_mirrored_until_they_end() {
    let deleted = |mut pod: Pod| {
        pod.metadata.deletion_timestamp = serde_json::from_value(json!(AT)).unwrap();
        pod
    };
    let evicted = json!({ "type": "DisruptionTarget", "status": "True", "lastTransitionTime": AT });
    let remote = deleted(remote(json!({ "phase": "Running", "conditions": [evicted] })));
    let home = mirrored(&deleted(bound()), &remote);
    assert_eq!(status(&home).phase.as_deref(), Some(RUNNING));
    assert_eq!(json!(condition(home.status.as_ref(), DISRUPTION_TARGET)), evicted);
}

#[test]
fn pod_on_a_lost_node_is_unready_and_otherwise_as_it_was() {
    let home = mirrored(
        &bound(),
        &remote(json!({
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }],
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": AT }],
            "containerStatuses": [container("main", 0, running(AT))],
        })),
    );
    let lost = remote(json!({
        "phase": "Unknown",
        "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": LATER }],
    }));
    let mut expected = json!(home.status);
    expected["message"] = json!("cluster c2 lost contact to the pod's node");
    expected["conditions"][1] = json!({ "type": "Ready", "status": "False", "lastTransitionTime": LATER });
    assert_eq!(json!(mirrored(&home, &lost).status), expected);
}
