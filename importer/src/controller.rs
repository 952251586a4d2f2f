//! The loop: from what is due to a reconciliation each, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::queue::Queue;
use crate::reconcile::Reconciler;
use crate::watch::{self, Watched};

/// How long running reconciliations may take to end when the importer stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Reconciles the imports of the target until `shutdown`.
///
/// # Errors
/// When a task of the controller ends by itself, which none should.
pub async fn run(client: Client, clock: Clock, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let cache = Arc::new(Cache::default());
    let queue = Arc::new(Queue::new(clock.clone()));
    let synced = Arc::new(Notify::new());
    let watched =
        Watched { cache: cache.clone(), queue: queue.clone(), clock: clock.clone(), synced: synced.clone() };
    let reconciler = Arc::new(Reconciler {
        recorder: Recorder::new(client.clone(), Reporter::from("multicluster-service-account-importer")),
        client: client.clone(),
        cache: cache.clone(),
        clock,
        histories: Default::default(),
    });

    let mut watches = JoinSet::new();
    watches.spawn(watch::imports(client.clone(), watched.clone()));
    watches.spawn(watch::secrets(client.clone(), watched.clone()));
    watches.spawn(watch::links(client, watched));
    let mut running = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);

    // Before all is known, a Secret or a link that is there would seem to be missing.
    while !cache.is_synced() {
        tokio::select! {
            () = synced.notified() => {}
            () = &mut shutdown => return Ok(()),
            ended = watches.join_next() => anyhow::bail!("a watch ended: {ended:?}"),
        }
    }
    tracing::info!("ready");
    loop {
        tokio::select! {
            key = queue.next() => {
                let (reconciler, queue) = (reconciler.clone(), queue.clone());
                running.spawn(async move {
                    let next = reconciler.reconcile(&key).await;
                    queue.done(&key, next);
                });
            }
            Some(ended) = running.join_next() => ended?,
            ended = watches.join_next() => anyhow::bail!("a watch ended: {ended:?}"),
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
