//! How soon the controller notices that a cluster joins, becomes unreachable, answers again, or leaves.

use std::time::Duration;

use crate::fixture::Fixture;
use crate::joins::{self, Joins};
use crate::losses::{self, Losses};
use crate::table::Row;
use crate::units::median;
use crate::watchers::Watcher;

/// Interval of reading a kubeconfig. A context that is missing twice in a row leaves.
const LOOK: Duration = Duration::from_secs(10);

/// Shortest interval of health checks of a cluster in doubt.
const PAUSE: Duration = Duration::from_secs(1);

/// Deadlines of the two health checks before a cluster counts as unreachable.
const ASKED: Duration = Duration::from_secs(5 + 5);

/// How long a cluster may be silent before a health check.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest interval of health checks of an unreachable cluster.
const BACK: Duration = Duration::from_secs(10);

/// Allowance for everything except waiting.
const WORK: Duration = Duration::from_secs(1);

/// A change, and how soon it was noticed.
pub struct Noticed {
    pub what: &'static str,
    took: Duration,
    limit: Duration,
    peer: String,
}

pub async fn measure() -> anyhow::Result<Vec<Noticed>> {
    let fixture = Fixture::start().await?;
    let mut ours = Watcher::ours(&fixture.clusters);
    let (mut joins, mut losses) = (Joins::default(), Losses::default());
    joins::context(&fixture, &mut ours, &mut joins).await?;
    joins::imports(&fixture, &mut ours, &mut joins).await?;
    losses::killed(&fixture, &mut ours, &mut losses).await?;
    losses::hung(&fixture, &mut ours, &mut losses).await?;
    joins::context_gone(&fixture, &mut ours, &mut joins).await?;
    Ok(all(&joins, &losses))
}

fn all(joins: &Joins, losses: &Losses) -> Vec<Noticed> {
    let is = |what, took: Duration, limit: Duration, peer| Noticed { what, took, limit: limit + WORK, peer };
    let there = |peer: Duration| format!("{} a kube watcher in one cluster", shown(peer));
    let lost = |peer: Option<Duration>| peer.map_or("a kube watcher not yet".into(), there);
    let import = (median(&joins.imports), there(median(&joins.watcher)));
    let import_gone = (median(&joins.imports_gone), there(median(&joins.watcher_gone)));
    let at_once = Duration::ZERO;
    vec![
        is("a context is added: first reconciliation", joins.context, LOOK, String::new()),
        is("an import gets its credential: first reconciliation", import.0, at_once, import.1),
        is("an API server is killed", losses.killed.0, PAUSE, lost(losses.killed.1)),
        is("it is started, and an object changes", losses.started.0, BACK, there(losses.started.1)),
        is("a cluster hangs", losses.hung.0, SILENCE + ASKED, lost(losses.hung.1)),
        is(
            "it answers again, and an object had changed",
            losses.freed.0,
            BACK + ASKED,
            there(losses.freed.1),
        ),
        is("an import is deleted", import_gone.0, at_once, import_gone.1),
        is("a context is removed", joins.context_gone, 2 * LOOK, String::new()),
    ]
}

impl Noticed {
    pub fn is_in_time(&self) -> bool {
        self.took <= self.limit
    }

    pub fn row(&self) -> Row {
        let limit = format!("{} at most", shown(self.limit));
        let reference = if self.peer.is_empty() { limit } else { format!("{limit}; {}", self.peer) };
        Row::new(self.what, shown(self.took), reference)
    }
}

fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
