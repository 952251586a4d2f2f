//! First step: reads everything in the target that the caller may read.

mod launcher;
mod pods;
mod refused;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{ENABLED, GROUP, NAMESPACE_LABEL, SYSTEM_NAMESPACE};

use super::facts::{self, DeploymentStatus, Facts, Importer, NotChecked};
use crate::cluster::call::CallError;
use crate::cluster::policies::Policies;
use crate::cluster::{Cluster, lease, list};
use crate::link::existing;

/// Collects the facts of all namespaces, or of one. Records what the caller cannot read.
pub(crate) async fn collect(
    cluster: &Cluster,
    namespace: Option<&str>,
    timeout: Duration,
) -> anyhow::Result<Facts> {
    let (has_crd, namespaces) = tokio::join!(has_crd(cluster), namespaces(cluster, namespace));
    let has_crd = has_crd?;
    if let (Some(name), Ok(existing)) = (namespace, &namespaces) {
        // A misspelled namespace must not look healthy.
        ensure!(
            existing.contains_key(name),
            "namespace {name} does not exist in {}; choose another one with --namespace",
            cluster.name
        );
    }
    let (importer, webhook, secrets, imports, policies, pods, refused) = tokio::join!(
        importer(cluster, timeout),
        webhook::collect(cluster),
        existing::secrets(cluster),
        imports(cluster, namespace),
        Policies::read(cluster),
        pods::collect(cluster, namespace),
        refused::collect(cluster, namespace),
    );
    let mut errors = Errors::default();
    let (importer, webhook) = (errors.take(importer), errors.take(webhook));
    let secrets = errors.record(secrets, "Secret", Some(SYSTEM_NAMESPACE));
    let Imports { links, others } = imports;
    let links = errors.record(links, "ServiceAccountImport", Some(SYSTEM_NAMESPACE));
    let imports = errors.record(others, "ServiceAccountImport", namespace);
    let are_link_secrets_readable = secrets.is_some();
    let links = match (secrets, links) {
        (None, None) => None,
        (secrets, links) => Some(existing::pair(secrets.unwrap_or_default(), links.unwrap_or_default())),
    };
    let namespaces = errors.record(namespaces, "Namespace", None);
    let found = errors.record(pods, "Pod", namespace);
    let (pods, waiting_steps) = found.map(|found| (found.pods, found.waiting_steps)).unzip();
    let mut facts = Facts {
        now: Timestamp::now(),
        has_crd,
        importer,
        webhook,
        links,
        are_link_secrets_readable,
        imports,
        policies: errors.record(policies, "ImportPolicy", None),
        namespaces,
        pods,
        waiting_steps: waiting_steps.unwrap_or_default(),
        refused: errors.record(refused, "Deployment", namespace),
        ..Default::default()
    };
    facts.launcher = errors.take(launcher::collect(cluster, &facts).await);
    pods::find_controllers(cluster, &mut facts).await;
    facts.not_checked = errors.0;
    Ok(facts)
}

/// Something that was collected, and the errors on the way.
struct Collected<T> {
    value: T,
    errors: Errors,
}

#[derive(Default)]
struct Errors(Vec<NotChecked>);

impl Errors {
    /// Returns the value, or records the error.
    fn record<T>(&mut self, result: Result<T, CallError>, kind: &str, namespace: Option<&str>) -> Option<T> {
        let not_checked = |error: &CallError| NotChecked {
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            error: error.to_string(),
            is_refused: error.refusal().is_some(),
        };
        result.map_err(|error| self.0.push(not_checked(&error))).ok()
    }

    /// Returns the value, and adds its errors.
    fn take<T>(&mut self, collected: Collected<T>) -> T {
        self.0.extend(collected.errors.0);
        collected.value
    }
}

