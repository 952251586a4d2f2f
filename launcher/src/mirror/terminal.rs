//! What the status of a pod that has terminated must say.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, PodCondition, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{self, CONTAINERS_READY, FALSE, READY, condition};
use super::containers::{has_started, terminated};
use super::phase::SUCCEEDED;

/// A kubelet's reason and exit code for a container whose end it did not observe.
const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
const KILLED: i32 = 137;

/// Completes the status of a pod whose remote pod has terminated. A kubelet did so already, but the source's control
/// plane also ends pods whose node is gone, and leaves their containers running.
///
/// Containers that never started stay as they are, as on a kubelet.
pub(super) fn complete(status: &mut PodStatus, remote: &PodStatus) {
    let lists = [&remote.init_container_statuses, &remote.container_statuses];
    let ends = lists.into_iter().flatten().flatten().filter_map(terminated);
    let finished = ends.filter_map(|terminated| terminated.finished_at.as_ref()).max();
    let at = finished.max(conditions::last_transition(remote)).or(remote.start_time.as_ref());
    let at = at.map(|time| time.0);
    let message = "the pod terminated before the container's end was reported";
    for status in all_statuses(status).filter(|status| has_started(status)) {
        terminate(status, message, at);
    }
    set_conditions(status, at);
}

/// Ends all containers, also those of which nothing is known.
pub(super) fn terminate_all(spec: Option<&PodSpec>, status: &mut PodStatus, message: &str, now: Timestamp) {
    if let Some(spec) = spec {
        let init = spec.init_containers.as_deref().unwrap_or_default();
        add_missing(init, &mut status.init_container_statuses);
        add_missing(&spec.containers, &mut status.container_statuses);
    }
    for status in all_statuses(status) {
        terminate(status, message, Some(now));
    }
}

fn all_statuses(status: &mut PodStatus) -> impl Iterator<Item = &mut ContainerStatus> {
    let lists = [
        &mut status.init_container_statuses,
        &mut status.container_statuses,
        &mut status.ephemeral_container_statuses,
    ];
    lists.into_iter().flatten().flatten()
}

fn add_missing(containers: &[Container], statuses: &mut Option<Vec<ContainerStatus>>) {
    for container in containers {
        if statuses.iter().flatten().all(|status| status.name != container.name) {
            let status = ContainerStatus {
                name: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
                ..ContainerStatus::default()
            };
            statuses.get_or_insert_default().push(status);
        }
    }
}

/// Ends a container whose end was not observed.
fn terminate(status: &mut ContainerStatus, message: &str, at: Option<Timestamp>) {
    status.ready = false;
    status.started = status.started.map(|_| false);
    if terminated(status).is_some() {
        return;
    }
    let running = status.state.take().and_then(|state| state.running);
    let terminated = ContainerStateTerminated {
        container_id: status.container_id.clone(),
        exit_code: KILLED,
        finished_at: at.map(Time),
        message: Some(message.into()),
        reason: Some(STATUS_UNKNOWN.into()),
        signal: None,
        started_at: running.and_then(|running| running.started_at),
    };
    status.state = Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
}

/// Sets the conditions that say whether the pod is ready. A Job counts the time of `Ready` as the end of a pod whose
/// containers have none.
pub(super) fn set_conditions(status: &mut PodStatus, at: Option<Timestamp>) {
    let reason = if status.phase.as_deref() == Some(SUCCEEDED) { "PodCompleted" } else { "PodFailed" };
    for type_ in [READY, CONTAINERS_READY] {
        let before = condition(Some(status), type_).filter(|before| before.status == FALSE);
        let since = before.and_then(|before| before.last_transition_time.clone());
        let new = PodCondition {
            type_: type_.into(),
            status: FALSE.into(),
            reason: Some(reason.into()),
            last_transition_time: since.or(at.map(Time)),
            ..PodCondition::default()
        };
        conditions::set(status.conditions.get_or_insert_default(), new);
    }
}
