//! Conditions of the home pod: those of a kubelet come from the remote pod, all others stay.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const READY: &str = "Ready";
pub(super) const CONTAINERS_READY: &str = "ContainersReady";
pub(super) const DISRUPTION_TARGET: &str = "DisruptionTarget";
const POD_SCHEDULED: &str = "PodScheduled";

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";

/// Copied as they are.
const COPIED: [&str; 3] = ["Initialized", CONTAINERS_READY, "PodReadyToStartContainers"];

/// Copied as they are, and removed if the remote pod lacks them: their absence means that they are false.
const TRANSIENT: [&str; 3] = ["PodResizePending", "PodResizeInProgress", "AllContainersRestarting"];

/// The conditions that the home pod should have.
pub(super) fn mirrored(home: &Pod, remote: &Pod) -> Option<Vec<PodCondition>> {
    let (home_status, remote_status) = (home.status.as_ref(), remote.status.as_ref());
    let mut conditions = home_status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|old| {
        !TRANSIENT.contains(&old.type_.as_str()) || condition(remote_status, &old.type_).is_some()
    });
    for new in remote_status.and_then(|status| status.conditions.as_ref()).into_iter().flatten() {
        match new.type_.as_str() {
            READY => set(&mut conditions, ready(home, remote_status, new)),
            DISRUPTION_TARGET => {
                // Controllers of both clusters write it, and withdraw it after some minutes: the newer one counts.
                let old = condition(home_status, DISRUPTION_TARGET);
                if old.is_none_or(|old| old.last_transition_time <= new.last_transition_time) {
                    set(&mut conditions, new.clone());
                }
            }
            type_ if COPIED.contains(&type_) || TRANSIENT.contains(&type_) => {
                set(&mut conditions, new.clone());
            }
            _ => {}
        }
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// The remote pod has no readiness gates, since their controllers write conditions of the home pod.
fn ready(home: &Pod, remote_status: Option<&PodStatus>, remote_ready: &PodCondition) -> PodCondition {
    let home_status = home.status.as_ref();
    let gates = home.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    if remote_ready.status != TRUE || gates.is_empty() {
        return remote_ready.clone();
    }
    let (mut problems, mut open_since, mut closed_since) = (Vec::new(), None, None);
    for gate in gates {
        let type_ = gate.condition_type.as_str();
        let from_remote = type_ == READY || COPIED.contains(&type_);
        let found = condition(if from_remote { remote_status } else { home_status }, type_);
        let since = found.and_then(|found| found.last_transition_time.clone());
        match found {
            Some(found) if found.status == TRUE => open_since = open_since.max(since),
            Some(found) => {
                let status = &found.status;
                problems.push(format!(
                    "the status of pod readiness gate {type_:?} is not \"True\", but {status}"
                ));
                closed_since = closed_since.max(since);
            }
            None => problems
                .push(format!("corresponding condition of pod readiness gate {type_:?} does not exist.")),
        }
    }
    if problems.is_empty() {
        let since = remote_ready.last_transition_time.clone().max(open_since);
        return PodCondition { last_transition_time: since, ..remote_ready.clone() };
    }
    let since = condition(home_status, READY).filter(|old| old.status == FALSE);
    let since = since.and_then(|old| old.last_transition_time.clone());
    let since = since.or(closed_since).or_else(|| remote_ready.last_transition_time.clone());
    PodCondition {
        type_: READY.into(),
        status: FALSE.into(),
        reason: Some("ReadinessGatesNotReady".into()),
        message: Some(problems.join(", ")),
        last_transition_time: since,
        ..PodCondition::default()
    }
}

/// The condition by which the source's scheduler says why it does not schedule the pod.
pub(super) fn unschedulable(remote_status: &PodStatus) -> Option<&PodCondition> {
    condition(Some(remote_status), POD_SCHEDULED).filter(|scheduled| scheduled.status == FALSE)
}

pub(super) fn condition<'a>(status: Option<&'a PodStatus>, type_: &str) -> Option<&'a PodCondition> {
    status?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Replaces a condition, but for the generation, which is that of the home pod.
pub(super) fn set(conditions: &mut Vec<PodCondition>, mut new: PodCondition) {
    new.observed_generation = None;
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            new.observed_generation = old.observed_generation;
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// When one of the conditions last changed.
pub(super) fn last_transition(status: &PodStatus) -> Option<&Time> {
    let conditions = status.conditions.iter().flatten();
    conditions.filter_map(|condition| condition.last_transition_time.as_ref()).max()
}
