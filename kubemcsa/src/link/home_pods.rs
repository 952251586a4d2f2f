//! Home pods: the pods of a target that are bound to the virtual node of a source, and the commands that end them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::{REMOTE_NAMESPACE, REMOTE_POD};

use super::flags::Flags;
use super::launcher::{is_launch_import, is_virtual_node, selection};
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// The home pods of a source that have not finished.
#[derive(Clone, Debug, Default)]
pub(crate) struct HomePods {
    /// The source's name in the target.
    pub(crate) source: String,
    pub(crate) pods: Vec<Pod>,
}

/// Lists the home pods of a source that have not finished. `imports`: those of the target; others are ignored.
pub(crate) async fn unfinished(
    target: &Cluster,
    source: &str,
    imports: &[ServiceAccountImport],
) -> Result<HomePods, CallError> {
    let nodes: Api<Node> = Api::all(target.client.clone());
    let is_launched = imports.iter().any(|import| is_launch_of(import, source));
    let node = match target.call(&format!("read node {source}"), nodes.get_opt(source)).await {
        // Without launches, few users need this right.
        Err(error) if error.refusal().is_some() && !is_launched => None,
        node => node?,
    };
    let mut found = HomePods { source: source.to_owned(), pods: Vec::new() };
    // Another node can have the name of a source.
    if node.map_or(is_launched, |node| is_virtual_node(&node)) {
        found.pods = list(target, None, source).await?;
        found.pods.retain(|pod| !has_finished(pod));
    }
    Ok(found)
}

/// Lists the pods on the node of a source, in a namespace of the target or in all.
pub(crate) async fn list(
    target: &Cluster,
    namespace: Option<&str>,
    source: &str,
) -> Result<Vec<Pod>, CallError> {
    let api: Api<Pod> = list::within(target, namespace);
    let params = ListParams::default().fields(&format!("spec.nodeName={source}"));
    let page = async |params: &ListParams| api.list(params).await;
    list::pages(target, &format!("list the pods on node {source}"), params, page).await
}

pub(crate) fn has_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The namespace that the pod runs in or asks for. `None`: that of its namespace's only launch import.
pub(crate) fn remote_namespace(pod: &Pod) -> Option<&str> {
    let annotations = pod.annotations();
    let launched = annotations.get(REMOTE_POD).and_then(|remote| remote.split_once('/')).map(|(it, _)| it);
    launched.or(annotations.get(REMOTE_NAMESPACE).map(String::as_str))
}

/// Fails if there are home pods, and prints the commands that end them. With `abandon`, warns instead. `others`: flags
/// of these commands.
pub(crate) fn ensure_none(
    target: &Cluster,
    found: &[(HomePods, Flags)],
    imports: &[ServiceAccountImport],
    abandon: bool,
    others: &str,
) -> anyhow::Result<()> {
    let found: Vec<_> = found.iter().filter(|(found, _)| !found.pods.is_empty()).collect();
    if found.is_empty() {
        return Ok(());
    }
    let summary: Vec<_> = found.iter().map(|(found, _)| summary(found)).collect();
    let summary = summary.join("; ");
    if abandon {
        output::warn(
            &target.name,
            &format!("abandoned: {summary}: they keep running there, and nobody ends them"),
        );
        return Ok(());
    }
    for (found, flags) in found {
        for command in stop_commands(found, imports, flags, others) {
            output::info(&target.name, &format!("to end pods of {}: {command}", found.source));
        }
    }
    bail!(
        "{}: nothing was deleted, because pods still run in sources: {summary}; end them first, with the commands above, or \
         pass --abandon-pods to leave them running there, where nobody ends them",
        target.name
    )
}

/// How many pods of which namespaces.
fn summary(found: &HomePods) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for pod in &found.pods {
        *counts.entry(pod.namespace().unwrap_or_default()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(namespace, count)| format!("{count} of {namespace}")).collect();
    format!("in {}: {}", found.source, counts.join(", "))
}

/// A command for each launch import that the pods need.
fn stop_commands(
    found: &HomePods,
    imports: &[ServiceAccountImport],
    flags: &Flags,
    others: &str,
) -> Vec<String> {
    let command = |(namespace, remote): &(String, String)| {
        flags.other_command("launch", &format!("{} --stop{others}", selection(namespace, remote)))
    };
    launches(found, imports).iter().map(command).collect()
}

