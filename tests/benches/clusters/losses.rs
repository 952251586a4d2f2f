//! Clusters that become unreachable, and answer again.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::clusters::Health;
use mcsa_tests::Fault;
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::{Fixture, HANGING};
use crate::watchers::{Observation, Watcher};

/// How long a cluster stays unreachable after that was noticed: long enough for health checks to become rare.
const LOST: Duration = Duration::from_secs(10);

/// Deadline for noticing a change.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times until a change was noticed: by our controller, and by a kube watcher if it noticed the change by then.
#[derive(Default)]
pub struct Losses {
    pub killed: (Duration, Option<Duration>),
    pub started: (Duration, Duration),
    pub hung: (Duration, Option<Duration>),
    pub freed: (Duration, Duration),
}

/// Kills the API server, and starts it again.
pub async fn killed(fixture: &Fixture, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(fixture.config_maps());
    let version = fixture.change("before the kill").await?;
    watcher.observed(&Observation::Object("".into(), version), Instant::now()).await?;
    let started = Instant::now();
    fixture.remote.stop_api_server();
    let noticed = unreachable(fixture, "c2", started).await?;
    losses.killed = (noticed, watcher.has_observed(&Observation::Error, started));
    sleep(LOST).await;
    fixture.remote.start_api_server().await?;
    let started = Instant::now();
    let version = fixture.change("after the kill").await?;
    let kubes = watcher.observed(&Observation::Object("".into(), version.clone()), started).await?;
    losses.started = (ours.observed(&Observation::Object("c2".into(), version), started).await?, kubes);
    Ok(())
}

/// Makes the proxy forward nothing for a while.
pub async fn hung(fixture: &Fixture, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(fixture.hanging_config_maps()?);
    let version = fixture.change("before it hangs").await?;
    watcher.observed(&Observation::Object("".into(), version.clone()), Instant::now()).await?;
    ours.observed(&Observation::Object(HANGING.into(), version), Instant::now()).await?;
    let started = Instant::now();
    fixture.proxy.set(Fault::Hang);
    let noticed = unreachable(fixture, HANGING, started).await?;
    losses.hung = (noticed, watcher.has_observed(&Observation::Error, started));
    let version = fixture.change("while it hangs").await?;
    sleep(LOST).await;
    let started = Instant::now();
    fixture.proxy.set(Fault::Pass);
    let kubes = watcher.observed(&Observation::Object("".into(), version.clone()), started).await?;
    losses.freed = (ours.observed(&Observation::Object(HANGING.into(), version), started).await?, kubes);
    Ok(())
}

async fn unreachable(fixture: &Fixture, name: &str, since: Instant) -> anyhow::Result<Duration> {
    let member = fixture.clusters.get(name).with_context(|| format!("{name} is not a member"))?;
    let mut health = member.watch_health();
    timeout(TIMEOUT, health.wait_for(Health::is_unavailable))
        .await
        .with_context(|| format!("{name} still counts as reachable"))??;
    Ok(since.elapsed())
}
