//! The loop: from what is due to a reconciliation each, while this replica leads.

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
use crate::watch::context::Watched;

/// How long running reconciliations may take to end when the importer stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The controller, at rest.
pub struct Controller {
    client: Client,
    scopes: BTreeSet<Scope>,
    reconciler: Arc<Reconciler>,
    health: Health,
    is_synced: Sender<bool>,
}

impl Controller {
    /// For these scopes of the target that `client` leads to. Writing, it uses `writer`, which has the
    /// fence in its way.
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

    /// For a target without rivals, as tests have it.
    pub fn alone(client: Client, clock: Clock) -> Self {
        let metrics = Metrics::new(&mut Default::default());
        Self::new(client.clone(), client, [Scope::All].into(), Fence::always_open(), clock, metrics)
    }

    /// Answers the probes.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Waits until all that there is was listed, or the controller has ended.
    pub fn synced(&self) -> impl Future<Output = ()> + use<> {
        let mut is_synced = self.is_synced.subscribe();
        async move { drop(is_synced.wait_for(|is_synced| *is_synced).await) }
    }

    /// What the watches have seen.
    pub fn cache(&self) -> Arc<Cache> {
        self.reconciler.cache.clone()
    }

    /// Reconciles the imports of the target until `shutdown`.
    ///
    /// # Errors
    /// When a task of the controller ends by itself, which none should.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut synced = std::pin::pin!(self.synced());
        let Self { client, scopes, reconciler, health, is_synced } = self;
        let Reconciler { cache, queue, histories, clock, fence, metrics, .. } = &*reconciler;
        let watched = Arc::new(Watched {
            cache: cache.clone(),
            queue: queue.clone(),
            histories: histories.clone(),
            fence: fence.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            is_synced,
            asked: Notify::new(),
        });
        // Also while another replica leads, so as to know all when it is our turn.
        let mut watches = JoinSet::new();
        for scope in scopes {
            watches.spawn(watch::scope(client.clone(), scope, watched.clone()));
        }
        watches.spawn(watch::links(client, watched.clone()));
        watches.spawn(check::answer_all(watched.clone()));
        watches.spawn(distrust(watched.clone()));
        let mut running = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut beat = tokio::time::interval(BEAT);
        let mut is_leading = false;

        // Before all is known, a Secret or a link that is there would seem to be missing.
        loop {
            tokio::select! {
                () = &mut synced => break,
                _ = beat.tick() => health.beat(),
                () = &mut shutdown => return Ok(()),
                ended = watches.join_next() => bail!("a watch ended: {ended:?}"),
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
                // What still runs ends by itself: the fence is in its way.
                () = fence.closed(), if is_leading => {
                    is_leading = false;
                    tracing::warn!("leading no more");
                }
                Some(ended) = running.join_next() => ended?,
                _ = beat.tick() => health.beat(),
                ended = watches.join_next() => bail!("a watch ended: {ended:?}"),
                () = &mut shutdown => break,
            }
        }
        let drained = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(
                "some reconciliations did not end in time; what they minted is minted again at the next start"
            );
        }
        Ok(())
    }
}

/// Has each token replaced when the clock was set back: the times that are noted beside them have
/// not come by when they should.
async fn distrust(watched: Arc<Watched>) {
    loop {
        let by = watched.clock.set_back().await;
        tracing::warn!(seconds = by.as_secs(), "the clock was set back; all tokens are refreshed");
        watched.hurry(watched.cache.distrust_times(watched.clock.now()));
    }
}
