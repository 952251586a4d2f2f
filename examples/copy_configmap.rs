//! Copies ConfigMaps of one cluster to all others, and deletes the copies when the originals are deleted.
//!
//! ```text
//! copy_configmap HOME CONTEXT...
//! ```
//!
//! ConfigMaps of the context `HOME` with the label `copy=everywhere` are copied to the namespaces of the same names in
//! the other contexts. A ConfigMap that is not a copy is never overwritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::config::Contexts;
use mcsa_client::controller::{Controller, Owner, Request};

const NAME: &str = "copy-configmap";

async fn reconcile(request: Request<ConfigMap>, clusters: Arc<Clusters>) -> kube::Result<Action> {
    let owner = request.owner().await?;
    let others = clusters.members().into_iter().filter(|member| *member != request.member);
    // Concurrently, so that an unreachable cluster does not delay the others.
    let copied = join_all(others.map(|member| copy(member, &request.object, &owner))).await;
    copied.into_iter().collect::<kube::Result<Vec<_>>>()?;
    println!("copied {} to all clusters", request.key());
    Ok(Action::await_change())
}

async fn copy(member: Member, original: &ConfigMap, owner: &Owner) -> kube::Result<()> {
    let (namespace, name) = (original.namespace().unwrap_or_default(), original.name_any());
    let mut copy = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(BTreeMap::new()),
            ..Default::default()
        },
        data: original.data.clone(),
        binary_data: original.binary_data.clone(),
        immutable: None,
    };
    owner.apply_to(&mut copy);
    let api = Api::<ConfigMap>::namespaced(member.client(), &namespace);
    if let Some(found) = api.get_metadata_opt(&name).await?
        && !owner.owns(&found.metadata)
    {
        let problem =
            format!("ConfigMap {namespace}/{name} in cluster {} exists, and is not a copy", member.name());
        return Err(kube::Error::Service(problem.into()));
    }
    api.patch(&name, &PatchParams::apply(NAME).force(), &Patch::Apply(copy)).await.map(drop)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names: Vec<_> = std::env::args().skip(1).collect();
    let [home, _, ..] = names.as_slice() else { bail!("usage: copy_configmap HOME CONTEXT...") };
    let clusters = Clusters::builder().contexts(Contexts::from_env(), &names).start()?;
    let home = clusters.get(home).with_context(|| format!("context {home} has not joined"))?;
    Controller::<ConfigMap>::new(&clusters, watcher::Config::default().labels("copy=everywhere"))
        .members(move |member| *member == home)
        .owns::<ConfigMap>(watcher::Config::default())
        // A cluster that joins has no copies yet.
        .reconcile_all_on(clusters.watch().map(drop))
        .shutdown_on_signal()
        .run(reconcile, |request, _, _| request.backoff(), Arc::new(clusters))
        .for_each(|result| async move {
            if let Err(error) = result {
                eprintln!("{error}");
            }
        })
        .await;
    Ok(())
}
