//! Writes the status of a home pod, and reports why it waits.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::runtime::controller::Action;
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use mcsa_runtime::lease::LeaseLost;

use crate::home_pod::{Error, HomePod};
use crate::mirror::{self, StatusPatch};
use crate::states::Outcome;
use crate::{forge, prune, record};

/// Parameters of patches, in this cluster and in sources.
pub(crate) fn patch_parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}

impl HomePod<'_> {
    /// Records for the metrics whether the pod waits after a reconciliation, and why.
    pub(crate) fn record_wait(&self, result: &Result<Action, Error>) {
        let outcome = match result {
            Ok(_) => Outcome::Done,
            // The replica that leads reconciles the pod.
            Err(error) if LeaseLost::caused(error) || !self.source.fence.is_open() => return,
            Err(error) => Outcome::Waits(error.reason()),
        };
        self.source.states.set_outcome(&self.home, outcome);
        if let Outcome::Waits(reason) = outcome {
            self.source.metrics.failed(reason);
        }
    }

    /// Reports why the pod waits, in its status and in an event, and backs off.
    pub(crate) async fn wait<T>(&self, reason: &'static str, problem: impl ToString) -> Result<T, Error> {
        let message = problem.to_string();
        if self.source.states.may_report(&self.home, reason) {
            self.source.events.warn(&self.home, reason, &message).await;
            // Of other pods, the launcher may not write the status.
            if forge::tolerates_node(&self.home) {
                self.write(mirror::pending(&self.home, reason, &message)).await?;
            }
        }
        Err(Error::Waiting { reason, message })
    }

    /// Writes a status. If the API server refuses what the source reports, writes only phase and conditions.
    pub(crate) async fn write(&self, patch: Option<StatusPatch>) -> Result<(), Error> {
        let Some(patch) = patch else { return Ok(()) };
        match self.try_write(&patch).await {
            Err(kube::Error::Api(status)) if is_refused(&status) => {
                let essential = patch.essential().ok_or(Error::Home(kube::Error::Api(status)))?;
                self.try_write(&essential).await.map_err(Error::Home)
            }
            result => result.map_err(Error::Home),
        }
    }

    async fn try_write(&self, patch: &StatusPatch) -> kube::Result<()> {
        let (api, name) = (self.request.api(), self.home.name_any());
        match with_deadline(api.patch_status(&name, &patch_parameters(), &Patch::Strategic(patch))).await {
            Ok(mut pod) => {
                prune::home(&mut pod);
                self.source.states.record(pod);
                self.source.metrics.status_written();
                Ok(())
            }
            // It is gone, or another pod has the name now: an event follows.
            Err(kube::Error::Api(status)) if status.code == 404 || is_another(&status) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the status that the remote pod had in the end, as far as it is known.
    pub(crate) async fn write_last_status(&self) -> Result<(), Error> {
        let (home, now) = (&self.home, Timestamp::now());
        let last = self.source.states.last_remote(home);
        let patch = if last.is_some() || record::remote_uid(home).is_some() {
            mirror::gone(home, last.as_ref(), &self.source.cluster, now)
        } else {
            mirror::failed(home, "Deleted", "the pod was deleted before it was launched", now)
        };
        self.write(patch).await
    }

    /// [`HomePod::write_last_status`] of a pod that is about to be removed. If the API server refuses the status, that
    /// is reported, and the pod is removed all the same.
    pub(crate) async fn write_final_status(&self) -> Result<(), Error> {
        match self.write_last_status().await {
            Err(Error::Home(kube::Error::Api(status))) if is_refused(&status) || status.code == 403 => {
                let message = errors::short(&status.message);
                self.source.events.warn(&self.home, "StatusRefused", &message).await;
                Ok(())
            }
            result => result,
        }
    }
}

/// Whether the API server refuses the status itself.
fn is_refused(status: &Status) -> bool {
    matches!(status.code, 400 | 413 | 422)
}

/// Whether a patch was refused because the pod has another UID (422, not 409).
fn is_another(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}
