//! Last step: waits until the import is ready and, if the launcher is installed, until the virtual node exists.

use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::{READY, REFRESHED};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::LAUNCHER;
use tokio::time::{Instant, sleep};

use super::linked::Linked;
use super::model::Launch;
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, lease};
use crate::commands::for_context;
use crate::link::launcher::is_virtual_node;

const PAUSE: Duration = Duration::from_millis(500);

/// Fails if pods can't run in the source.
pub(crate) async fn wait(linked: &Linked, launch: &Launch, timeout: Duration) -> anyhow::Result<()> {
    let target = linked.target();
    let chosen = linked.plan().target().chosen();
    let install = for_context("install", chosen);
    let check = for_context("check", chosen);
    let deadline = Instant::now() + timeout;
    if lease::read(target).await?.is_none() && deployment(target, "importer").await?.is_none() {
        bail!(
            "{}: no importer is installed, so the import gets no token, and no pod can run in {}; to install it: {install}",
            target.name,
            launch.source
        );
    }
    let import = format!("import {}/{}", launch.namespace, launch.import());
    let mut waiter = Waiter { cluster: target, deadline, timeout, reported: String::new(), check };
    loop {
        match import_problem(&read_import(target, launch).await?) {
            None => break,
            Some(problem) => waiter.pause(&import, &problem).await?,
        }
    }
    output::info(&target.name, &format!("{import} is ready"));
    if deployment(target, LAUNCHER).await?.is_none() {
        bail!(
            "{}: the launcher (deployment {SYSTEM_NAMESPACE}/{LAUNCHER}) is not installed, so no pod can run in {}; to install \
             it: {install}",
            target.name,
            launch.source
        );
    }
    let node = format!("node {}", launch.source);
    loop {
        match node_problem(&target.name, read_node(target, &launch.source).await?.as_ref(), &launch.source)? {
            None => break,
            Some(problem) => waiter.pause(&node, problem).await?,
        }
    }
    output::info(&target.name, &format!("{node} exists"));
    Ok(())
}

/// Prints what it waits for, once for each change.
struct Waiter<'a> {
    cluster: &'a Cluster,
    deadline: Instant,
    timeout: Duration,
    reported: String,
    check: String,
}

impl Waiter<'_> {
    async fn pause(&mut self, what: &str, problem: &str) -> anyhow::Result<()> {
        let message = format!("waiting for {what}: {problem}");
        if message != self.reported {
            output::info(&self.cluster.name, &message);
            self.reported = message;
        }
        if Instant::now() >= self.deadline {
            bail!(
                "{}: {what} is not ready after {:?}: {problem}; for details: {}",
                self.cluster.name,
                self.timeout,
                self.check
            );
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

pub(crate) async fn deployment(cluster: &Cluster, name: &str) -> Result<Option<Deployment>, CallError> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    cluster.call(&format!("read deployment {SYSTEM_NAMESPACE}/{name}"), api.get_opt(name)).await
}

async fn read_import(cluster: &Cluster, launch: &Launch) -> Result<ServiceAccountImport, CallError> {
    let api: Api<ServiceAccountImport> = Api::namespaced(cluster.client.clone(), &launch.namespace);
    let name = launch.import();
    cluster.call(&format!("read import {}/{name}", launch.namespace), api.get(&name)).await
}

async fn read_node(cluster: &Cluster, name: &str) -> Result<Option<Node>, CallError> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    cluster.call(&format!("read node {name}"), api.get_opt(name)).await
}

/// Why the import is not ready.
fn import_problem(import: &ServiceAccountImport) -> Option<String> {
    let is_current =
        import.status.as_ref().and_then(|status| status.observed_generation) >= import.metadata.generation;
    if import.status.is_none() || !is_current {
        return Some("the importer has not reconciled it yet".into());
    }
    if import.condition(READY).is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let mut conditions = [REFRESHED, READY].iter().filter_map(|type_| import.condition(type_));
    let failed = conditions.find(|condition| condition.status != "True");
    Some(failed.map_or_else(|| "no token yet".into(), |it| format!("{}: {}", it.reason, it.message)))
}

/// Why the virtual node is not there. Fails if another node has its name.
fn node_problem(target: &str, node: Option<&Node>, source: &str) -> anyhow::Result<Option<&'static str>> {
    match node {
        None => Ok(Some("the launcher has not created it yet")),
        Some(node) if is_virtual_node(node) => Ok(None),
        Some(_) => bail!(
            "{target}: node {source} exists already and is not virtual, so the launcher can't use its name; link the source under \
             another name with --source-name"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;
    use mcsa_credentials::contract::launch::{FIELD_MANAGER, NODE_MANAGED_BY};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn import(status: Value) -> ServiceAccountImport {
        let spec = json!({ "clusterName": "c2", "namespace": "team-a", "name": "launcher-c1" });
        serde_json::from_value(
            json!({ "metadata": { "name": "a", "generation": 2 }, "spec": spec, "status": status }),
        )
        .unwrap()
    }

    fn condition(type_: &str, status: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": "Reason", "message": "why",
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    #[rstest]
    #[case(json!(null), Some("the importer has not reconciled it yet"))]
    #[case(json!({ "observedGeneration": 1, "conditions": [condition("Ready", "True")] }),
        Some("the importer has not reconciled it yet"))]
    #[case(json!({ "observedGeneration": 2, "conditions": [condition("Ready", "True")] }), None)]
    #[case(json!({ "observedGeneration": 2, "conditions": [condition("Ready", "False")] }), Some("Reason: why"))]
    fn import_is_ready_by_its_current_condition(#[case] status: Value, #[case] expected: Option<&str>) {
        assert_eq!(import_problem(&import(status)).as_deref(), expected);
    }

    #[test]
    fn node_of_that_name_must_be_virtual() {
        let mut node = Node::default();
        assert!(node_problem("c1", None, "c2").unwrap().is_some());
        assert!(node_problem("c1", Some(&node), "c2").is_err());
        node.annotations_mut().insert(NODE_MANAGED_BY.into(), FIELD_MANAGER.into());
        assert_eq!(node_problem("c1", Some(&node), "c2").unwrap(), None);
    }
}
