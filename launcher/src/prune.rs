//! Drops the fields of pods that no step reads, to save memory.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};
use mcsa_credentials::contract::launch::NODE_TAINT;

/// Keeps metadata, status, and of the spec what status and refusals are computed from.
pub(crate) fn home(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        readiness_gates: spec.readiness_gates,
        restart_policy: spec.restart_policy,
        containers: spec.containers.into_iter().map(container).collect(),
        init_containers: spec
            .init_containers
            .map(|containers| containers.into_iter().map(container).collect()),
        tolerations: spec.tolerations.map(|all| all.into_iter().filter(is_of_virtual_nodes).collect()),
        ..Default::default()
    });
}

fn is_of_virtual_nodes(toleration: &Toleration) -> bool {
    toleration.key.as_deref() == Some(NODE_TAINT)
}

/// Keeps metadata and status.
pub(crate) fn remote(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.spec = None;
}

fn container(container: Container) -> Container {
    let Container { name, image, restart_policy, .. } = container;
    Container { name, image, restart_policy, ..Default::default() }
}
