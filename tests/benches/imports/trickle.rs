//! The time until imports that are declared one by one are ready.

use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::ServiceAccountImport;

use crate::fixture::Fixture;
use crate::observer::{Observer, key};
use crate::plan::Group;

/// Interval of declarations.
const INTERVAL: Duration = Duration::from_millis(100);

/// The times from declared to ready, sorted.
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

/// Declares `count` imports, and deletes them once all are ready.
pub async fn run(fixture: &Fixture, observer: &Observer, count: usize) -> anyhow::Result<Trickle> {
    let client = fixture.target.client();
    let mut declared = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    for import in fixture.plan.imports(Group::Trickle, 0..count) {
        let key = key(&import);
        let api = Api::<ServiceAccountImport>::namespaced(client.clone(), &key.0);
        if declared.is_empty() {
            // The first create of a kind can take seconds.
            let rehearsal = PostParams { dry_run: true, ..Default::default() };
            api.create(&rehearsal, &import).await?;
        }
        ticks.tick().await;
        let started = Instant::now();
        api.create(&PostParams::default(), &import).await?;
        declared.push((key, started));
    }
    observer.all(Group::Trickle.prefix(), count, "ready", |seen| seen.ready).await?;
    let took = declared.iter().map(|(key, started)| {
        let ready = observer.ready(key).context("an import was deleted")?;
        Ok(ready.duration_since(*started))
    });
    let mut took = took.collect::<anyhow::Result<Vec<_>>>()?;
    took.sort_unstable();
    fixture.delete(Group::Trickle).await?;
    observer.none(Group::Trickle.prefix()).await?;
    Ok(Trickle(took))
}
