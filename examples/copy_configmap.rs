//! Copies ConfigMaps of one cluster to all others, and deletes the copies when the originals are deleted.
//!
//! ```text
//! copy_configmap HOME CONTEXT...
//! ```
//!
//! ConfigMaps of the context `HOME` with the label `copy=everywhere` are copied to the namespaces of the same names in
//! the other contexts. A ConfigMap that is not a copy is never overwritten.
//!
//! With another value, such as `copy=nowhere`, the copies are deleted. A ConfigMap without the label is not watched: do
//! not remove the label while there are copies, which would stay as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::config::Contexts;
use mcsa_client::controller::{Controller, Owner, Request, WatchConfig};

const NAME: &str = "copy-configmap";
const LABEL: &str = "copy";

async fn reconcile(request: Request<ConfigMap>, clusters: Arc<Clusters>) -> kube::Result<Action> {
    let owner = request.owner().await?;
    let is_copied = request.object.labels().get(LABEL).is_some_and(|value| value == "everywhere");
    let others = clusters.members().into_iter().filter(|member| *member != request.member);
    // Concurrently, so that an unreachable cluster does not delay the others.
    let changes = others.map(async |member| match is_copied {
        true => copy(member, &request.object, &owner).await,
        false => delete_copy(member, &request.object, &owner).await,
    });
    join_all(changes).await.into_iter().collect::<kube::Result<Vec<_>>>()?;
    match is_copied {
        true => println!("copied {} to all clusters", request.key()),
        false => println!("{} has no copies", request.key()),
    }
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

async fn delete_copy(member: Member, original: &ConfigMap, owner: &Owner) -> kube::Result<()> {
    let (namespace, name) = (original.namespace().unwrap_or_default(), original.name_any());
    let api = Api::<ConfigMap>::namespaced(member.client(), &namespace);
    let found = api.get_metadata_opt(&name).await?.filter(|found| owner.owns(&found.metadata));
    let Some(found) = found else { return Ok(()) };
    // Only if it is still the copy.
    let preconditions = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    api.delete(&name, &params).await.map(drop)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names: Vec<_> = std::env::args().skip(1).collect();
    let [home, _, ..] = names.as_slice() else { bail!("usage: copy_configmap HOME CONTEXT...") };
    let clusters = Clusters::builder().contexts(Contexts::from_env(), &names).start()?;
    let home = clusters.get(home).with_context(|| format!("context {home} has not joined"))?;
    let original = home.clone();
    let copies = WatchConfig::from(watcher::Config::default()).members(move |member| *member != original);
    Controller::<ConfigMap>::new(&clusters, watcher::Config::default().labels(LABEL))
        .members(move |member| *member == home)
        .owns::<ConfigMap>(copies)
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
