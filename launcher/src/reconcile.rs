//! Reconciles one home pod: runs its steps in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Patch;
use kube::runtime::controller::Action;
use mcsa_client::clusters::Member;
use mcsa_client::controller::{Owner, Request};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;

use crate::argo::outputs::Outputs;
use crate::create::{NotCreated, create};
use crate::finish::{Progress, delete_remote, is_gone, remove_home};
use crate::home_pod::{Error, HomePod};
use crate::report::patch_parameters;
use crate::source::Source;
use crate::{forge, mirror, record};

/// How soon to look again at something that may change without an event.
const RECHECK: Duration = Duration::from_secs(10);

/// Reconciles a home pod.
pub(crate) async fn reconcile(request: Request<Pod>, source: Arc<Source>) -> Result<Action, Error> {
    let (pod, start) = (HomePod::new(&request, &source), Instant::now());
    let result = pod.reconcile().await;
    source.metrics.reconciled(start.elapsed());
    pod.record_wait(&result);
    result
}

impl HomePod<'_> {
    async fn reconcile(&self) -> Result<Action, Error> {
        if self.home.metadata.deletion_timestamp.is_some() {
            return self.finish().await;
        }
        if mirror::is_terminal(&self.home) {
            return Ok(Action::await_change());
        }
        self.run().await
    }

    /// Creates the remote pod, or mirrors it.
    async fn run(&self) -> Result<Action, Error> {
        // First, because advice about launch imports would mislead.
        if let Some(refusal) = forge::refusal(&self.home) {
            return self.wait(refusal.reason, refusal.message).await;
        }
        let member = match self.resolve() {
            Ok(member) => member,
            Err(problem) => return self.wait(problem.reason(), problem).await,
        };
        if let Some(refusal) = forge::untolerated(&self.home) {
            return self.wait(refusal.reason, refusal.message).await;
        }
        let owner = self.owner().await?;
        if let Some(remote) = self.source.observed(&member, &self.home.name_any(), &owner) {
            return self.mirror(&member, &remote).await;
        }
        if record::remote_uid(&self.home).is_some() {
            return self.look_for_recorded(&member, &owner).await;
        }
        // An earlier attempt may have created it, and failed to record it.
        if self.source.states.last_remote(&self.home).is_some() {
            return self.fail_as_gone().await;
        }
        match self.source.observed_anywhere(&self.home, &owner) {
            Some((member, remote)) => self.mirror(&member, &remote).await,
            None => self.create(&member, &owner).await,
        }
    }

    async fn create(&self, member: &Member, owner: &Owner) -> Result<Action, Error> {
        let (report, client) = (self.prepare_outputs(member).await?, self.request.member.client());
        match create(self.source, (&client, &self.home), member, owner, report.as_ref()).await {
            Ok(remote) => {
                tracing::info!(pod = %self.request.key(), cluster = &*self.source.cluster, "launched");
                self.mirror(member, &remote).await
            }
            Err(NotCreated::Outdated) => Ok(Action::requeue(RECHECK)),
            Err(NotCreated::Retry { reason, message }) => self.wait(reason, message).await,
            // A controller would replace a failed pod at once, again and again. This one waits until the source accepts
            // it, or someone deletes it.
            Err(NotCreated::Permanent { reason, message }) if self.restarts_always() => {
                self.wait(reason, message).await
            }
            Err(NotCreated::Permanent { reason, message }) => {
                self.source.metrics.failed(reason);
                self.source.events.warn(&self.home, reason, &message).await;
                self.abandon_outputs().await;
                self.write(mirror::failed(&self.home, reason, &message, Timestamp::now())).await?;
                Ok(Action::await_change())
            }
        }
    }

    fn restarts_always(&self) -> bool {
        let policy = self.home.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        policy.is_none_or(|policy| policy == "Always")
    }

    /// Copies the status to the home pod, and the labels and annotations to the remote pod.
    async fn mirror(&self, member: &Member, remote: &Pod) -> Result<Action, Error> {
        // A pod with our owner but another UID: ours is gone.
        let Ok(patch) = mirror::mirror(&self.home, remote, &self.source.cluster) else {
            return self.fail_as_gone().await;
        };
        match self.copy_outputs(member, remote).await? {
            Outputs::Copied => {}
            Outputs::Awaited(pause) => return Ok(Action::requeue(pause)),
            Outputs::Missing(why) => {
                self.fail_without_outputs(remote, &why).await?;
                return Ok(Action::await_change());
            }
        }
        if let Some(patch) = &patch
            && !mirror::is_urgent(&self.home, patch)
            && let Some(pause) = self.source.states.write_pause(&self.home)
        {
            return Ok(Action::requeue(pause));
        }
        self.write(patch).await?;
        if remote.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        match forge::metadata_patch(&self.home.metadata, &remote.metadata) {
            Some(patch) => self.copy_metadata(member, remote, &patch).await,
            None => Ok(Action::await_change()),
        }
    }

    /// Argo would continue without the outputs of the step.
    async fn fail_without_outputs(&self, remote: &Pod, why: &str) -> Result<(), Error> {
        self.source.metrics.failed("OutputsMissing");
        self.source.events.warn(&self.home, "OutputsMissing", why).await;
        self.write(mirror::invalid(&self.home, remote, &self.source.cluster, ("OutputsMissing", why))).await
    }

    async fn copy_metadata(
        &self,
        member: &Member,
        remote: &Pod,
        patch: &serde_json::Value,
    ) -> Result<Action, Error> {
        if let Some(pause) = self.source.states.copy_pause(&self.home) {
            return Ok(Action::requeue(pause));
        }
        let (api, name) = (self.source.remote_pods(member), remote.name_any());
        let patched =
            with_deadline(api.patch_metadata(&name, &patch_parameters(), &Patch::Merge(patch))).await;
        match patched {
            Ok(_) => Ok(Action::await_change()),
            // It is gone, or another pod has the name now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                Ok(Action::await_change())
            }
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
        match self.lost_outputs().await? {
            Some((last, why)) => self.fail_without_outputs(&last, &why).await?,
            None => self.write_last_status().await?,
        }
        Ok(Action::await_change())
    }

    /// Deletes the remote pod, mirrors it until it is gone, and then removes the home pod.
    async fn finish(&self) -> Result<Action, Error> {
        let is_launched = record::remote_uid(&self.home).is_some();
        // Such a pod is never launched.
        if !is_launched && !forge::tolerates_node(&self.home) {
            return self.remove().await;
        }
        let member = match self.resolve() {
            Ok(member) => member,
            // The pod was not launched, or has ended. If a remote pod is left, garbage collection deletes it once the
            // source has a launch import again.
            Err(_) if !is_launched || mirror::is_terminal(&self.home) => {
                self.abandon_outputs().await;
                return self.remove().await;
            }
            Err(problem) => return self.wait(problem.reason(), problem).await,
        };
        let owner = self.owner().await?;
        match delete_remote(self.source, &self.home, &member, &owner).await {
            Ok(Progress::Terminating(remote)) => {
                // If it is another pod with this owner, delete it, but do not mirror it.
                if let Ok(patch) = mirror::mirror(&self.home, &remote, &self.source.cluster) {
                    match self.copy_outputs(&member, &remote).await {
                        Ok(Outputs::Copied) => self.write(patch).await?,
                        Ok(Outputs::Missing(why)) => self.fail_without_outputs(&remote, &why).await?,
                        Ok(Outputs::Awaited(_)) | Err(_) => {}
                    }
                }
                Ok(Action::requeue(RECHECK))
            }
            Ok(Progress::Gone) => {
                match self.lost_outputs().await? {
                    Some((last, why)) => self.fail_without_outputs(&last, &why).await?,
                    None => self.write_final_status().await?,
                }
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
                self.wait("NotTolerated", "delete it with kubectl delete --force").await
            }
            removed => removed.map(|()| Action::await_change()).map_err(Error::Home),
        }
    }
}
