//! Lists the pods of another cluster, from a pod with an import:
//!
//! ```text
//! list_remote_pods [IMPORT [SECONDS]]
//! ```
//!
//! `IMPORT` defaults to `c2-pod-lister`. With `SECONDS`, it lists the pods again at this interval. It may run for months:
//! the client uses each new token, certificate authority and address.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use mcsa_client::config;
use mcsa_client::live::LiveConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let import = args.next().unwrap_or_else(|| "c2-pod-lister".into());
    let remote = config::import(&import)?;
    let Some(seconds) = args.next() else { return list(&remote).await };
    let seconds = seconds.parse().with_context(|| format!("{seconds:?} is not a number of seconds"))?;
    loop {
        // Continue after an error: if the program ended, the kubelet could restart it minutes later.
        if let Err(error) = list(&remote).await {
            eprintln!("{error:#}");
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

async fn list(remote: &LiveConfig) -> anyhow::Result<()> {
    let pods = Api::<Pod>::default_namespaced(remote.client()).list(&Default::default()).await?;
    let (server, namespace) = (remote.config().cluster_url, remote.default_namespace());
    println!("{} pods in namespace {namespace} of {server}", pods.items.len());
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
        println!("{}/{} {phase}", pod.namespace().unwrap_or_default(), pod.name_any());
    }
    Ok(())
}
