//! The smallest controller for several clusters: prints the phases of their pods.
//!
//! ```text
//! watch_pods [CONTEXT...]
//! ```
//!
//! Without contexts, for use in a pod: the clusters of the mounted imports.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use mcsa_client::clusters::Clusters;
use mcsa_client::config::Contexts;
use mcsa_client::controller::{Controller, Request};

async fn reconcile(request: Request<Pod>, _: Arc<()>) -> kube::Result<Action> {
    let phase = request.object.status.as_ref().and_then(|status| status.phase.as_deref());
    println!("{} is {}", request.key(), phase.unwrap_or("Unknown"));
    Ok(Action::await_change())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let contexts: Vec<_> = std::env::args().skip(1).collect();
    let clusters = match contexts.as_slice() {
        [] => Clusters::builder().mounted().start()?,
        names => Clusters::builder().contexts(Contexts::from_env(), names).start()?,
    };
    Controller::<Pod>::new(&clusters, watcher::Config::default())
        .shutdown_on_signal()
        .run(reconcile, |request, _, _| request.backoff(), Arc::new(()))
        .for_each(|result| async move {
            if let Err(error) = result {
                eprintln!("{error}");
            }
        })
        .await;
    Ok(())
}
