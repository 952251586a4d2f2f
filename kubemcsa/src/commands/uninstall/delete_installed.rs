//! Third step: deletes what is installed, but no imports or links.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::delete_order;
use super::installed::{Found, NOT_OURS, warn_not_deleted};
use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::deletion::INTERVAL;
use crate::cluster::object::{self, PART_OF};

/// Deletes our objects, and warns of others that have the same names.
pub(crate) async fn delete(deleter: &mut Deleter, found: &Found) -> anyhow::Result<()> {
    for stage in delete_order::stages(&found.ours) {
        for object in &stage {
            deleter.delete(object).await?;
        }
        let deployments: Vec<_> = stage.iter().filter(|it| object::kind(it) == "Deployment").collect();
        if !deployments.is_empty() && !deleter.dry_run {
            wait_for_pods(deleter, &deployments).await?;
        }
    }
    if let Some(release) = found.ours.iter().find_map(object::helm_release) {
        let message = format!(
            "Helm still lists {release}; helm uninstall deletes it, and all imports if its value crd.keep is false"
        );
        output::warn(&deleter.cluster.name, &message);
    }
    for object in &found.others {
        warn_not_deleted(&deleter.cluster, object, NOT_OURS);
    }
    Ok(())
}

/// Waits until the pods are gone: until then, they serve requests of API servers that have not yet observed that the
/// webhook configuration is gone. On a timeout, uninstall goes on: pods of a lost node never terminate.
async fn wait_for_pods(deleter: &Deleter, deployments: &[&DynamicObject]) -> anyhow::Result<()> {
    let names: Vec<_> = deployments.iter().map(|deployment| deployment.name_any()).collect();
    let selector = format!("app.kubernetes.io/name in ({}),{PART_OF}={SYSTEM_NAMESPACE}", names.join(","));
    let params = ListParams::default().labels(&selector);
    let cluster = &deleter.cluster;
    let deadline = Instant::now() + deleter.timeout;
    let mut reported = 0;
    loop {
        // A ReplicaSet can still create pods.
        let mut left = names_of::<ReplicaSet>(cluster, &params).await?;
        left.extend(names_of::<Pod>(cluster, &params).await?);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let message = format!("not gone after {:?}, going on: {}", deleter.timeout, left.join(", "));
            output::warn(&cluster.name, &message);
            return Ok(());
        }
        if left.len() != reported {
            output::info(&cluster.name, &format!("waiting for pods to terminate: {}", left.join(", ")));
            reported = left.len();
        }
        sleep(INTERVAL).await;
    }
}

async fn names_of<K>(cluster: &Cluster, params: &ListParams) -> Result<Vec<String>, CallError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = object::words(&K::kind(&()));
    let api = Api::<K>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let listed = cluster.call(&format!("list the {kind}s of deployments"), api.list_metadata(params)).await?;
    Ok(listed.items.iter().map(|object| format!("{kind} {}", object.name_any())).collect())
}
