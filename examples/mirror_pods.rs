//! Runs pods of this cluster in others, with imports that have rights in one namespace each.
//!
//! ```text
//! mirror_pods [CONTEXT]
//! ```
//!
//! A pod with the label `mirror=IMPORT` is created in the source of that import of its namespace, in the namespace of
//! the imported service account, and its status is copied back. The import needs the label `mirror=pods`, and the pod a
//! `schedulerName` that no scheduler has, so that no local node runs it. The remote pod is deleted with the local one,
//! but not if that loses the label.
//! Without `CONTEXT`, the program uses the service account of its own pod. Rights:
//!
//! - here: `get`, `list`, `watch` pods, `patch` their `status`, `list`, `watch` serviceaccountimports, `get` their
//!   Secrets, and `get` the namespace `kube-system`;
//! - of an imported service account, in its namespace only: `get`, `list`, `watch`, `create`, `delete` pods.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::api::{Patch, PatchParams};
use kube::runtime::{controller::Action, watcher};
use kube::{Api, Error, ResourceExt};
use mcsa_client::clusters::{Clusters, Imports, Member};
use mcsa_client::config;
use mcsa_client::controller::{Controller, Owner, Request, WatchConfig};
use serde_json::json;

async fn reconcile(request: Request<Pod>, clusters: Arc<Clusters>) -> kube::Result<Action> {
    let (pod, owner) = (&request.object, request.owner().await?);
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let import = format!("{namespace}.{}", pod.labels().get("mirror").map_or("", String::as_str));
    let member = clusters.get(&import);
    let member = member.ok_or_else(|| Error::Service(format!("import {import} is not a member").into()))?;
    let api = Api::<Pod>::default_namespaced(member.client());
    let remote = match api.get_opt(&name).await? {
        None => api.create(&Default::default(), &remote(pod, &owner)).await?,
        Some(remote) if owner.owns(&remote.metadata) => remote,
        Some(_) => return Err(Error::Service(format!("{name} of {import} is another pod").into())),
    };
    if remote.status != pod.status {
        let status = Patch::Merge(json!({ "status": remote.status }));
        request.api().patch_status(&name, &PatchParams::default(), &status).await?;
    }
    Ok(Action::await_change())
}

/// The remote pod: the containers, without what admission has added for this cluster.
fn remote(pod: &Pod, owner: &Owner) -> Pod {
    let PodSpec { containers, restart_policy, .. } = pod.spec.clone().unwrap_or_default();
    let containers = containers.into_iter().map(|container| Container { volume_mounts: None, ..container });
    let spec = PodSpec { containers: containers.collect(), restart_policy, ..Default::default() };
    let mut remote = Pod { spec: Some(spec), ..Default::default() };
    remote.metadata.name = pod.metadata.name.clone();
    owner.apply_to(&mut remote);
    remote
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let context = std::env::args().nth(1);
    let local = context.map_or_else(config::in_cluster, |context| config::context(Some(&context)))?;
    let imports = Imports::in_all_namespaces(&local.client()).labels("mirror=pods");
    let clusters = Clusters::builder().local("local", local).imports(imports).start()?;
    Controller::<Pod>::new(&clusters, watcher::Config::default().labels("mirror"))
        .members(Member::is_local)
        .namespace_of(|member| (!member.is_local()).then(|| member.default_namespace().to_owned()))
        // Not `finalizer`: it would keep each local pod while any of the clusters does not respond.
        .owns::<Pod>(WatchConfig::from(watcher::Config::default()).members(|member| !member.is_local()))
        .reconcile_all_on(clusters.watch().map(drop))
        .shutdown_on_signal()
        .run(reconcile, |request, _, _| request.backoff(), Arc::new(clusters))
        .for_each(async |result| drop(result.inspect_err(|error| eprintln!("{error}"))))
        .await;
    Ok(())
}
