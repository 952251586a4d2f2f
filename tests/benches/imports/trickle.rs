//! Measures the time until imports that are created one by one are ready.

use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::ServiceAccountImport;

use crate::fixture::Fixture;
use crate::observer::{Observer, key};
use crate::plan::Group;

/// Interval between creations.
const INTERVAL: Duration = Duration::from_millis(100);

/// The times from creation to ready, sorted.
pub struct Trickle(Vec<Duration>);

impl Trickle {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A percentile of the times.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Creates `count` imports, and deletes them after all are ready.
pub async fn run(fixture: &Fixture, observer: &Observer, count: usize) -> anyhow::Result<Trickle> {
    let client = fixture.target.client();
    let mut created = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    for import in fixture.plan.imports(Group::Trickle, 0..count) {
        let key = key(&import);
        let api = Api::<ServiceAccountImport>::namespaced(client.clone(), &key.0);
        if created.is_empty() {
            // The first create of a kind can take seconds.
            let dry_run = PostParams { dry_run: true, ..Default::default() };
            api.create(&dry_run, &import).await?;
        }
        ticks.tick().await;
        let started = Instant::now();
        api.create(&PostParams::default(), &import).await?;
        created.push((key, started));
    }
    observer.wait_for_all(Group::Trickle.prefix(), count, "ready", |observed| observed.ready).await?;
    let durations = created.iter().map(|(key, started)| {
        let ready = observer.ready(key).context("an import was deleted")?;
        Ok(ready.duration_since(*started))
    });
    let mut durations = durations.collect::<anyhow::Result<Vec<_>>>()?;
    durations.sort_unstable();
    fixture.delete(Group::Trickle).await?;
    observer.wait_until_gone(Group::Trickle.prefix()).await?;
    Ok(Trickle(durations))
}
