//! Computes the status of a home pod from that of its remote pod. Pure functions.
//!
//! Each compares with the home pod as it is, not with what was written last, so that what someone else changed there is
//! written again. A pod that has terminated never changes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use self::conditions::{DISRUPTION_TARGET, TRUE, condition};
use self::phase::{FAILED, PENDING, RUNNING};

pub(crate) use self::patch::StatusPatch;
pub(crate) use self::urgency::is_urgent;
use crate::record;

mod conditions;
mod containers;
mod patch;
mod phase;
mod reported;
mod terminal;
mod urgency;

/// Reason of a home pod whose remote pod vanished, and left no reason of its own.
pub(crate) const REMOTE_POD_DELETED: &str = "RemotePodDeleted";

/// The pod that was found in the source is not the one that runs the home pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pod {pod} of the source has the UID {actual}, but the home pod runs in the one with the UID {recorded}"
)]
pub(crate) struct OtherPod {
    /// `<namespace>/<name>` in the source.
    pub(crate) pod: String,
    /// The UID that the home pod has recorded.
    pub(crate) recorded: String,
    /// The UID of the pod that was found.
    pub(crate) actual: String,
}

/// The patch by which the home pod's status follows that of its remote pod. It also records the remote pod in the home
/// pod's annotations. `None`: there is nothing to write.
///
/// # Errors
/// If the home pod has recorded another remote pod: the one that it had is gone.
pub(crate) fn mirror(home: &Pod, remote: &Pod, cluster: &str) -> Result<Option<StatusPatch>, OtherPod> {
    check_identity(home, remote)?;
    if is_terminal(home) {
        return Ok(None);
    }
    let status = reported::status(home, remote, cluster);
    Ok(StatusPatch::new(home, &status, Some(remote)))
}

/// Why the pod does not run yet. `None` if the status says so already, or the pod did run.
pub(crate) fn pending(home: &Pod, reason: &str, message: &str) -> Option<StatusPatch> {
    let mut status = home.status.clone().unwrap_or_default();
    if phase::of(&status) >= phase::of_name(RUNNING) || containers::any_started(&status) {
        return None;
    }
    status.phase = Some(PENDING.into());
    status.reason = Some(reason.into());
    status.message = Some(message.into());
    StatusPatch::new(home, &status, None)
}

/// The pod has failed for good. `None` if it has terminated already.
///
/// Containers get no status if the pod was never launched, as those of a pod that a kubelet rejects: an exit code would
/// count in the failure policy of a Job.
pub(crate) fn failed(home: &Pod, reason: &str, message: &str, now: Timestamp) -> Option<StatusPatch> {
    if is_terminal(home) {
        return None;
    }
    let mut status = home.status.clone().unwrap_or_default();
    let was_launched = record::remote_uid(home).is_some() || containers::any_started(&status);
    fail(&mut status, reason, message);
    if was_launched {
        terminal::terminate_all(home.spec.as_ref(), &mut status, message, now);
    }
    terminal::set_conditions(&mut status, Some(now));
    StatusPatch::new(home, &status, None)
}

/// The remote pod has succeeded, but something else of it is missing, so the home pod has failed. `problem`: reason and
/// message. `None` if it has terminated already.
pub(crate) fn invalid(home: &Pod, remote: &Pod, cluster: &str, problem: (&str, &str)) -> Option<StatusPatch> {
    if is_terminal(home) {
        return None;
    }
    let mut status = reported::status(home, remote, cluster);
    fail(&mut status, problem.0, problem.1);
    StatusPatch::new(home, &status, Some(remote))
}

/// The remote pod vanished. If its last known status is not terminal, the home pod has failed: nobody knows how its
/// containers ended. `None` if it has terminated already.
pub(crate) fn gone(
    home: &Pod,
    remote_last: Option<&Pod>,
    cluster: &str,
    now: Timestamp,
) -> Option<StatusPatch> {
    if is_terminal(home) {
        return None;
    }
    let last = remote_last.filter(|last| check_identity(home, last).is_ok());
    let mut status = match last {
        Some(last) => reported::status(home, last, cluster),
        None => home.status.clone().unwrap_or_default(),
    };
    if !phase::is_terminal(&status) {
        let last_status = last.and_then(|last| last.status.as_ref());
        let reason = last_status.and_then(|status| non_empty(status.reason.as_deref()));
        let message = last_status.and_then(|status| non_empty(status.message.as_deref()));
        let message = message.map_or_else(|| deleted(&status, cluster), Into::into);
        fail(&mut status, reason.unwrap_or(REMOTE_POD_DELETED), &message);
        terminal::terminate_all(home.spec.as_ref(), &mut status, &message, now);
        terminal::set_conditions(&mut status, Some(now));
    }
    StatusPatch::new(home, &status, last)
}

/// Whether the pod has succeeded or failed.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(phase::is_terminal)
}

/// Whether the pod has succeeded.
pub(crate) fn has_succeeded(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some(phase::SUCCEEDED))
}

fn fail(status: &mut PodStatus, reason: &str, message: &str) {
    status.phase = Some(FAILED.into());
    status.reason = Some(reason.into());
    status.message = Some(message.into());
}

/// Who deleted the pod, if that is known.
fn deleted(status: &PodStatus, cluster: &str) -> String {
    let disruption = condition(Some(status), DISRUPTION_TARGET).filter(|condition| condition.status == TRUE);
    let why = disruption.and_then(|condition| non_empty(condition.message.as_deref()));
    match why {
        Some(why) => format!("the pod was deleted in cluster {cluster}: {why}"),
        None => format!("the pod was deleted in cluster {cluster}"),
    }
}

fn check_identity(home: &Pod, remote: &Pod) -> Result<(), OtherPod> {
    let actual = remote.metadata.uid.as_deref().unwrap_or_default();
    match record::remote_uid(home) {
        Some(recorded) if recorded != actual => {
            let pod = patch::remote_pod(remote);
            Err(OtherPod { pod, recorded: recorded.into(), actual: actual.into() })
        }
        _ => Ok(()),
    }
}

/// The API server makes no difference between an empty string and none.
fn non_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
