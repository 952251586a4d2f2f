//! The order of phases: a pod only moves forward.

use k8s_openapi::api::core::v1::PodStatus;

pub(super) const PENDING: &str = "Pending";
pub(super) const RUNNING: &str = "Running";
pub(super) const SUCCEEDED: &str = "Succeeded";
pub(super) const FAILED: &str = "Failed";

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Also `Unknown`, which says nothing about the pod.
    Pending,
    Running,
    Terminal,
}

pub(super) fn of_name(phase: &str) -> Phase {
    match phase {
        RUNNING => Phase::Running,
        SUCCEEDED | FAILED => Phase::Terminal,
        _ => Phase::Pending,
    }
}

pub(super) fn of(status: &PodStatus) -> Phase {
    of_name(status.phase.as_deref().unwrap_or_default())
}

pub(super) fn is_terminal(status: &PodStatus) -> bool {
    of(status) == Phase::Terminal
}
