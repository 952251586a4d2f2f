//! Measures the time from a new token in the Secret until all pods have it mounted.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::api::{Patch, PatchParams};
use mcsa_tests::{Imports, Installation, eventually, eventually_within};
use serde_json::json;

use crate::setup::NAMESPACE;

/// Twice the kubelet's worst case: it syncs every minute, from a cache that is up to a minute old.
const LIMIT: Duration = Duration::from_secs(240);

/// Refreshes the token in each round, and returns how long all mounts took to have it.
pub async fn measure(installed: &Installation, rounds: u32) -> anyhow::Result<Vec<Duration>> {
    let imports = Imports::of(installed.node.client(), NAMESPACE);
    let token = async || {
        imports.values("c2-pod-lister-token").await?.remove("token").context("the Secret has no token")
    };
    let mut durations = Vec::new();
    for round in 0..rounds {
        let before = token().await?;
        let patch = Patch::Merge(json!({ "spec": { "expirationSeconds": 3601 + round } }));
        imports.api.patch("c2-pod-lister", &PatchParams::default(), &patch).await?;
        let after = eventually("a new token", async || {
            let after = token().await?;
            ensure!(after != before, "the Secret still has the old token");
            Ok::<_, anyhow::Error>(after)
        })
        .await;
        let start = Instant::now();
        eventually_within(LIMIT, "the new token in all mounts", async || {
            let mounted = installed.node.mounted_values("token")?;
            let count = mounted.iter().filter(|token| **token == after).count();
            ensure!(count == 2, "{count} of 2 pods have the token");
            Ok(())
        })
        .await;
        durations.push(start.elapsed());
    }
    Ok(durations)
}
