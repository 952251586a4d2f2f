//! Third step: what is installed, taken back. Imports and links are none of it.

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
use super::installed::Found;
use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::gone::PAUSE;
use crate::cluster::object::{self, PART_OF};

/// Takes back what is ours, and says what is not.
///
/// # Errors
/// When something can't be removed.
pub async fn delete(deleter: &mut Deleter, found: &Found) -> anyhow::Result<()> {
    for stage in delete_order::stages(&found.ours) {
        for object in &stage {
            deleter.delete(object).await?;
        }
        let deployments: Vec<_> = stage.iter().filter(|it| object::kind(it) == "Deployment").collect();
        if !deployments.is_empty() && !deleter.dry_run {
            until_pods_are_gone(deleter, &deployments).await?;
        }
    }
    if let Some(release) = found.ours.iter().find_map(object::helm_release) {
        let said = format!(
            "Helm still lists {release}: helm uninstall ends that, and deletes all imports if its value crd.keep is \
             false"
        );
        output::warn(&deleter.cluster.name, &said);
    }
    for object in &found.others {
        let said = format!("{} is left alone: nothing marks it as ours", object::title(object));
        output::warn(&deleter.cluster.name, &said);
    }
    Ok(())
}

/// Until then they serve what was asked before the API server heard that it need not ask. A node that is
/// lost never says that its pods have ended: they are not waited for without end, and lose their rights.
async fn until_pods_are_gone(deleter: &Deleter, deployments: &[&DynamicObject]) -> anyhow::Result<()> {
    let names: Vec<_> = deployments.iter().map(|deployment| deployment.name_any()).collect();
    let selector = format!("app.kubernetes.io/name in ({}),{PART_OF}={SYSTEM_NAMESPACE}", names.join(","));
    let params = ListParams::default().labels(&selector);
    let cluster = &deleter.cluster;
    let deadline = Instant::now() + deleter.timeout;
    let mut said = 0;
    loop {
        // As long as there is one of the first, there may be more of the second.
        let mut left = names_of::<ReplicaSet>(cluster, &params).await?;
        left.extend(names_of::<Pod>(cluster, &params).await?);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let seconds = deleter.timeout.as_secs();
            let said = format!("still there after {seconds} s, and not waited for: {}", left.join(", "));
            output::warn(&cluster.name, &said);
            return Ok(());
        }
        if left.len() != said {
            output::say(&cluster.name, &format!("waiting for pods to end: {}", left.join(", ")));
            said = left.len();
        }
        sleep(PAUSE).await;
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
