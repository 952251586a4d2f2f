//! How long it takes until it is noticed that a cluster comes, is lost, comes back, or goes.

use std::time::Duration;

use crate::joins::{self, Joins};
use crate::losses::{self, Losses};
use crate::scene::Scene;
use crate::table::Row;
use crate::watchers::Watcher;
use crate::words::median;

/// From one look at a kubeconfig to the next. Who is missing twice in a row is gone.
const LOOK: Duration = Duration::from_secs(10);

/// From one time that a cluster in doubt is asked to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a cluster may not answer, which it is asked twice, before it counts as lost.
const ASKED: Duration = Duration::from_secs(5 + 5);

/// How long a cluster may be silent before it is asked.
const SILENCE: Duration = Duration::from_secs(10);

/// From one time that a cluster that is lost is asked to the next, at most.
const BACK: Duration = Duration::from_secs(10);

/// For all that is done beside waiting.
const WORK: Duration = Duration::from_secs(1);

/// One of the things to notice.
pub struct Noticed {
    /// What it is.
    pub what: &'static str,
    took: Duration,
    limit: Duration,
    peer: String,
}

/// Measures all of them.
pub async fn measure() -> anyhow::Result<Vec<Noticed>> {
    let scene = Scene::start().await?;
    let mut ours = Watcher::ours(&scene.clusters);
    let (mut joins, mut losses) = (Joins::default(), Losses::default());
    joins::context(&scene, &mut ours, &mut joins).await?;
    joins::imports(&scene, &mut ours, &mut joins).await?;
    losses::killed(&scene, &mut ours, &mut losses).await?;
    losses::hung(&scene, &mut ours, &mut losses).await?;
    joins::context_gone(&scene, &mut ours, &mut joins).await?;
    Ok(all(&joins, &losses))
}

fn all(joins: &Joins, losses: &Losses) -> Vec<Noticed> {
    let is = |what, took: Duration, limit: Duration, peer| Noticed { what, took, limit: limit + WORK, peer };
    let there = |peer: Duration| format!("{} a watcher of kube's in one cluster", shown(peer));
    let lost = |peer: Option<Duration>| peer.map_or("a watcher of kube's not yet".into(), there);
    let import = (median(&joins.imports), there(median(&joins.watcher)));
    let import_gone = (median(&joins.imports_gone), there(median(&joins.watcher_gone)));
    let at_once = Duration::ZERO;
    vec![
        is("a context comes: first reconciliation", joins.context, LOOK, String::new()),
        is("an import gets its credential: first reconciliation", import.0, at_once, import.1),
        is("an API server is killed", losses.killed.0, PAUSE, lost(losses.killed.1)),
        is("it is back, and something changes", losses.started.0, BACK, there(losses.started.1)),
        is("a cluster hangs", losses.hung.0, SILENCE + ASKED, lost(losses.hung.1)),
        is("it goes on, and something had changed", losses.freed.0, BACK + ASKED, there(losses.freed.1)),
        is("an import goes", import_gone.0, at_once, import_gone.1),
        is("a context goes", joins.context_gone, 2 * LOOK, String::new()),
    ]
}

impl Noticed {
    /// Whether that took no longer than it may.
    pub fn is_in_time(&self) -> bool {
        self.took <= self.limit
    }

    /// As part of the table.
    pub fn row(&self) -> Row {
        let limit = format!("{} at most", shown(self.limit));
        let beside = if self.peer.is_empty() { limit } else { format!("{limit}; {}", self.peer) };
        Row::new(self.what, shown(self.took), beside)
    }
}

fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
