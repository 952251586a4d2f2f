//! Clusters that are lost, and come back.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::clusters::Health;
use mcsa_tests::Fault;
use tokio::time::{Instant, sleep, timeout};

use crate::scene::{HANGING, Scene};
use crate::watchers::{Sight, Watcher};

/// How long a cluster is lost after that was noticed: long enough for its being back to take a while to notice.
const LOST: Duration = Duration::from_secs(10);

/// How long to wait for what is to be noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it took until it was noticed: by us, and by a watcher of kube's, if that did in the same time.
#[derive(Default)]
pub struct Losses {
    pub killed: (Duration, Option<Duration>),
    pub started: (Duration, Duration),
    pub hung: (Duration, Option<Duration>),
    pub freed: (Duration, Duration),
}

/// Its API server is killed, and started again.
pub async fn killed(scene: &Scene, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(scene.config_maps());
    let version = scene.change("before the kill").await?;
    watcher.saw(&Sight::Object("".into(), version), Instant::now()).await?;
    let begun = Instant::now();
    scene.away.stop_api_server();
    let noticed = away(scene, "c2", begun).await?;
    losses.killed = (noticed, watcher.has_seen(&Sight::Trouble, begun));
    sleep(LOST).await;
    scene.away.start_api_server().await?;
    let begun = Instant::now();
    let seen = scene.change("after the kill").await?;
    let kubes = watcher.saw(&Sight::Object("".into(), seen.clone()), begun).await?;
    losses.started = (ours.saw(&Sight::Object("c2".into(), seen), begun).await?, kubes);
    Ok(())
}

/// The way to it forwards nothing for a while.
pub async fn hung(scene: &Scene, ours: &mut Watcher, losses: &mut Losses) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(scene.hanging_config_maps()?);
    let version = scene.change("before it hangs").await?;
    watcher.saw(&Sight::Object("".into(), version.clone()), Instant::now()).await?;
    ours.saw(&Sight::Object(HANGING.into(), version), Instant::now()).await?;
    let begun = Instant::now();
    scene.proxy.set(Fault::Hang);
    let noticed = away(scene, HANGING, begun).await?;
    losses.hung = (noticed, watcher.has_seen(&Sight::Trouble, begun));
    let version = scene.change("while it hangs").await?;
    sleep(LOST).await;
    let begun = Instant::now();
    scene.proxy.set(Fault::Pass);
    let kubes = watcher.saw(&Sight::Object("".into(), version.clone()), begun).await?;
    losses.freed = (ours.saw(&Sight::Object(HANGING.into(), version), begun).await?, kubes);
    Ok(())
}

async fn away(scene: &Scene, name: &str, since: Instant) -> anyhow::Result<Duration> {
    let member = scene.clusters.get(name).with_context(|| format!("{name} is no member"))?;
    let mut health = member.watch_health();
    timeout(PATIENCE, health.wait_for(Health::is_away))
        .await
        .with_context(|| format!("{name} seems well"))??;
    Ok(since.elapsed())
}
