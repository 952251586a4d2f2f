//! Which patches are written at once.

use k8s_openapi::api::core::v1::Pod;

use super::StatusPatch;
use super::conditions::{FALSE, READY, condition};
use super::phase::{Phase, of_name};

/// Whether others wait for this change: the pod runs, has terminated, became ready or unready; or its remote pod must be
/// recorded, so that it is not created again. Other changes may be written together.
pub(crate) fn is_urgent(home: &Pod, patch: &StatusPatch) -> bool {
    // A pod without the condition is not ready.
    let ready = condition(home.status.as_ref(), READY).map_or(FALSE, |ready| ready.status.as_str());
    let runs_or_ended = patch.phase().is_some_and(|phase| of_name(phase) > Phase::Pending);
    let becomes_ready = patch.condition(READY).is_some_and(|status| status != ready);
    runs_or_ended || becomes_ready || patch.records()
}
