//! Keeps copies of Deployments in all clusters of a kubeconfig, with the replicas of the original.
//!
//! ```text
//! keep_replicas HOME NAMESPACE
//! ```
//!
//! Copies Deployments with the label `replicate`, of a namespace in the context `HOME`, to the same namespace of all
//! other contexts. A copy that is scaled or changed is set back. Copies are deleted with the original, and when it loses
//! the label. Contexts may be added, removed and renamed meanwhile. A cluster without a context keeps its copies.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use futures::{StreamExt, future::join_all};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::{Predicate, controller::Action, predicates, watcher};
use kube::{Api, Error, ResourceExt};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::config::Contexts;
use mcsa_client::controller::{Controller, Owner, Request, WatchConfig};

async fn reconcile(request: Request<Deployment>, clusters: Arc<Clusters>) -> kube::Result<Action> {
    let owner = request.owner().await?;
    let others = clusters.members().into_iter().filter(|member| !member.is_local());
    // Concurrently, so that a cluster that does not respond delays no other.
    let copies = join_all(others.map(async |member| match keep(&member, &request.object, &owner).await {
        Ok(is_kept) => Ok(is_kept.then(|| member.name().clone())),
        Err(error) => Err(Error::Service(format!("cluster {}: {error}", member.name()).into())),
    }));
    let copies = copies.await.into_iter().filter_map(Result::transpose).collect::<kube::Result<Vec<_>>>()?;
    println!("{} has copies in {copies:?}", request.key());
    Ok(Action::await_change())
}

/// Creates, repairs or deletes the copy in a cluster. Returns whether there is one now.
async fn keep(member: &Member, original: &Deployment, owner: &Owner) -> kube::Result<bool> {
    // Another context may lead to the cluster of the original.
    if member.cluster_uid().await? == owner.cluster_uid {
        return Ok(false);
    }
    let name = original.name_any();
    let api = Api::<Deployment>::namespaced(member.client(), &original.namespace().unwrap_or_default());
    match (original.labels().contains_key("replicate"), api.get_metadata_opt(&name).await?) {
        (true, Some(found)) if !owner.owns(&found.metadata) => Err(Error::Service("it is not a copy".into())),
        (true, _) => {
            let mut copy = Deployment { spec: original.spec.clone(), ..Default::default() };
            copy.metadata.name = Some(name.clone());
            owner.apply_to(&mut copy);
            api.patch(&name, &PatchParams::apply("keeper").force(), &Patch::Apply(copy)).await.map(|_| true)
        }
        (false, Some(found)) if owner.owns(&found.metadata) => {
            let unchanged = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
            api.delete(&name, &DeleteParams::default().preconditions(unchanged)).await.map(|_| false)
        }
        (false, _) => Ok(false),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [home, namespace] = args.as_slice() else { bail!("usage: keep_replicas HOME NAMESPACE") };
    let (home, all) = (home.as_str(), Contexts::from_env());
    let clusters = Clusters::builder().local(home, all.context(Some(home))?).all_contexts(all).start()?;
    let copies = WatchConfig::from(watcher::Config::default()).members(|member| !member.is_local());
    // Watches all Deployments: the copies of one that loses the label must be deleted.
    Controller::<Deployment>::new(&clusters, watcher::Config::default())
        .namespace(namespace)
        .members(Member::is_local)
        .predicate(predicates::generation.combine(predicates::labels))
        .owns::<Deployment>(copies)
        // A cluster that joins has no copies yet.
        .reconcile_all_on(clusters.watch().map(drop))
        .shutdown_on_signal()
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(10)), Arc::new(clusters))
        .for_each(async |result| drop(result.inspect_err(|error| eprintln!("{error}"))))
        .await;
    Ok(())
}