/// Fails if the target does not respond, as all other calls would. Every authenticated user may read this.
async fn has_crd(cluster: &Cluster) -> Result<bool, CallError> {
    let version = ServiceAccountImport::api_version(&());
    let resources = cluster.client.list_api_group_resources(&version);
    match cluster.call(&format!("list the resources of {GROUP}"), resources).await {
        Ok(resources) => {
            let plural = ServiceAccountImport::plural(&());
            Ok(resources.resources.iter().any(|resource| resource.name == plural))
        }
        Err(error) if error.is_not_found() => Ok(false),
        // The CRD may exist: listing the imports shows whether it does.
        Err(error) if error.refusal().is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

async fn importer(cluster: &Cluster, timeout: Duration) -> Collected<Importer> {
    let mut errors = Errors::default();
    let (deployment, lease) = tokio::join!(deployment(cluster, "importer"), lease::read(cluster));
    let deployment = errors.record(deployment, "Deployment", Some(SYSTEM_NAMESPACE));
    let lease = errors.record(lease, "Lease", Some(SYSTEM_NAMESPACE));
    let is_readable = deployment.is_some() && lease.is_some();
    let (deployment, lease) = (deployment.flatten(), lease.flatten());
    let has_leader = match &lease {
        Some(lease) => lease::is_renewed(cluster, lease, timeout).await,
        None => false,
    };
    let value = Importer {
        namespaces: deployment.as_ref().and_then(confined_to),
        deployment: deployment.as_ref().map(status),
        lease,
        has_leader,
        is_readable,
    };
    Collected { value, errors }
}

async fn deployment(cluster: &Cluster, name: &str) -> Result<Option<Deployment>, CallError> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    cluster.call(&format!("read deployment {SYSTEM_NAMESPACE}/{name}"), deployments.get_opt(name)).await
}

fn status(deployment: &Deployment) -> DeploymentStatus {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
    DeploymentStatus { desired, available: available.unwrap_or_default() }
}

/// The values of the importer's `--namespaces`.
fn confined_to(deployment: &Deployment) -> Option<BTreeSet<String>> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let args: Vec<&String> = pod.containers.first()?.args.iter().flatten().collect();
    let joined = args.iter().filter_map(|arg| arg.strip_prefix("--namespaces="));
    let separate = args.windows(2).filter(|pair| *pair[0] == "--namespaces").map(|pair| pair[1].as_str());
    let namespaces: BTreeSet<_> =
        joined.chain(separate).flat_map(|value| value.split(',')).map(str::to_owned).collect();
    (!namespaces.is_empty()).then_some(namespaces)
}

struct Imports {
    links: Result<Vec<ServiceAccountImport>, CallError>,
    others: Result<facts::Imports, CallError>,
}

async fn imports(cluster: &Cluster, namespace: Option<&str>) -> Imports {
    let links = list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::link_params());
    let all = list::readable_imports(cluster, namespace, ListParams::default());
    let (links, all) = tokio::join!(links, all);
    let key = |import: &ServiceAccountImport| (import.namespace().unwrap_or_default(), import.name_any());
    let others =
        all.map(|all| all.into_iter().filter(|import| !import.is_link()).map(|it| (key(&it), it)).collect());
    Imports { links, others }
}

async fn namespaces(cluster: &Cluster, namespace: Option<&str>) -> Result<BTreeMap<String, bool>, CallError> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let found = match namespace {
        Some(name) => {
            let one = cluster.call(&format!("read namespace {name}"), api.get_metadata_opt(name)).await?;
            one.into_iter().collect()
        }
        None => {
            let page = async |params: &ListParams| api.list_metadata(params).await;
            list::pages(cluster, "list namespaces", ListParams::default(), page).await?
        }
    };
    let is_enabled =
        |labels: &BTreeMap<String, String>| labels.get(NAMESPACE_LABEL).is_some_and(|value| value == ENABLED);
    Ok(found.iter().map(|found| (found.name_any(), is_enabled(found.labels()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!(["--log-format=json"]), None)]
    #[case(json!(["--namespaces=a,b", "--log=info"]), Some(&["a", "b"][..]))]
    #[case(json!(["--namespaces", "a"]), Some(&["a"][..]))]
    fn confined_namespaces_are_read_from_the_arguments(
        #[case] args: serde_json::Value,
        #[case] expected: Option<&[&str]>,
    ) {
        let pod = json!({ "containers": [{ "name": "importer", "args": args }] });
        let spec = json!({ "selector": {}, "template": { "spec": pod } });
        let deployment = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(confined_to(&deployment), expected);
    }
}
