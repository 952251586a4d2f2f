//! Reads imports in a process of its own, whose memory and processor time are measured.

use std::future::pending;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use mcsa_client::ServiceAccountImport;
use mcsa_client::clusters::{Clusters, Health, Imports};
use mcsa_client::contract::key;
use serde::{Deserialize, Serialize};

use crate::usage::Memory;

/// Number of Secrets that kube's clients are created from at the same time, as in our client.
const CONCURRENCY: usize = 8;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Resident memory before the start, in KiB.
    pub initial_kib: u64,
    /// Duration until all imports have joined.
    pub joined: Duration,
    /// Duration until all clusters have responded to each identity.
    pub responded: Duration,
}

/// Reads the imports, prints a [`Start`] in JSON, and keeps the clients until the process is killed. `is_kube`: with
/// one of kube's clients for each import.
#[tokio::main]
pub async fn run(kubeconfig: &Path, is_kube: bool) -> anyhow::Result<()> {
    let initial_kib = Memory::of(std::process::id())?.rss_kib;
    let home = mcsa_tests::client(Kubeconfig::read_from(kubeconfig)?)?;
    let print = |joined, responded| -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(&Start { initial_kib, joined, responded })?);
        Ok(())
    };
    let started = Instant::now();
    if is_kube {
        let clients = kubes_clients(&home).await?;
        print(started.elapsed(), started.elapsed())?;
        pending::<()>().await;
        drop(clients);
    } else {
        let clusters = Clusters::builder().imports(Imports::in_namespace(&home, "default")).start()?;
        clusters.wait_until_synced().await;
        let joined = started.elapsed();
        for member in clusters.members() {
            member.watch_health().wait_for(Health::is_ready).await?;
        }
        print(joined, started.elapsed())?;
        pending::<()>().await;
        drop(clusters);
    }
    Ok(())
}

/// A client for each import. Each has sent a request.
async fn kubes_clients(home: &Client) -> anyhow::Result<Vec<Client>> {
    let imports = Api::<ServiceAccountImport>::default_namespaced(home.clone());
    let secrets = &Api::<Secret>::default_namespaced(home.clone());
    let clients = stream::iter(imports.list(&Default::default()).await?).map(async |import| {
        let secret = secrets.get(&import.secret_name()).await?;
        let value = secret.data.and_then(|mut data| data.remove(key::KUBECONFIG));
        let value = value.context("the Secret has no kubeconfig")?;
        let client = mcsa_tests::client(Kubeconfig::from_yaml(str::from_utf8(&value.0)?)?)?;
        client.request_text(Request::get("/readyz").body(Vec::new())?).await?;
        anyhow::Ok(client)
    });
    clients.buffer_unordered(CONCURRENCY).try_collect().await
}
