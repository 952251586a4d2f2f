//! A program in a pod that lists the pods of another cluster, as the service account that its import
//! stands for:
//!
//! ```text
//! list_remote_pods [IMPORT [SECONDS]]
//! ```
//!
//! `IMPORT` is `c2-pod-lister` where it is not given. With `SECONDS`, it lists again and again.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let import = args.next().unwrap_or_else(|| "c2-pod-lister".into());
    let Some(seconds) = args.next() else { return list(&import).await };
    let seconds = seconds.parse().with_context(|| format!("{seconds:?} is no number of seconds"))?;
    loop {
        // One that fails is no reason to stop: the next may be minutes after a source has come back.
        if let Err(error) = list(&import).await {
            eprintln!("{error:#}");
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

/// With a configuration of now: a client keeps the address and the authority that it was made with.
async fn list(import: &str) -> anyhow::Result<()> {
    let config = mcsa_client::config::import(import)?;
    let (server, namespace) = (config.cluster_url.clone(), config.default_namespace.clone());
    let pods = Api::<Pod>::default_namespaced(Client::try_from(config)?);
    let pods = pods.list(&Default::default()).await?;
    println!("{} pods in namespace {namespace} of {server}", pods.items.len());
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
        println!("{}/{} {phase}", pod.namespace().unwrap_or_default(), pod.name_any());
    }
    Ok(())
}
