//! Measures how soon the controller detects that a cluster joins, becomes unreachable, recovers, or leaves.

use std::time::Duration;

use crate::fixture::Fixture;
use crate::joins::{self, Joins};
use crate::outages::{self, Outages};
use crate::table::Row;
use crate::units::median;
use crate::watchers::Watcher;

/// Interval at which the kubeconfig is read. A context leaves when it is missing twice in a row.
const KUBECONFIG_INTERVAL: Duration = Duration::from_secs(10);

/// Shortest interval of health checks, while it is unclear whether a cluster is reachable.
const MIN_HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Timeouts of the two health checks that must fail before a cluster counts as unreachable.
const HEALTH_CHECK_TIMEOUTS: Duration = Duration::from_secs(5 + 5);

/// How long a cluster may send nothing before a health check.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Longest interval of health checks of an unreachable cluster.
const MAX_HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Allowance for everything except these intervals.
const ALLOWANCE: Duration = Duration::from_secs(1);

/// A change, and how soon it was detected.
pub struct Detection {
    pub what: &'static str,
    duration: Duration,
    limit: Duration,
    peer: String,
}

pub async fn measure() -> anyhow::Result<Vec<Detection>> {
    let fixture = Fixture::start().await?;
    let mut ours = Watcher::ours(&fixture.clusters);
    let (mut joins, mut outages) = (Joins::default(), Outages::default());
    joins::context(&fixture, &mut ours, &mut joins).await?;
    joins::imports(&fixture, &mut ours, &mut joins).await?;
    outages::killed(&fixture, &mut ours, &mut outages).await?;
    outages::hung(&fixture, &mut ours, &mut outages).await?;
    joins::context_removed(&fixture, &mut ours, &mut joins).await?;
    Ok(detections(&joins, &outages))
}

fn detections(joins: &Joins, outages: &Outages) -> Vec<Detection> {
    let detection = |what, duration: Duration, limit: Duration, peer| Detection {
        what,
        duration,
        limit: limit + ALLOWANCE,
        peer,
    };
    let kube_watcher = |peer: Duration| format!("{} a kube watcher in one cluster", format_duration(peer));
    let kube_watcher_if_detected =
        |peer: Option<Duration>| peer.map_or("not detected by a kube watcher".into(), kube_watcher);
    let import = (median(&joins.imports), kube_watcher(median(&joins.watcher)));
    let import_deleted = (median(&joins.imports_deleted), kube_watcher(median(&joins.watcher_deleted)));
    let immediately = Duration::ZERO;
    vec![
        detection(
            "a context is added: first reconciliation",
            joins.context,
            KUBECONFIG_INTERVAL,
            String::new(),
        ),
        detection("an import receives its Secret: first reconciliation", import.0, immediately, import.1),
        detection(
            "an API server is killed: unreachable",
            outages.killed.0,
            MIN_HEALTH_CHECK_INTERVAL,
            kube_watcher_if_detected(outages.killed.1),
        ),
        detection(
            "it is restarted, and an object changes: reconciled",
            outages.started.0,
            MAX_HEALTH_CHECK_INTERVAL,
            kube_watcher(outages.started.1),
        ),
        detection(
            "a cluster stops responding: unreachable",
            outages.hung.0,
            MAX_SILENCE + HEALTH_CHECK_TIMEOUTS,
            kube_watcher_if_detected(outages.hung.1),
        ),
        detection(
            "it responds again, and an object had changed: reconciled",
            outages.freed.0,
            MAX_HEALTH_CHECK_INTERVAL + HEALTH_CHECK_TIMEOUTS,
            kube_watcher(outages.freed.1),
        ),
        detection("an import is deleted: the member leaves", import_deleted.0, immediately, import_deleted.1),
        detection(
            "a context is removed: the member leaves",
            joins.context_removed,
            2 * KUBECONFIG_INTERVAL,
            String::new(),
        ),
    ]
}

impl Detection {
    pub fn is_in_time(&self) -> bool {
        self.duration <= self.limit
    }

    pub fn row(&self) -> Row {
        let limit = format!("at most {}", format_duration(self.limit));
        let reference = if self.peer.is_empty() { limit } else { format!("{limit}; {}", self.peer) };
        Row::new(self.what, format_duration(self.duration), reference)
    }
}

fn format_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
