//! Statuses of containers: they never move backwards, since an API server refuses the whole status then.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::phase;

/// The restart policies of a pod or a container.
const ALWAYS: &str = "Always";
const ON_FAILURE: &str = "OnFailure";

/// Sets the statuses of all containers to those of the remote pod.
pub(super) fn mirror(spec: Option<&PodSpec>, status: &mut PodStatus, remote: &PodStatus) {
    let Some(spec) = spec else { return };
    let may_restart = |container: &Container, exit_code| {
        let policy = container.restart_policy.as_ref().or(spec.restart_policy.as_ref());
        match policy.map_or(ALWAYS, String::as_str) {
            ALWAYS => true,
            ON_FAILURE => exit_code != 0,
            _ => false,
        }
    };
    let is_final = phase::is_terminal(remote);
    let merge_all = |containers: &[Container], old: &mut Option<Vec<_>>, new: &Option<Vec<_>>| {
        let find = |name: &str| containers.iter().find(|container| container.name == name);
        *old = merge(old.take(), new.as_deref(), is_final, |name, exit_code| {
            find(name).map(|container| may_restart(container, exit_code))
        });
    };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    merge_all(init, &mut status.init_container_statuses, &remote.init_container_statuses);
    merge_all(&spec.containers, &mut status.container_statuses, &remote.container_statuses);
    let ephemeral = spec.ephemeral_containers.as_deref().unwrap_or_default();
    let old = status.ephemeral_container_statuses.take();
    let new = remote.ephemeral_container_statuses.as_deref();
    status.ephemeral_container_statuses = merge(old, new, is_final, |name, _| {
        ephemeral.iter().any(|container| container.name == name).then_some(false)
    });
}

/// `may_restart` gets a container's name and exit code. It returns `None` if the home pod has no such container: the
/// source added it, and Kubernetes does not define what a status without a container means.
fn merge(
    old: Option<Vec<ContainerStatus>>,
    new: Option<&[ContainerStatus]>,
    is_final: bool,
    may_restart: impl Fn(&str, i32) -> Option<bool>,
) -> Option<Vec<ContainerStatus>> {
    let old = old.unwrap_or_default();
    let mut merged: Vec<ContainerStatus> = Vec::new();
    for status in new.unwrap_or_default() {
        if may_restart(&status.name, 0).is_none() || merged.iter().any(|other| other.name == status.name) {
            continue;
        }
        let before = old.iter().find(|old| old.name == status.name);
        merged.push(match before {
            Some(before) if is_backwards(before, status, is_final, &may_restart) => before.clone(),
            Some(before) => {
                let restart_count = status.restart_count.max(before.restart_count);
                ContainerStatus { restart_count, ..status.clone() }
            }
            None => status.clone(),
        });
    }
    let missing = old.into_iter().filter(|old| !merged.iter().any(|status| status.name == old.name));
    let missing: Vec<_> = missing.collect();
    merged.extend(missing);
    (!merged.is_empty()).then_some(merged)
}

fn is_backwards(
    old: &ContainerStatus,
    new: &ContainerStatus,
    is_final: bool,
    may_restart: impl Fn(&str, i32) -> Option<bool>,
) -> bool {
    if new.restart_count > old.restart_count {
        return false;
    }
    let old_exit = terminated(old).map(|terminated| terminated.exit_code);
    let restarts = old_exit.is_some() && terminated(new).is_none();
    let is_forbidden = restarts && old_exit.and_then(|code| may_restart(&old.name, code)) != Some(true);
    // An older run, from a stale cache.
    let is_older = !is_final && last_start(new) < last_start(old);
    is_forbidden || is_older
}

pub(super) fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// When the latest run of a container started. `None`: it has not, or the time is not known.
fn last_start(status: &ContainerStatus) -> Option<&Time> {
    started_at(status.state.as_ref()).or_else(|| started_at(status.last_state.as_ref()))
}

fn started_at(state: Option<&ContainerState>) -> Option<&Time> {
    let state = state?;
    let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    running.or_else(|| state.terminated.as_ref()?.started_at.as_ref())
}

/// Whether a container runs, or has run.
pub(super) fn has_started(status: &ContainerStatus) -> bool {
    let is_active = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
    status.state.as_ref().is_some_and(is_active) || status.last_state.as_ref().is_some_and(is_active)
}

/// Whether any container runs, or has run.
pub(super) fn any_started(status: &PodStatus) -> bool {
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().any(has_started)
}