/// The launches that the pods belong to: namespace and remote namespace.
fn launches(found: &HomePods, imports: &[ServiceAccountImport]) -> BTreeSet<(String, String)> {
    let mut launches = BTreeSet::new();
    for pod in &found.pods {
        let namespace = pod.namespace().unwrap_or_default();
        if let Some(remote) = remote_namespace(pod) {
            launches.insert((namespace, remote.to_owned()));
            continue;
        }
        let of_namespace = imports.iter().filter(|import| {
            is_launch_of(import, &found.source) && import.namespace().as_ref() == Some(&namespace)
        });
        let mut remotes: BTreeSet<_> = of_namespace.map(|import| import.spec.namespace.clone()).collect();
        if remotes.is_empty() {
            remotes.insert(namespace.clone());
        }
        launches.extend(remotes.into_iter().map(|remote| (namespace.clone(), remote)));
    }
    launches
}

fn is_launch_of(import: &ServiceAccountImport, source: &str) -> bool {
    is_launch_import(import) && import.spec.cluster_name == source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::flags::{SourceFlags, TargetFlags};
    use mcsa_client::ServiceAccountImportSpec;
    use mcsa_credentials::contract::launch::LABEL;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(namespace: &str, annotations: Value) -> Pod {
        serde_json::from_value(
            json!({ "metadata": { "name": "a", "namespace": namespace, "annotations": annotations } }),
        )
        .unwrap()
    }

    fn import(namespace: &str, source: &str, remote: &str) -> ServiceAccountImport {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: remote.into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new("a", spec);
        import.metadata.namespace = Some(namespace.into());
        import.labels_mut().insert(LABEL.into(), "true".into());
        import
    }

    fn commands(pods: Vec<Pod>, others: &str) -> Vec<String> {
        let imports =
            [import("a", "c2", "x"), import("a", "c2", "y"), import("b", "c2", "b"), import("a", "c3", "z")];
        let flags = Flags {
            command: "unlink",
            target: TargetFlags { context: Some("c1".into()), ..Default::default() },
            source: SourceFlags { context: Some("my c2".into()), ..Default::default() },
            ..Default::default()
        };
        stop_commands(&HomePods { source: "c2".into(), pods }, &imports, &flags, others)
    }

    #[rstest]
    #[case::launched(pod("a", json!({ REMOTE_POD: "x/a" })), &["a --remote-namespace x"])]
    #[case::not_launched_yet(pod("a", json!({})), &["a --remote-namespace x", "a --remote-namespace y"])]
    #[case::asks_for_a_namespace(pod("a", json!({ REMOTE_NAMESPACE: "y" })), &["a --remote-namespace y"])]
    #[case::same_name(pod("b", json!({})), &["b"])]
    #[case::import_is_gone(pod("c", json!({ REMOTE_POD: "z/a" })), &["c --remote-namespace z"])]
    fn each_launch_has_a_complete_command(#[case] pod: Pod, #[case] expected: &[&str]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|selected| {
                format!("kubemcsa launch {selected} --stop --target-context c1 --source-context 'my c2'")
            })
            .collect();
        assert_eq!(commands(vec![pod], ""), expected);
    }

    #[test]
    fn pods_of_one_launch_need_one_command() {
        let pods = vec![pod("b", json!({})), pod("b", json!({}))];
        let commands = commands(pods.clone(), " --local-only --now");
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert!(
            commands[0].starts_with("kubemcsa launch b --stop --local-only --now --target"),
            "{commands:?}"
        );
        assert_eq!(summary(&HomePods { source: "c2".into(), pods }), "in c2: 2 of b");
    }

    #[rstest]
    #[case("Pending", false)]
    #[case("Running", false)]
    #[case("Unknown", false)]
    #[case("Succeeded", true)]
    #[case("Failed", true)]
    fn finished_pods_are_not_awaited(#[case] phase: &str, #[case] expected: bool) {
        let mut pod = pod("a", json!({}));
        pod.status = serde_json::from_value(json!({ "phase": phase })).unwrap();
        assert_eq!(has_finished(&pod), expected);
    }
}
