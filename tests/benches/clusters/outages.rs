//! Measures how soon the controller detects that a cluster is unreachable, and that it has recovered.

use std::time::Duration;

use anyhow::Context;
use mcsa_client::clusters::Health;
use mcsa_tests::Fault;
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::{Fixture, HANGING};
use crate::watchers::{Observation, Watcher};

/// How long a cluster stays unreachable after that is detected: long enough that the interval of health checks grows.
const OUTAGE: Duration = Duration::from_secs(10);

/// Deadline for detecting a change.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Durations until a change was detected by our controller, and by a kube watcher. `None`: the watcher had not
/// detected it by then.
#[derive(Default)]
pub struct Outages {
    pub killed: (Duration, Option<Duration>),
    pub started: (Duration, Duration),
    pub hung: (Duration, Option<Duration>),
    pub freed: (Duration, Duration),
}

/// Kills the API server, and starts it again.
pub async fn killed(fixture: &Fixture, ours: &mut Watcher, outages: &mut Outages) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(fixture.config_maps());
    let version = fixture.change("before the kill").await?;
    watcher.observed(&Observation::Object("".into(), version), Instant::now()).await?;
    let started = Instant::now();
    fixture.source.stop_api_server();
    let detected = unreachable(fixture, "c2", started).await?;
    outages.killed = (detected, watcher.has_observed(&Observation::Error, started));
    sleep(OUTAGE).await;
    fixture.source.start_api_server().await?;
    let started = Instant::now();
    let version = fixture.change("after the kill").await?;
    let kube_watcher = watcher.observed(&Observation::Object("".into(), version.clone()), started).await?;
    outages.started =
        (ours.observed(&Observation::Object("c2".into(), version), started).await?, kube_watcher);
    Ok(())
}

/// Makes the proxy forward nothing, and later forward again.
pub async fn hung(fixture: &Fixture, ours: &mut Watcher, outages: &mut Outages) -> anyhow::Result<()> {
    let mut watcher = Watcher::of_config_map(fixture.hanging_config_maps()?);
    let version = fixture.change("before it hangs").await?;
    watcher.observed(&Observation::Object("".into(), version.clone()), Instant::now()).await?;
    ours.observed(&Observation::Object(HANGING.into(), version), Instant::now()).await?;
    let started = Instant::now();
    fixture.proxy.set(Fault::Hang);
    let detected = unreachable(fixture, HANGING, started).await?;
    outages.hung = (detected, watcher.has_observed(&Observation::Error, started));
    let version = fixture.change("while it hangs").await?;
    sleep(OUTAGE).await;
    let started = Instant::now();
    fixture.proxy.set(Fault::Pass);
    let kube_watcher = watcher.observed(&Observation::Object("".into(), version.clone()), started).await?;
    outages.freed =
        (ours.observed(&Observation::Object(HANGING.into(), version), started).await?, kube_watcher);
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
