//! Reconciles one home pod: runs its steps in order.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::runtime::controller::Action;
use mcsa_client::clusters::Member;
use mcsa_client::controller::{Owner, Request};
use mcsa_credentials::contract::launch::{FIELD_MANAGER, REMOTE_UID};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use serde_json::json;

use crate::create::{NotCreated, create};
use crate::finish::{Progress, delete_remote, is_gone, remove_home};
use crate::forge;
use crate::mirror::{self, StatusPatch};
use crate::prune;
use crate::resolve::resolve;
use crate::source::Source;

/// How often an object is looked at again that no event may report.
const RECHECK: Duration = Duration::from_secs(10);

/// Why a pod could not be reconciled. It is retried with back-off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A call to this cluster failed.
    #[error("{}", errors::line(.0))]
    Home(#[source] kube::Error),
    /// The pod waits for something in the source or in its namespace.
    #[error("{reason}: {message}")]
    Waiting { reason: &'static str, message: String },
}

/// Reconciles a home pod.
pub(crate) async fn reconcile(request: Request<Pod>, source: Arc<Source>) -> Result<Action, Error> {
    let home = source.written.latest(&request.object);
    let pod = HomePod { request: &request, source: &source, home };
    if pod.home.metadata.deletion_timestamp.is_some() {
        return pod.finish().await;
    }
    if mirror::is_terminal(&pod.home) {
        return Ok(Action::await_change());
    }
    pod.run().await
}

struct HomePod<'a> {
    request: &'a Request<Pod>,
    source: &'a Source,
    home: Pod,
}

