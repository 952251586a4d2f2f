//! The control loop: starts reconciliations of due imports while this replica leads.

pub mod health;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use kube::Client;
use mcsa_runtime::lease::Fence;
use tokio::sync::Notify;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::check;
use crate::clock::Clock;
use crate::controller::health::{BEAT, Health};
use crate::metrics::Metrics;
use crate::model::scope::Scope;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::reconcile::history::Histories;
use crate::target::Target;
use crate::watch;
use crate::watch::context::WatchContext;

/// How long running reconciliations may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// The controller, before it runs.
pub struct Controller {
    client: Client,
    scopes: BTreeSet<Scope>,
    reconciler: Arc<Reconciler>,
    health: Health,
    is_synced: Sender<bool>,
}

impl Controller {
    /// A controller for these scopes of the target. It writes with `writer`, which the fence guards.
    pub fn new(
        client: Client,
        writer: Client,
        scopes: BTreeSet<Scope>,
        fence: Fence,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let cache = Arc::new(Cache::new(scopes.iter().cloned()));
        let queue = Arc::new(Queue::new(clock.clone()));
        let histories = Arc::new(Histories::new(cache.clone()));
        let target = Target::new(writer, metrics.clone());
        let health = Health::new(cache.clone(), queue.clone());
        let reconciler = Arc::new(Reconciler { target, fence, cache, queue, histories, clock, metrics });
        Self { client, scopes, reconciler, health, is_synced: Sender::new(false) }
    }

    /// A controller without leader election, for tests.
    pub fn without_election(client: Client, clock: Clock) -> Self {
        let metrics = Metrics::new(&mut Default::default());
        Self::new(client.clone(), client, [Scope::All].into(), Fence::always_open(), clock, metrics)
    }

    /// The state behind the probes.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Waits until everything is listed, or the controller has ended.
    pub fn synced(&self) -> impl Future<Output = ()> + use<> {
        let mut is_synced = self.is_synced.subscribe();
        async move { drop(is_synced.wait_for(|is_synced| *is_synced).await) }
    }

    /// What the watches have observed.
    pub fn cache(&self) -> Arc<Cache> {
        self.reconciler.cache.clone()
    }

    /// Reconciles imports until `shutdown`.
    ///
    /// # Errors
    /// If a task ends unexpectedly.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut synced = std::pin::pin!(self.synced());
        let Self { client, scopes, reconciler, health, is_synced } = self;
        let Reconciler { cache, queue, histories, clock, fence, metrics, .. } = &*reconciler;
        let context = Arc::new(WatchContext {
            cache: cache.clone(),
            queue: queue.clone(),
            histories: histories.clone(),
            fence: fence.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            is_synced,
            needs_labels: Sender::new(false),
            check_requested: Notify::new(),
        });
        // Followers watch, too, so that they can take over at once.
        let mut watches = JoinSet::new();
        for scope in scopes {
            watches.spawn(watch::policies::namespaces(client.clone(), scope.clone(), context.clone()));
            watches.spawn(watch::scope(client.clone(), scope, context.clone()));
        }
        watches.spawn(watch::policies::policies(client.clone(), context.clone()));
        watches.spawn(watch::links(client, context.clone()));
        watches.spawn(check::run(context.clone()));
        watches.spawn(refresh_after_clock_change(context.clone()));
        let mut running = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut beat = tokio::time::interval(BEAT);
        let mut is_leading = false;

        // Before the first list is complete, existing Secrets and links would seem to be missing.
        loop {
            tokio::select! {
                () = &mut synced => break,
                _ = beat.tick() => health.beat(),
                () = &mut shutdown => return Ok(()),
                ended = watches.join_next() => bail!("a watch task ended: {ended:?}"),
            }
        }
        tracing::info!("ready");
        loop {
            tokio::select! {
                key = queue.next(), if is_leading => {
                    let reconciler = reconciler.clone();
                    running.spawn(async move {
                        let next = reconciler.reconcile(&key).await;
                        reconciler.queue.done(&key, next);
                    });
                }
                () = fence.opened(), if !is_leading => {
                    is_leading = true;
                    tracing::info!("leading");
                }
                // Running reconciliations fail at their next write: the fence is closed.
                () = fence.closed(), if is_leading => {
                    is_leading = false;
                    tracing::warn!("no longer leading");
                }
                Some(ended) = running.join_next() => ended?,
                _ = beat.tick() => health.beat(),
                ended = watches.join_next() => bail!("a watch task ended: {ended:?}"),
                () = &mut shutdown => break,
            }
        }
        let drained = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(
                "some reconciliations did not finish in time; their tokens are minted again after the restart"
            );
        }
        Ok(())
    }
}

/// Refreshes all tokens when the clock is set back: their recorded refresh times would come too late.
async fn refresh_after_clock_change(context: Arc<WatchContext>) {
    loop {
        let by = context.clock.wait_until_set_back().await;
        tracing::warn!(seconds = by.as_secs(), "the clock was set back; refreshing all tokens");
        context.enqueue(context.cache.mark_all_due(context.clock.now()));
    }
}
