//! From a new token in the Secret to the same in the mounts of all pods.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::api::{Patch, PatchParams};
use mcsa_tests::{Imports, Installed, eventually, eventually_within};
use serde_json::json;

use crate::journey::NAMESPACE;

/// Twice what a kubelet takes at most: a sync each minute, and a cache of a minute's age.
const LIMIT: Duration = Duration::from_secs(240);

/// How long each of so many refreshes took to be mounted.
pub async fn measure(installed: &Installed, rounds: u32) -> anyhow::Result<Vec<Duration>> {
    let imports = Imports::of(installed.node.client(), NAMESPACE);
    let token = async || imports.values("c2-pod-lister-token").await?.remove("token").context("no token");
    let mut taken = Vec::new();
    for round in 0..rounds {
        let before = token().await?;
        let patch = Patch::Merge(json!({ "spec": { "expirationSeconds": 3601 + round } }));
        imports.api.patch("c2-pod-lister", &PatchParams::default(), &patch).await?;
        let after = eventually("a new token", async || {
            let after = token().await?;
            ensure!(after != before, "it is the old one");
            Ok::<_, anyhow::Error>(after)
        })
        .await;
        let begin = Instant::now();
        eventually_within(LIMIT, "the new token in all mounts", async || {
            let mounted = installed.node.mounted("token")?;
            let count = mounted.iter().filter(|token| **token == after).count();
            ensure!(count == 2, "{count} of 2 pods have it");
            Ok(())
        })
        .await;
        taken.push(begin.elapsed());
    }
    Ok(taken)
}