impl HomePod<'_> {
    /// Creates the remote pod, or mirrors it.
    async fn run(&self) -> Result<Action, Error> {
        if let Some(refusal) = forge::refusal(&self.home) {
            return self.wait(refusal.reason, refusal.message).await;
        }
        let member = match self.resolve() {
            Ok(member) => member,
            Err(problem) => return self.wait("NoLaunchImport", problem).await,
        };
        if let Some(refusal) = forge::untolerated(&self.home) {
            return self.wait(refusal.reason, refusal.message).await;
        }
        let owner = self.owner().await?;
        match self.source.observed(&member, &self.home.name_any(), &owner) {
            Some(remote) => self.mirror(&member, &remote).await,
            None if self.recorded_uid().is_some() => self.look_for_recorded(&member, &owner).await,
            None => self.create(&member, &owner).await,
        }
    }

    async fn create(&self, member: &Member, owner: &Owner) -> Result<Action, Error> {
        let client = self.request.member.client();
        match create(self.source, (&client, &self.home), member, owner).await {
            Ok(remote) => {
                tracing::info!(pod = %self.request.key(), cluster = &*self.source.cluster, "launched");
                self.mirror(member, &remote).await
            }
            Err(NotCreated::Outdated) => Ok(Action::requeue(RECHECK)),
            Err(NotCreated::Retry { reason, message }) => self.wait(reason, message).await,
            Err(NotCreated::Permanent { reason, message }) => {
                self.source.events.warn(&self.home, reason, &message).await;
                self.write(mirror::failed(&self.home, reason, &message, Timestamp::now())).await?;
                Ok(Action::await_change())
            }
        }
    }

    /// Copies the status to the home pod, and the labels and annotations to the remote pod.
    async fn mirror(&self, member: &Member, remote: &Pod) -> Result<Action, Error> {
        let patch = match mirror::mirror(&self.home, remote, &self.source.cluster) {
            Ok(patch) => patch,
            // Someone made another pod with this owner. The one that ran is gone.
            Err(_) => return self.fail_as_gone().await,
        };
        if let Some(patch) = &patch
            && !mirror::is_urgent(&self.home, patch)
            && let Some(pause) = self.source.written.pause(&self.home)
        {
            return Ok(Action::requeue(pause));
        }
        self.write(patch).await?;
        let is_deleted = remote.metadata.deletion_timestamp.is_some();
        if let Some(patch) =
            forge::metadata_patch(&self.home.metadata, &remote.metadata).filter(|_| !is_deleted)
        {
            self.patch_remote(member, remote, patch).await?;
        }
        Ok(Action::await_change())
    }

    async fn patch_remote(
        &self,
        member: &Member,
        remote: &Pod,
        mut patch: serde_json::Value,
    ) -> Result<(), Error> {
        patch["metadata"]["uid"] = json!(remote.uid());
        let (api, name) = (self.source.remote_pods(member), remote.name_any());
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let patched = with_deadline(api.patch_metadata(&name, &parameters, &Patch::Merge(patch))).await;
        match patched {
            Ok(_) => Ok(()),
            // It is gone, or another pod has the name now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(()),
            Err(error) => Err(self.source_error(&error)),
        }
    }

    /// A pod that was launched is never launched again: if its remote pod is gone, the home pod has failed.
    async fn look_for_recorded(&self, member: &Member, owner: &Owner) -> Result<Action, Error> {
        if !self.source.remote.is_listed(member.name()) {
            return Ok(Action::requeue(RECHECK));
        }
        let name = self.home.name_any();
        match with_deadline(self.source.remote_pods(member).get(&name)).await {
            Ok(remote) if owner.owns(&remote.metadata) => return self.mirror(member, &remote).await,
            Ok(_) => {}
            Err(kube::Error::Api(status)) if is_gone(&status, &name) => {}
            Err(error) => return Err(self.source_error(&error)),
        }
        self.fail_as_gone().await
    }

    async fn fail_as_gone(&self) -> Result<Action, Error> {
        self.write_last_status().await?;
        Ok(Action::await_change())
    }

    /// Deletes the remote pod, mirrors it until it is gone, and then removes the home pod.
    async fn finish(&self) -> Result<Action, Error> {
        let member = match self.resolve() {
            Ok(member) => member,
            // Nothing runs. If a remote pod was created and not recorded, garbage collection deletes it.
            Err(_) if self.recorded_uid().is_none() => {
                return self.remove().await;
            }
            Err(problem) => return self.wait("NoLaunchImport", problem).await,
        };
        let owner = self.owner().await?;
        match delete_remote(self.source, &self.home, &member, &owner).await {
            Ok(Progress::Terminating(remote)) => {
                // Of another pod with this owner, only the deletion matters.
                let patch = mirror::mirror(&self.home, &remote, &self.source.cluster).ok().flatten();
                self.write(patch).await?;
                Ok(Action::requeue(RECHECK))
            }
            Ok(Progress::Gone) => {
                self.write_last_status().await?;
                self.remove().await
            }
            Err(error) => {
                let cluster = &self.source.cluster;
                let message = format!("can't delete the pod in cluster {cluster}: {}", errors::line(&error));
                self.wait("SourceUnreachable", errors::short(&message)).await
            }
        }
    }

    async fn remove(&self) -> Result<Action, Error> {
        match remove_home(&self.request.api(), &self.home).await {
            Err(kube::Error::Api(status)) if status.code == 403 && !forge::tolerates_node(&self.home) => {
                return self.wait("NotTolerated", "delete it with `kubectl delete --force`").await;
            }
            removed => removed.map_err(Error::Home)?,
        }
        self.source.written.forget(&self.home);
        if let Some(uid) = self.recorded_uid() {
            self.source.last_states.forget(uid);
        }
        Ok(Action::await_change())
    }

    /// Writes the status that the remote pod had in the end, as far as it is known.
    async fn write_last_status(&self) -> Result<(), Error> {
        let last = self.recorded_uid().and_then(|uid| self.source.last_states.get(uid));
        self.write(mirror::gone(&self.home, last.as_ref(), &self.source.cluster, Timestamp::now())).await
    }

    /// Reports why the pod waits, in its status and in an event, and backs off.
    async fn wait(&self, reason: &'static str, problem: impl ToString) -> Result<Action, Error> {
        let message = problem.to_string();
        self.source.events.warn(&self.home, reason, &message).await;
        if forge::tolerates_node(&self.home) {
            self.write(mirror::pending(&self.home, reason, &message)).await?;
        }
        Err(Error::Waiting { reason, message })
    }

    async fn write(&self, patch: Option<StatusPatch>) -> Result<(), Error> {
        let Some(patch) = patch else { return Ok(()) };
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let (api, name) = (self.request.api(), self.home.name_any());
        match with_deadline(api.patch_status(&name, &parameters, &Patch::Strategic(patch))).await {
            Ok(mut pod) => {
                prune::home(&mut pod);
                self.source.written.record(pod);
                Ok(())
            }
            // It is gone, or another pod has the name now: an event follows.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) || is_another(&status) => {
                Ok(())
            }
            Err(error) => Err(Error::Home(error)),
        }
    }

    fn resolve(&self) -> Result<Member, crate::resolve::Unresolved> {
        let namespace = self.home.namespace().unwrap_or_default();
        resolve(&self.home, &self.source.cluster, self.source.imports(&namespace))
    }

    async fn owner(&self) -> Result<Owner, Error> {
        with_deadline(self.request.owner()).await.map_err(Error::Home)
    }

    fn recorded_uid(&self) -> Option<&str> {
        self.home.annotations().get(REMOTE_UID).map(String::as_str)
    }

    fn source_error(&self, error: &kube::Error) -> Error {
        let message = format!("cluster {}: {}", self.source.cluster, errors::line(error));
        Error::Waiting { reason: "SourceUnreachable", message: errors::short(&message) }
    }
}

/// Whether a patch was refused because the pod has another UID (422, not 409).
fn is_another(status: &Status) -> bool {
    status.code == 422 && status.message.contains("metadata.uid")
}
