//! First step: what there is in the target, as far as the caller may see it.

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

use super::facts::{self, Deployed, Facts, Importer, Unseen};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, lease, list};
use crate::link::existing;

/// Looks at all that matters, in all namespaces or one. What the caller may not see is noted.
///
/// # Errors
/// When the target does not answer, does not know the caller, or has no such namespace.
pub async fn collect(
    cluster: &Cluster,
    namespace: Option<&str>,
    patience: Duration,
) -> anyhow::Result<Facts> {
    let (has_crd, namespaces) = tokio::join!(has_crd(cluster), namespaces(cluster, namespace));
    let has_crd = has_crd?;
    if let (Some(name), Ok(found)) = (namespace, &namespaces) {
        // Nothing would be found in it, and that would look well.
        ensure!(found.contains_key(name), "there is no namespace {name} in {}", cluster.name);
    }
    let (importer, webhook, secrets, imports, pods, refused) = tokio::join!(
        importer(cluster, patience),
        webhook::collect(cluster),
        existing::secrets(cluster),
        imports(cluster, namespace),
        pods::collect(cluster, namespace),
        refused::collect(cluster, namespace),
    );
    let mut unseen = Vec::new();
    let (importer, webhook) = (importer.noted(&mut unseen), webhook.noted(&mut unseen));
    let secrets = note(secrets, "Secret", Some(SYSTEM_NAMESPACE), &mut unseen);
    let Imports { links, others } = imports;
    let links = note(links, "ServiceAccountImport", Some(SYSTEM_NAMESPACE), &mut unseen);
    let imports = note(others, "ServiceAccountImport", namespace, &mut unseen);
    let sees_link_secrets = secrets.is_some();
    let links = match (secrets, links) {
        (None, None) => None,
        (secrets, links) => Some(existing::pair(secrets.unwrap_or_default(), links.unwrap_or_default())),
    };
    let mut facts = Facts {
        now: Timestamp::now(),
        has_crd,
        importer,
        webhook,
        links,
        sees_link_secrets,
        imports,
        namespaces: note(namespaces, "Namespace", None, &mut unseen),
        pods: note(pods, "Pod", namespace, &mut unseen),
        refused: note(refused, "Deployment", namespace, &mut unseen),
        ..Default::default()
    };
    pods::find_controllers(cluster, &mut facts).await;
    facts.unseen = unseen;
    Ok(facts)
}

/// What was seen, and what could not be.
struct Seen<T> {
    what: T,
    unseen: Vec<Unseen>,
}

impl<T> Seen<T> {
    fn noted(self, unseen: &mut Vec<Unseen>) -> T {
        unseen.extend(self.unseen);
        self.what
    }
}

/// What was looked at; none, and that is noted, where it could not be.
fn note<T>(
    looked: Result<T, CallError>,
    kind: &str,
    namespace: Option<&str>,
    unseen: &mut Vec<Unseen>,
) -> Option<T> {
    let noted = |error: &CallError| Unseen {
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        why: error.to_string(),
    };
    looked.map_err(|error| unseen.push(noted(&error))).ok()
}

/// Everyone may ask this, so whoever gets no answer gets none to anything else.
async fn has_crd(cluster: &Cluster) -> Result<bool, CallError> {
    let version = ServiceAccountImport::api_version(&());
    let resources = cluster.client.list_api_group_resources(&version);
    match cluster.call(&format!("read which resources {GROUP} has"), resources).await {
        Ok(resources) => {
            let plural = ServiceAccountImport::plural(&());
            Ok(resources.resources.iter().any(|resource| resource.name == plural))
        }
        Err(error) if error.is_not_found() => Ok(false),
        // Then it is known soon enough.
        Err(error) if error.refusal().is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

async fn importer(cluster: &Cluster, patience: Duration) -> Seen<Importer> {
    let mut unseen = Vec::new();
    let (deployment, lease) = tokio::join!(deployment(cluster, "importer"), lease::read(cluster));
    let deployment = note(deployment, "Deployment", Some(SYSTEM_NAMESPACE), &mut unseen);
    let lease = note(lease, "Lease", Some(SYSTEM_NAMESPACE), &mut unseen);
    let is_seen = deployment.is_some() && lease.is_some();
    let (deployment, lease) = (deployment.flatten(), lease.flatten());
    let is_leading = match &lease {
        Some(lease) => lease::is_renewed(cluster, lease, patience).await,
        None => false,
    };
    let what = Importer {
        confined: deployment.as_ref().and_then(confined),
        deployment: deployment.as_ref().map(deployed),
        lease,
        is_leading,
        is_seen,
    };
    Seen { what, unseen }
}

async fn deployment(cluster: &Cluster, name: &str) -> Result<Option<Deployment>, CallError> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    cluster.call(&format!("read deployment {SYSTEM_NAMESPACE}/{name}"), deployments.get_opt(name)).await
}

/// How many of its pods there are.
fn deployed(deployment: &Deployment) -> Deployed {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
    Deployed { wanted, available: available.unwrap_or_default() }
}

/// The namespaces that its `--namespaces` names.
fn confined(deployment: &Deployment) -> Option<BTreeSet<String>> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let args: Vec<&String> = pod.containers.first()?.args.iter().flatten().collect();
    let inline = args.iter().filter_map(|arg| arg.strip_prefix("--namespaces="));
    let apart = args.windows(2).filter(|pair| *pair[0] == "--namespaces").map(|pair| pair[1].as_str());
    let named: BTreeSet<_> =
        inline.chain(apart).flat_map(|value| value.split(',')).map(str::to_owned).collect();
    (!named.is_empty()).then_some(named)
}

/// The imports of links, and all others.
struct Imports {
    links: Result<Vec<ServiceAccountImport>, CallError>,
    others: Result<facts::Imports, CallError>,
}

async fn imports(cluster: &Cluster, namespace: Option<&str>) -> Imports {
    let links = list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::links());
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
    fn an_importer_is_confined(#[case] args: serde_json::Value, #[case] expected: Option<&[&str]>) {
        let pod = json!({ "containers": [{ "name": "importer", "args": args }] });
        let spec = json!({ "selector": {}, "template": { "spec": pod } });
        let deployment = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(confined(&deployment), expected);
    }
}
