//! The home pod's status, as its remote pod reports it.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;

use super::phase::{self, PENDING, Phase, RUNNING};
use super::{conditions, containers, non_empty, terminal};

/// Reason of a pod that is being deleted while its node does not respond.
const NODE_LOST: &str = "NodeLost";
const UNKNOWN: &str = "Unknown";

/// The status of a home pod that has not terminated. Fields that the kubelet does not write stay as they are.
pub(super) fn status(home: &Pod, remote: &Pod, cluster: &str) -> PodStatus {
    let (old, remote_status) = (home.status.clone().unwrap_or_default(), remote.status.as_ref());
    let Some(new) = remote_status else { return old };
    let mut status = PodStatus { conditions: conditions::mirrored(home, remote), ..old.clone() };
    let is_finished = phase::is_terminal(new);
    let is_lost = new.phase.as_deref() == Some(UNKNOWN) || new.reason.as_deref() == Some(NODE_LOST);
    if is_lost && !is_finished {
        status.phase = Some(if phase::of(&old) == Phase::Running { RUNNING } else { PENDING }.into());
        status.message = Some(format!("cluster {cluster} lost contact to the pod's node"));
        return status;
    }
    status.phase = match phase::of(&old).max(phase::of(new)) {
        Phase::Pending => Some(PENDING.into()),
        Phase::Running => Some(RUNNING.into()),
        Phase::Terminal => new.phase.clone(),
    };
    let unschedulable = conditions::unschedulable(new).filter(|_| phase::of(&status) == Phase::Pending);
    let reason = unschedulable.and_then(|condition| condition.reason.as_deref());
    status.reason = non_empty(new.reason.as_deref()).or(reason).map(Into::into);
    let place = || match unschedulable {
        _ if is_finished => None,
        Some(condition) => {
            let why = condition.message.as_deref().unwrap_or_default();
            Some(format!("cluster {cluster} can't schedule the pod: {why}"))
        }
        None => {
            let namespace = remote.namespace().unwrap_or_default();
            Some(format!("runs in cluster {cluster}, namespace {namespace}"))
        }
    };
    status.message = non_empty(new.message.as_deref()).map(Into::into).or_else(place);
    status.start_time = new.start_time.clone().or(old.start_time.clone());
    status.pod_ip = new.pod_ip.clone();
    status.pod_ips = new.pod_ips.clone();
    status.host_ip = new.host_ip.clone();
    status.host_ips = new.host_ips.clone();
    status.resize = new.resize.clone();
    containers::mirror(home.spec.as_ref(), &mut status, new);
    if is_finished {
        terminal::complete(&mut status, new);
    }
    status
}
