//! Clusters that become unreachable, and answer again.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::clusters::Health;
use mcsa_tests::Fault;
use tokio::time::{Instant, sleep, timeout};

use crate::scene::{HANGING, Scene};
use crate::watchers::{Observation, Watcher};

/// How long a cluster stays unreachable after that was noticed: long enough for health checks to become rare.
const LOST: Duration = Duration::from_secs(10);

/// Deadline for noticing a change.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times until a change was noticed: by our controller, and by a kube watcher if it noticed the change by then.
#[derive(Default)]
pub struct Losses {
    pub killed: (Duration, Option<Duration>),
    pub started: (Duration, Duration),
    pub hung: (Duration, Option<Duration>),
    pub freed: (Duration, Duration),
}

/// Kills the API server, and starts it again.
pub async fn killed(scene: &Scene, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(scene.config_maps());
    let version = scene.change("before the kill").await?;
    watcher.observed(&Observation::Object("".into(), version), Instant::now()).await?;
    let begun = Instant::now();
    scene.remote.stop_api_server();
    let noticed = unreachable(scene, "c2", begun).await?;
    losses.killed = (noticed, watcher.has_observed(&Observation::Error, begun));
    sleep(LOST).await;
    scene.remote.start_api_server().await?;
    let begun = Instant::now();
    let version = scene.change("after the kill").await?;
    let kubes = watcher.observed(&Observation::Object("".into(), version.clone()), begun).await?;
    losses.started = (ours.observed(&Observation::Object("c2".into(), version), begun).await?, kubes);
    Ok(())
}

/// Makes the proxy forward nothing for a while.
pub async fn hung(scene: &Scene, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(scene.hanging_config_maps()?);
    let version = scene.change("before it hangs").await?;
    watcher.observed(&Observation::Object("".into(), version.clone()), Instant::now()).await?;
    ours.observed(&Observation::Object(HANGING.into(), version), Instant::now()).await?;
    let begun = Instant::now();
    scene.proxy.set(Fault::Hang);
    let noticed = unreachable(scene, HANGING, begun).await?;
    losses.hung = (noticed, watcher.has_observed(&Observation::Error, begun));
    let version = scene.change("while it hangs").await?;
    sleep(LOST).await;
    let begun = Instant::now();
    scene.proxy.set(Fault::Pass);
    let kubes = watcher.observed(&Observation::Object("".into(), version.clone()), begun).await?;
    losses.freed = (ours.observed(&Observation::Object(HANGING.into(), version), begun).await?, kubes);
    Ok(())
}

async fn unreachable(scene: &Scene, name: &str, since: Instant) -> anyhow::Result<Duration> {
    let member = scene.clusters.get(name).with_context(|| format!("{name} is not a member"))?;
    let mut health = member.watch_health();
    timeout(PATIENCE, health.wait_for(Health::is_unavailable))
        .await
        .with_context(|| format!("{name} still counts as reachable"))??;
    Ok(since.elapsed())
}
