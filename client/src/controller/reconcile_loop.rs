//! The main loop of a controller.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use kube::Resource;
use kube::runtime::controller::Action;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::Instrument;

use super::action::requeue_after;
use super::backoff::Backoff;
use super::error::{Error, panic_message};
use super::key::Key;
use super::members::Members;
use super::metrics::{ReconcileMetrics, ResultLabel};
use super::queue::{Completion, Queue};
use super::reconciler::{Outcome, Reconciler};
use super::request::{Kind, Request};
use super::results::Sender;
use super::stores::Stores;
use super::tasks::Tasks;
use crate::clusters::Clusters;

/// Longest delay before a blocked finalizer is retried, so that objects do not wait long once a cluster is reachable
/// again.
const MAX_BLOCKED_DELAY: Duration = Duration::from_secs(30);

pub(super) type Reconciled<E> = Result<(Key, Action), Error<E>>;

pub(super) struct Shutdown {
    pub(super) graceful: BoxFuture<'static, ()>,
    pub(super) forceful: BoxFuture<'static, ()>,
}

/// Starts a task for each object that is due.
pub(super) struct ReconcileLoop<K, E, F, P, C>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
    E: std::error::Error + 'static,
{
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) reconciler: Arc<Reconciler<F, P, C>>,
    pub(super) backoff: Backoff,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) stores: Stores<K>,
    pub(super) members: Members<K>,
    pub(super) running: Tasks<Reconciliation, Outcome<E>>,
    pub(super) results: Sender<Reconciled<E>>,
}

/// A running reconciliation.
pub(super) struct Reconciliation {
    key: Key,
    attempt: u32,
    started: Instant,
    metrics: ReconcileMetrics,
}

impl<K, E, F, Fut, P, C> ReconcileLoop<K, E, F, P, C>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    E: std::error::Error + Send + 'static,
    F: Fn(Request<K>, Arc<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    P: Fn(&Request<K>, &E, Arc<C>) -> Action + Send + Sync + 'static,
    C: Send + Sync + 'static,
{
    /// Returns after a shutdown, once the running reconciliations have finished or a forceful shutdown aborts them.
    /// Calls `stopping` when the shutdown begins.
    pub(super) async fn run(
        mut self,
        clusters: Clusters,
        mut leading: watch::Receiver<bool>,
        mut shutdown: Shutdown,
        stopping: impl FnOnce(),
    ) {
        let mut changes = clusters.watch().fuse();
        let mut stopping = Some(stopping);
        loop {
            let is_leading = *leading.borrow_and_update();
            if !is_leading {
                self.running.abort_all();
            }
            if stopping.is_none() && self.running.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut shutdown.forceful => return,
                () = &mut shutdown.graceful, if stopping.is_some() => {
                    if let Some(stopping) = stopping.take() {
                        stopping();
                    }
                }
                Ok(()) = leading.changed() => {}
                Some(change) = changes.next() => {
                    if let Some(cluster) = self.members.apply(change) {
                        self.running.abort_where(|reconciliation| reconciliation.key.cluster == cluster);
                    }
                }
                () = self.members.retry_due() => self.members.retry(),
                Some((reconciliation, result)) = self.running.next() => self.finish(reconciliation, result),
                (key, attempt) = next(&self.results, &self.queue), if is_leading && stopping.is_some() => {
                    self.start(key, attempt);
                }
            }
        }
    }

    fn start(&mut self, key: Key, attempt: u32) {
        let (Some((member, metrics)), Some(object)) =
            (self.members.reconciled(&key.cluster), self.stores.get(&key))
        else {
            // The object is gone, which is not an error.
            self.queue.complete(&key, Completion::Succeeded(None));
            return;
        };
        let request = Request {
            member: member.clone(),
            object,
            key: key.clone(),
            kind: self.kind.clone(),
            attempt,
            backoff: self.backoff,
        };
        let span = tracing::info_span!("reconciling object", object.key = %key);
        let reconciliation =
            Reconciliation { key, attempt, started: Instant::now(), metrics: metrics.clone() };
        self.running.start(reconciliation, self.reconciler.clone().reconcile(request).instrument(span));
    }

    fn finish(&self, reconciliation: Reconciliation, result: Result<Outcome<E>, JoinError>) {
        let Reconciliation { key, attempt, started, metrics } = reconciliation;
        let backoff = Completion::Failed(Some(self.backoff.after(attempt)));
        let (label, completion, message) = match result {
            Ok(Outcome::Reconciled(action)) => {
                let completion = Completion::Succeeded(requeue_after(&action));
                (ResultLabel::Ok, completion, Some(Ok((key.clone(), action))))
            }
            Ok(Outcome::Failed(error, action)) => {
                let completion = Completion::Failed(requeue_after(&action));
                (ResultLabel::Error, completion, Some(Err(Error::ReconcilerFailed(error, key.clone()))))
            }
            Ok(Outcome::Finalizing(next)) => (ResultLabel::Ok, Completion::Succeeded(next), None),
            Ok(Outcome::Blocked((cluster, problem))) => {
                let delay = self.backoff.after(attempt).min(MAX_BLOCKED_DELAY);
                let error = Error::Finalizer { key: key.clone(), cluster, problem };
                (ResultLabel::Error, Completion::Failed(Some(delay)), Some(Err(error)))
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => {
                    let message = panic_message(panic.as_ref());
                    let error = Error::Panicked { key: key.clone(), message };
                    (ResultLabel::Panic, backoff, Some(Err(error)))
                }
                Err(_) => (ResultLabel::Aborted, Completion::Aborted, None),
            },
        };
        metrics.record(label, started.elapsed());
        self.queue.complete(&key, completion);
        if let Some(message) = message {
            self.results.send(message);
        }
    }
}

/// Waits until previous results are read, and then for the next due object.
async fn next<T>(results: &Sender<T>, queue: &Queue<Key>) -> (Key, u32) {
    results.wait_for_room().await;
    queue.next().await
}
