//! Tests on a real node: importer, webhook and consumers are pods, a kubelet mounts and updates Secrets, a Service
//! leads to the webhook, and a second cluster is the source.
//!
//! They need Linux and root. Otherwise, each test prints that it is skipped.
//!
//! They are a binary of their own, so that cargo runs them after the other end-to-end tests: probes and calls of the
//! webhook have deadlines of seconds, which a machine that runs many API servers may miss.

// If a helper of tests fails, the test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod launch;
mod pods;
mod power;
mod refresh;
mod restarts;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use mcsa_tests::Installation;
use serde_json::Value;

/// Creates a pod with a name in the target.
async fn create_pod(
    installed: &Installation,
    namespace: &str,
    name: &str,
    mut pod: Value,
) -> kube::Result<Pod> {
    pod["metadata"]["name"] = name.into();
    let pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    Api::namespaced(installed.node.client(), namespace).create(&PostParams::default(), &pod).await
}
