//! A program in a pod that lists the pods of another cluster, as the service account that its
//! import `c2-pod-lister` stands for (or the import that is named on the command line).

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let import = std::env::args().nth(1).unwrap_or_else(|| "c2-pod-lister".into());
    let config = mcsa_client::config::import(&import)?;
    let client = Client::try_from(config)?;

    let pods = Api::<Pod>::default_namespaced(client);
    for pod in pods.list(&Default::default()).await? {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
        println!("{}/{} {phase}", pod.namespace().unwrap_or_default(), pod.name_any());
    }
    Ok(())
}
