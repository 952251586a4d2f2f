//! How pods end.

use super::*;
use crate::mirror::conditions::{CONTAINERS_READY, READY, condition};

/// A home pod whose remote pod was recorded.
fn launched(status: Value) -> Pod {
    let mut pod = home(status);
    pod.annotations_mut().insert(REMOTE_UID.into(), "ru".into());
    pod.annotations_mut().insert(HOME_UID.into(), "hu".into());
    pod
}

fn state(pod: &Pod) -> &ContainerState {
    status(pod).container_statuses.as_ref().unwrap()[0].state.as_ref().unwrap()
}

fn assert_failed(pod: &Pod, reason: &str, message: &str) {
    let status = status(pod);
    assert_eq!(status.phase.as_deref(), Some(FAILED));
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some(reason), Some(message)));
    for type_ in [READY, CONTAINERS_READY] {
        let found = condition(Some(status), type_).unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_deref()), ("False", Some("PodFailed")));
        assert!(found.last_transition_time.is_some());
    }
    assert_eq!(failed(pod, "Again", "m", now()), None);
    assert_eq!(gone(pod, None, "c2", now()), None);
    assert_eq!(pending(pod, "Again", "m"), None);
}

#[test]
fn pod_that_was_never_launched_fails_without_container_statuses() {
    let failed = apply(&bound(), &failed(&bound(), "NameCollision", "m", now()).unwrap());
    assert_failed(&failed, "NameCollision", "m");
    assert_eq!(status(&failed).container_statuses, None);
}

#[test]
fn containers_of_a_failed_pod_are_terminated() {
    let home = launched(json!({
        "phase": "Running", "containerStatuses": [container("main", 2, running(AT))],
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": AT }],
    }));
    let failed = apply(&home, &failed(&home, "R", "m", now()).unwrap());
    assert_failed(&failed, "R", "m");
    let terminated = state(&failed).terminated.as_ref().unwrap();
    assert_eq!((terminated.exit_code, terminated.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    assert_eq!(json!(terminated.started_at), AT);
    assert_eq!(status(&failed).container_statuses.as_ref().unwrap()[0].restart_count, 2);
    let ready = condition(failed.status.as_ref(), READY).unwrap();
    assert_eq!(ready.last_transition_time.as_ref().unwrap().0, now());
}

#[test]
fn vanished_remote_pod_fails_its_home_pod() {
    let home = launched(json!({ "phase": "Pending" }));
    let gone = apply(&home, &gone(&home, None, "c2", now()).unwrap());
    assert_failed(&gone, REMOTE_POD_DELETED, "the pod was deleted in cluster c2");
    assert_eq!(state(&gone).terminated.as_ref().unwrap().exit_code, 137, "nobody knows whether it ran");
}

#[test]
fn evicted_remote_pod_leaves_its_reason() {
    let last = remote(json!({
        "phase": "Running", "containerStatuses": [container("main", 0, exited(3, AT))],
        "conditions": [{ "type": "DisruptionTarget", "status": "True", "message": "eviction" }],
    }));
    let home = launched(json!({ "phase": "Running" }));
    let gone = apply(&home, &gone(&home, Some(&last), "c2", now()).unwrap());
    assert_failed(&gone, REMOTE_POD_DELETED, "the pod was deleted in cluster c2: eviction");
    assert!(condition(gone.status.as_ref(), DISRUPTION_TARGET).is_some());
    assert_eq!(state(&gone).terminated.as_ref().unwrap().exit_code, 3, "what is known stays");
}

#[test]
fn last_reason_and_message_of_a_vanished_pod_are_kept() {
    let last = remote(json!({ "phase": "Running", "reason": "NodeLost", "message": "n1 is away" }));
    let home = launched(json!({ "phase": "Running" }));
    let gone = apply(&home, &gone(&home, Some(&last), "c2", now()).unwrap());
    assert_failed(&gone, "NodeLost", "n1 is away");
}

#[test]
fn vanished_pod_that_had_succeeded_has_succeeded() {
    let last =
        remote(json!({ "phase": "Succeeded", "containerStatuses": [container("main", 0, exited(0, AT))] }));
    let home = launched(json!({ "phase": "Running" }));
    let after = apply(&home, &gone(&home, Some(&last), "c2", now()).unwrap());
    assert_eq!(after, mirrored(&home, &last));
    assert_eq!(status(&after).phase.as_deref(), Some(SUCCEEDED));
    let ready = condition(after.status.as_ref(), READY).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("PodCompleted")));
    assert_eq!(json!(ready.last_transition_time), LATER);
}

#[test]
fn terminal_status_of_a_kubelet_is_copied_as_it_is() {
    let conditions = json!([
        { "type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": LATER },
        { "type": "ContainersReady", "status": "False", "reason": "PodFailed", "lastTransitionTime": LATER },
    ]);
    let never_started = container("main", 0, waiting("PodInitializing"));
    let last = json!({ "phase": "Failed", "conditions": conditions, "containerStatuses": [never_started] });
    let after = mirrored(&launched(json!({ "phase": "Pending" })), &remote(last.clone()));
    assert_eq!(json!(after.status), last);
}

#[test]
fn containers_that_the_control_plane_left_running_are_terminated() {
    let last = remote(json!({
        "phase": "Failed", "message": "PodGC: node no longer exists",
        "containerStatuses": [container("main", 0, running(AT))],
        "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": AT },
            { "type": "DisruptionTarget", "status": "True", "lastTransitionTime": LATER },
        ],
    }));
    let after = mirrored(&launched(json!({ "phase": "Running" })), &last);
    let terminated = state(&after).terminated.as_ref().unwrap();
    assert_eq!(json!([terminated.started_at, terminated.finished_at]), json!([AT, LATER]));
    assert_eq!(json!(condition(after.status.as_ref(), READY).unwrap().last_transition_time), LATER);
}
